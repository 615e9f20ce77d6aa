//! The load that every transport is put under, so that they can be compared.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};

/// What is measured, and how it is loaded.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The hulynet program.
    pub(crate) hulynet: PathBuf,
    /// The directory of the built kinds.
    pub(crate) kinds: PathBuf,
    /// How long each throughput measure takes.
    pub(crate) seconds: u64,
    /// Round trips that are timed one by one, after a tenth as many that are
    /// not.
    pub(crate) round_trips: usize,
    /// Clients that load it at once.
    pub(crate) clients: usize,
    /// Requests that each client keeps in flight.
    pub(crate) in_flight: usize,
    /// Bytes in a request and in its answer.
    pub(crate) payload: usize,
}

impl Settings {
    /// What all are compared under.
    pub(crate) fn new(hulynet: PathBuf, kinds: PathBuf, seconds: u64) -> Self {
        let (round_trips, clients, in_flight, payload) = (10_000, 16, 16, 64);
        Self { hulynet, kinds, seconds, round_trips, clients, in_flight, payload }
    }

    /// The payload of every request.
    pub(crate) fn payload(&self) -> Bytes {
        Bytes::from(vec![b'1'; self.payload])
    }
}

/// One client of a transport.
pub(crate) trait Client: Send + 'static {
    /// Sends the payload and waits for the same bytes.
    fn round_trip(&mut self, payload: &Bytes) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Keeps `in_flight` requests under way until the time is over; answers
    /// how many were completed.
    fn pump(
        self,
        payload: Bytes,
        in_flight: usize,
        until: Instant,
    ) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// What a transport does under the load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Half of the round trips are faster, in microseconds.
    pub(crate) p50: f64,
    /// All but one in a hundred are faster, in microseconds.
    pub(crate) p99: f64,
    /// Requests per second, all clients together.
    pub(crate) rate: f64,
    /// The same with [`WIDE`] clients.
    pub(crate) wide: f64,
}

/// Many clients, and what each of them keeps in flight.
const WIDE: (usize, usize) = (200, 8);

/// Puts a transport under the load.
pub(crate) async fn load<C: Client>(
    settings: &Settings,
    connect: impl AsyncFn() -> anyhow::Result<C>,
) -> anyhow::Result<Outcome> {
    let payload = settings.payload();
    let mut single = connect().await?;
    for _ in 0..settings.round_trips / 10 {
        single.round_trip(&payload).await?;
    }
    let mut times = Vec::with_capacity(settings.round_trips);
    for _ in 0..settings.round_trips {
        let started = Instant::now();
        single.round_trip(&payload).await?;
        times.push(started.elapsed());
    }
    drop(single);
    times.sort_unstable();
    Ok(Outcome {
        p50: percentile(&times, 50),
        p99: percentile(&times, 99),
        rate: rate(settings, settings.clients, settings.in_flight, &connect).await?,
        wide: rate(settings, WIDE.0, WIDE.1, &connect).await?,
    })
}

/// Requests per second of so many clients with so many in flight each.
async fn rate<C: Client>(
    settings: &Settings,
    clients: usize,
    in_flight: usize,
    connect: &impl AsyncFn() -> anyhow::Result<C>,
) -> anyhow::Result<f64> {
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(connect().await?);
    }
    let started = Instant::now();
    let time = Duration::from_secs(settings.seconds);
    let completed = pump(settings, connected, in_flight, time).await?;
    Ok(completed as f64 / started.elapsed().as_secs_f64())
}

/// Keeps `in_flight` requests of one client under way until the time is over;
/// answers how many were completed.
pub(crate) async fn keep_asking<Asked: Future<Output = anyhow::Result<()>>>(
    ask: impl Fn() -> Asked,
    in_flight: usize,
    until: Instant,
) -> anyhow::Result<u64> {
    let mut running: FuturesUnordered<_> = (0..in_flight).map(|_| ask()).collect();
    let mut completed = 0;
    while let Some(outcome) = running.next().await {
        outcome?;
        completed += 1;
        if Instant::now() < until {
            running.push(ask());
        }
    }
    Ok(completed)
}

/// How many requests clients complete in this time with so many in flight each.
pub(crate) async fn pump<C: Client>(
    settings: &Settings,
    connected: Vec<C>,
    in_flight: usize,
    time: Duration,
) -> anyhow::Result<u64> {
    let payload = settings.payload();
    let until = Instant::now() + time;
    let running: Vec<_> = connected
        .into_iter()
        .map(|client| tokio::spawn(client.pump(payload.clone(), in_flight, until)))
        .collect();
    let mut completed = 0;
    for client in running {
        completed += client.await.context("a client of the load panicked")??;
    }
    Ok(completed)
}

/// The one of these that so many of a hundred do not exceed, in microseconds.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}
