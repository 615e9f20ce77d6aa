//! One container that broadcasts to many connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::{StreamExt, stream::FuturesUnordered};
use hulynet_bus::Bus;
use hulynet_client::{Connection, ConnectionEvent, GetOptions, Uuid};

use crate::{bus::member, load::Settings};

/// Who listens.
const CONNECTIONS: usize = 50;

/// Broadcasts that are under way at once.
const IN_FLIGHT: usize = 16;

/// Events that each connection gets of itself: the echo kind greets it.
const GREETINGS: u64 = 1;

/// How long after the last broadcast an event may come.
const LATE: Duration = Duration::from_secs(2);

/// What arrived.
pub(crate) struct Delivered {
    /// Events per second, all connections together.
    pub(crate) rate: f64,
    /// Events that did not arrive.
    pub(crate) lost: u64,
}

/// Broadcasts for as long as the settings say, and waits for what is under way.
pub(crate) async fn run(
    settings: &Settings,
    bus: &Bus,
    coordinator: &str,
) -> anyhow::Result<Delivered> {
    let options = || GetOptions { uuid: Uuid::new("broadcast").ok(), ..GetOptions::default() };
    let ended = Arc::new(AtomicBool::new(false));
    let mut listeners = Vec::new();
    for _ in 0..CONNECTIONS {
        let network = member(bus, coordinator, true).await?;
        let reference = network.get("echo", options()).await?;
        let connection = reference.connect().await?;
        listeners.push(tokio::spawn(listen(connection, Arc::clone(&ended))));
    }
    let network = member(bus, coordinator, true).await?;
    let container = network.get("echo", options()).await?;
    let payload = settings.payload();
    let began = Instant::now();
    let until = began + Duration::from_secs(settings.seconds);
    let tell = || container.request("broadcast", payload.clone());
    let mut telling: FuturesUnordered<_> = (0..IN_FLIGHT).map(|_| tell()).collect();
    let mut told = 0;
    while let Some(outcome) = telling.next().await {
        outcome?;
        told += 1;
        if Instant::now() < until {
            telling.push(tell());
        }
    }
    ended.store(true, Ordering::Relaxed);
    let mut arrived = 0;
    let mut last = began;
    for listener in listeners {
        let heard = listener.await.context("a listener panicked")??;
        arrived += heard.count;
        last = last.max(heard.last);
    }
    let rate = arrived as f64 / (last - began).as_secs_f64();
    let sent = (GREETINGS + told) * CONNECTIONS as u64;
    let lost = sent.checked_sub(arrived).context("more events arrived than were sent")?;
    Ok(Delivered { rate, lost })
}

struct Heard {
    count: u64,
    last: Instant,
}

/// Counts what comes until the end was told and nothing came for a while.
async fn listen(mut connection: Connection, ended: Arc<AtomicBool>) -> anyhow::Result<Heard> {
    let mut heard = Heard { count: 0, last: Instant::now() };
    loop {
        match tokio::time::timeout(LATE, connection.next()).await {
            Ok(Some(event)) => {
                if let ConnectionEvent::Message(_) = event? {
                    heard.count += 1;
                    heard.last = Instant::now();
                }
            }
            Ok(None) => return Ok(heard),
            Err(_late) if ended.load(Ordering::Relaxed) => return Ok(heard),
            Err(_late) => {}
        }
    }
}
