//! What the bus costs: the same echo over plain TCP, over the `zeromq` crate
//! alone, and to the `echo` kind in Wasm through the coordinator and directly;
//! then broadcasts and starts of containers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use bytes::Bytes;
use hulynet_bus::Bus;
use hulynet_client::{Client as Network, GetOptions, Reference};

use crate::{
    broadcast,
    floor::{Floor, FloorServer, TcpClient, ZeromqClient, check},
    gets,
    load::{Client, Outcome, Settings, keep_asking, load},
    measure::{Aim, Measure},
    network,
};

/// The name of this benchmark.
pub(crate) const NAME: &str = "bus";

/// How long a network may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures all in one run.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<Vec<Measure>> {
    eprintln!("· plain TCP");
    let tcp = {
        let server = FloorServer::start(Floor::Tcp)?;
        load(settings, async || TcpClient::connect(&server.address).await).await?
    };
    eprintln!("· zeromq alone");
    let zeromq = {
        let server = FloorServer::start(Floor::Zeromq)?;
        load(settings, async || ZeromqClient::connect(&server.address).await).await?
    };
    let network = network::Network::start(settings)?;
    let coordinator = &network.coordinator;
    registered(coordinator).await?;
    let bus = Bus::current();
    eprintln!("· requests directly");
    let direct =
        load(settings, async || EchoClient::connect(&bus, coordinator, true).await).await?;
    eprintln!("· requests through the coordinator");
    let proxied =
        load(settings, async || EchoClient::connect(&bus, coordinator, false).await).await?;
    eprintln!("· broadcasts");
    let delivered = broadcast::run(settings, &bus, coordinator).await?;
    eprintln!("· gets that start containers");
    let gets = gets::run(&bus, coordinator).await?;

    let mut measures = Vec::new();
    // Each is measured against what it stands on.
    measures.extend(outcome("tcp", tcp, None, Aims::default()));
    measures.extend(outcome("zeromq", zeromq, Some(tcp), Aims::default()));
    let aims = Aims {
        p50: Some(50_f64.min(2.0 * zeromq.p50)),
        rate: Some(200_000.0),
        wide: Some(0.35 * zeromq.wide),
    };
    measures.extend(outcome("direct", direct, Some(zeromq), aims));
    let aims = Aims { p50: Some(95.0), rate: Some(120_000.0), wide: None };
    measures.extend(outcome("proxied", proxied, Some(zeromq), aims));
    let measure = |name, value, unit| Measure::new(NAME, name, value, unit);
    measures.extend([
        measure("broadcast to 50.rate", delivered.rate, "events/s")
            .above(zeromq.rate)
            .at_least(600_000.0),
        measure("broadcast to 50.lost", delivered.lost as f64, "events").at_most(0.0),
        measure("get that starts.p50", gets.p50, "µs").above(zeromq.p50).at_most(110.0),
        measure("get that starts.16 in flight", gets.rate, "gets/s")
            .above(zeromq.rate)
            .at_least(25_000.0),
    ]);
    Ok(measures)
}

/// What is to be reached.
#[derive(Default)]
struct Aims {
    p50: Option<f64>,
    rate: Option<f64>,
    wide: Option<f64>,
}

fn outcome(way: &str, outcome: Outcome, floor: Option<Outcome>, aims: Aims) -> [Measure; 4] {
    let measure = |number: &str, unit, aim, value: fn(&Outcome) -> f64| Measure {
        floor: floor.as_ref().map(value),
        aim,
        ..Measure::new(NAME, format!("{way}.{number}"), value(&outcome), unit)
    };
    let (p50, rate, wide) =
        (aims.p50.map(Aim::AtMost), aims.rate.map(Aim::AtLeast), aims.wide.map(Aim::AtLeast));
    [
        measure("p50", "µs", p50, |outcome| outcome.p50),
        measure("p99", "µs", None, |outcome| outcome.p99),
        measure("16 × 16", "requests/s", rate, |outcome| outcome.rate),
        measure("200 × 8", "requests/s", wide, |outcome| outcome.wide),
    ]
}

/// A client of the network on the shared bus.
pub(crate) async fn member(bus: &Bus, coordinator: &str, direct: bool) -> anyhow::Result<Network> {
    Ok(Network::builder().bus(bus.clone()).direct(direct).connect([coordinator]).await?)
}

/// A client of the `echo` kind, with a connection of its own.
struct EchoClient {
    reference: Arc<Reference>,
    // Its references end with it.
    _network: Network,
}

impl EchoClient {
    async fn connect(bus: &Bus, coordinator: &str, direct: bool) -> anyhow::Result<Self> {
        let network = member(bus, coordinator, direct).await?;
        let reference = network.get("echo", GetOptions::default()).await?;
        Ok(Self { reference: Arc::new(reference), _network: network })
    }
}

/// Waits until the coordinator knows the agent, which listened before.
pub(crate) async fn registered(coordinator: &str) -> anyhow::Result<()> {
    let network = Network::builder().connect([coordinator]).await?;
    let until = Instant::now() + PATIENCE;
    while network.kinds().await?.is_empty() {
        ensure!(Instant::now() < until, "the agent did not register within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// One round trip.
pub(crate) async fn ask(reference: &Reference, payload: &Bytes) -> anyhow::Result<()> {
    check(&reference.request("echo", payload.clone()).await?, payload)
}

impl Client for EchoClient {
    async fn round_trip(&mut self, payload: &Bytes) -> anyhow::Result<()> {
        ask(&self.reference, payload).await
    }

    async fn pump(self, payload: Bytes, in_flight: usize, until: Instant) -> anyhow::Result<u64> {
        keep_asking(|| ask(&self.reference, &payload), in_flight, until).await
    }
}
