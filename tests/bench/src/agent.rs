//! What containers do to one another on one agent: how long a request to one
//! takes while others compute without a pause.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use hulynet_bus::Bus;
use hulynet_client::{Client, ErrorKind, GetOptions, Reference, Request, Uuid};

use crate::{
    bus::{ask, member, registered},
    load::{Settings, percentile},
    measure::Measure,
    network::Network,
};

/// The name of this benchmark.
pub(crate) const NAME: &str = "agent";

/// Threads of the agent: as many as the aim was set for.
const THREADS: usize = 2;
/// Containers that compute.
const SPINNING: usize = 4;
/// No request may wait longer for them, in microseconds.
const AIM: f64 = 20_000.0;
/// Longer than the measure, so that they compute all the while, and shorter
/// than what they may compute without a pause.
const SPIN: Duration = Duration::from_secs(9);
/// The measure takes no longer.
const MEASURED: Duration = Duration::from_secs(6);

/// Measures all in one run.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<Vec<Measure>> {
    let network = Network::with(settings, &settings.kinds, |agent| {
        agent.env("TOKIO_WORKER_THREADS", THREADS.to_string())
    })?;
    registered(&network.coordinator).await?;
    let bus = Bus::start("bench")?;
    let client = member(&bus, &network.coordinator, true).await?;
    let healthy = named(&client, "healthy").await?;
    eprintln!("· requests to a container alone");
    let alone = times(settings, &healthy).await?;
    let mut spinners = Vec::new();
    for number in 0..SPINNING {
        spinners.push(named(&client, &format!("spinning-{number}")).await?);
    }
    eprintln!("· requests beside {SPINNING} containers that compute");
    let spinning: FuturesUnordered<_> = spinners.iter().map(spin).collect();
    let beside = tokio::select! {
        ended = spinning.collect::<Vec<_>>() => {
            anyhow::bail!("the containers did not compute to the end: {ended:?}")
        }
        beside = times(settings, &healthy) => beside?,
    };
    let name = format!("echo beside {SPINNING} that compute, {THREADS} threads");
    let measure = |number: &str, percent| {
        Measure::new(NAME, format!("{name}.{number}"), percentile(&beside, percent), "µs")
            .above(percentile(&alone, percent))
    };
    Ok(vec![measure("p50", 50), measure("p99", 99).at_most(AIM), measure("slowest", 100)])
}

pub(crate) async fn named(client: &Client, name: &str) -> anyhow::Result<Reference> {
    let options = GetOptions { uuid: Some(Uuid::new(name)?), ..GetOptions::default() };
    Ok(client.get("echo", options).await?)
}

/// Lets a container compute; nobody answers that before the deadline.
async fn spin(container: &Reference) -> Option<ErrorKind> {
    let request = Request::new("spin", Bytes::new()).timeout(SPIN);
    container.perform(request).await.err().map(|error| error.kind)
}

/// How long each request takes, sorted.
pub(crate) async fn times(
    settings: &Settings,
    container: &Reference,
) -> anyhow::Result<Vec<Duration>> {
    let payload = settings.payload();
    let until = Instant::now() + Duration::from_secs(settings.seconds).min(MEASURED);
    let mut times = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        ask(container, &payload).await?;
        times.push(began.elapsed());
    }
    ensure!(times.len() >= 100, "only {} requests were answered in time", times.len());
    times.sort_unstable();
    Ok(times)
}
