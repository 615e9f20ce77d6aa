//! Gets that start a container each.

use std::time::Instant;

use futures::{StreamExt, stream};
use hulynet_bus::Bus;
use hulynet_client::{Client, GetOptions, Reference, Uuid};

use crate::{bus::member, load::percentile};

/// Gets that are timed one by one.
const TIMED: usize = 1_000;
/// Gets of the throughput measure: fewer than an agent has room for.
const MANY: usize = 8_000;
/// How many of those are under way at once.
const IN_FLIGHT: usize = 16;

/// How gets went.
pub(crate) struct Gets {
    /// Half of them are faster, in microseconds.
    pub(crate) p50: f64,
    /// Per second.
    pub(crate) rate: f64,
}

/// Starts containers one after another, then many at once.
pub(crate) async fn run(bus: &Bus, coordinator: &str) -> anyhow::Result<Gets> {
    let network = member(bus, coordinator, true).await?;
    let mut times = Vec::with_capacity(TIMED);
    let mut held = Vec::with_capacity(MANY);
    for _ in 0..TIMED {
        let began = Instant::now();
        held.push(start(&network).await?);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    held.clear();
    let began = Instant::now();
    let mut starting = stream::iter((0..MANY).map(|_| start(&network))).buffer_unordered(IN_FLIGHT);
    while let Some(started) = starting.next().await {
        held.push(started?);
    }
    let rate = MANY as f64 / began.elapsed().as_secs_f64();
    Ok(Gets { p50: percentile(&times, 50), rate })
}

async fn start(network: &Client) -> anyhow::Result<Reference> {
    let options = GetOptions { uuid: Some(Uuid::random()), ..GetOptions::default() };
    Ok(network.get("echo", options).await?)
}
