//! What the network costs: the same echo over plain TCP, over the `zeromq`
//! crate alone, and to the `echo` kind through the coordinator and directly.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use hulynet_client::{Client as Network, GetOptions, Reference};

use crate::{
    floor::{Floor, FloorServer, TcpClient, ZeromqClient, check},
    load::{Client, Outcome, Settings, load},
    measure::Measure,
    network,
};

/// The name of this benchmark.
pub(crate) const NAME: &str = "echo";

/// How long a network may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures all four ways in one run.
pub(crate) fn run(
    settings: &Settings,
    hulynet: &Path,
    kinds: &Path,
) -> anyhow::Result<Vec<Measure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let tcp = {
            let server = FloorServer::start(Floor::Tcp)?;
            load(settings, async || TcpClient::connect(&server.address).await).await?
        };
        let zeromq = {
            let server = FloorServer::start(Floor::Zeromq)?;
            load(settings, async || ZeromqClient::connect(&server.address).await).await?
        };
        let network = network::Network::start(hulynet, kinds)?;
        registered(&network.coordinator).await?;
        let proxied =
            load(settings, async || EchoClient::connect(&network.coordinator, false).await).await?;
        let direct =
            load(settings, async || EchoClient::connect(&network.coordinator, true).await).await?;

        // Each is measured against what it stands on.
        Ok([
            measures("tcp", tcp, None),
            measures("zeromq", zeromq, Some(tcp)),
            measures("proxied", proxied, Some(zeromq)),
            measures("direct", direct, Some(zeromq)),
        ]
        .into_iter()
        .flatten()
        .collect())
    })
}

fn measures(way: &str, outcome: Outcome, floor: Option<Outcome>) -> [Measure; 3] {
    let measure = |number: &str, unit, higher_is_better, value: fn(&Outcome) -> f64| Measure {
        name: format!("{NAME}.{way}.{number}"),
        value: value(&outcome),
        unit,
        floor: floor.as_ref().map(value),
        aim: None,
        higher_is_better,
    };
    [
        measure("p50", "µs", false, |outcome| outcome.p50),
        measure("p99", "µs", false, |outcome| outcome.p99),
        measure("rate", "requests/s", true, |outcome| outcome.rate),
    ]
}

/// A client of the `echo` kind, with a connection of its own.
struct EchoClient {
    reference: Arc<Reference>,
    // Its references end with it.
    _network: Network,
}

impl EchoClient {
    async fn connect(coordinator: &str, direct: bool) -> anyhow::Result<Self> {
        let network = Network::builder().direct(direct).connect([coordinator]).await?;
        let reference = network.get("echo", GetOptions::default()).await?;
        Ok(Self { reference: Arc::new(reference), _network: network })
    }
}

/// Waits until the coordinator knows the agent, which listened before.
async fn registered(coordinator: &str) -> anyhow::Result<()> {
    let network = Network::builder().connect([coordinator]).await?;
    let until = Instant::now() + PATIENCE;
    while network.kinds().await?.is_empty() {
        ensure!(Instant::now() < until, "the agent did not register within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn ask(reference: &Reference, payload: &Bytes) -> anyhow::Result<()> {
    check(&reference.request("echo", payload.clone()).await?, payload)
}

impl Client for EchoClient {
    async fn round_trip(&mut self, payload: &Bytes) -> anyhow::Result<()> {
        ask(&self.reference, payload).await
    }

    async fn pump(self, payload: Bytes, in_flight: usize, until: Instant) -> anyhow::Result<u64> {
        let mut running: FuturesUnordered<_> =
            (0..in_flight).map(|_| ask(&self.reference, &payload)).collect();
        let mut completed = 0;
        while let Some(outcome) = running.next().await {
            outcome?;
            completed += 1;
            if Instant::now() < until {
                running.push(ask(&self.reference, &payload));
            }
        }
        Ok(completed)
    }
}
