//! What is left of containers that were: a million of them, in turn of a kind of
//! each engine, are started, used once and ended, and the processes are looked at
//! before and after.

use std::{fs, ops::Range, time::Duration};

use anyhow::{Context, ensure};
use futures::{StreamExt, stream};
use hulynet_bus::Bus;
use hulynet_client::GetOptions;
use hulynet_protocol::Uuid;

use crate::{
    bus::{ask, member, registered},
    load::Settings,
    measure::{Measure, charged},
    network::Network,
};

/// The name of this benchmark.
pub(crate) const NAME: &str = "growth";

/// An asynchronous kind and a synchronous one, which take turns.
const KINDS: [&str; 2] = ["echo", "serial"];

/// How many containers there are, one after another.
const ALL: usize = 1_000_000;
/// After so many, with more at once than later, a process has all that it keeps
/// for containers to come.
const WARM: usize = 10_000;
/// How many there are at once, and how many in the beginning.
const AT_ONCE: usize = 64;
const FIRST_AT_ONCE: usize = 4 * AT_ONCE;
/// How often the progress is told.
const TOLD: usize = 100_000;

/// The most that the memory may have grown, as a part of what it was.
const AIM: f64 = 1.1;

/// How often a process is looked at until it has let go of connections.
const LOOKS: usize = 50;
const PAUSE: Duration = Duration::from_millis(200);

/// How long a client may take to leave.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a process has.
struct Has {
    bytes: f64,
    descriptors: usize,
    maps: usize,
}

impl Has {
    fn of(process: u32) -> anyhow::Result<Self> {
        let bytes = charged(process).context("the system tells what is in memory")?;
        let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?.count();
        let maps = fs::read_to_string(format!("/proc/{process}/maps"))?.lines().count();
        Ok(Self { bytes, descriptors, maps })
    }

    /// When nobody is connected to it any more, and it has settled.
    async fn at_rest(process: u32) -> anyhow::Result<Self> {
        let mut before = Self::of(process)?;
        for _ in 0..LOOKS {
            tokio::time::sleep(PAUSE).await;
            let now = Self::of(process)?;
            if (now.descriptors, now.maps) == (before.descriptors, before.maps) {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }
}

/// Measures all in one run.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<Vec<Measure>> {
    let network = Network::start(settings)?;
    registered(&network.coordinator).await?;
    let processes = [("coordinator", network.coordinator_process()?), ("agent", network.agent()?)];
    lives(settings, &network.coordinator, 0..WARM, FIRST_AT_ONCE).await?;
    let mut before = Vec::new();
    for (_, process) in processes {
        before.push(Has::at_rest(process).await?);
    }
    for begun in (WARM..ALL).step_by(TOLD) {
        eprintln!("· {begun} of {ALL} containers were started and ended");
        let these = begun..(begun + TOLD).min(ALL);
        lives(settings, &network.coordinator, these, AT_ONCE).await?;
    }
    let mut measures = Vec::new();
    for ((name, process), before) in processes.into_iter().zip(before) {
        let now = Has::at_rest(process).await?;
        let measure = |what: &str, value, unit, before, most| {
            Measure::new(NAME, format!("{name}'s {what}"), value, unit).above(before).at_most(most)
        };
        let count = |what, now, before| measure(what, now as f64, "", before as f64, before as f64);
        let megabyte = f64::from(1 << 20);
        let floor = before.bytes / megabyte;
        measures.extend([
            measure("memory", now.bytes / megabyte, "MiB", floor, AIM * floor),
            count("descriptors", now.descriptors, before.descriptors),
            count("memory maps", now.maps, before.maps),
        ]);
    }
    Ok(measures)
}

/// Each is started, asked once and ended.
async fn lives(
    settings: &Settings,
    coordinator: &str,
    numbers: Range<usize>,
    at_once: usize,
) -> anyhow::Result<()> {
    let bus = Bus::start("bench")?;
    let client = member(&bus, coordinator, true).await?;
    let life = async |(number, kind)| {
        let uuid = Some(Uuid::new(format!("short-lived-{number}"))?);
        let container = client.get(kind, GetOptions { uuid, ..GetOptions::default() }).await?;
        ask(&container, &settings.payload()).await?;
        let ended = client.terminate(container.id().clone(), false).await?;
        ensure!(ended, "the container {} did not end", container.id());
        Ok(container.release().await?)
    };
    let mut lives =
        stream::iter(numbers.zip(KINDS.into_iter().cycle())).map(life).buffer_unordered(at_once);
    while let Some(lived) = lives.next().await {
        lived?;
    }
    let left = client.list(None).await?;
    ensure!(left.is_empty(), "{} containers are left", left.len());
    drop(lives);
    client.close(PATIENCE).await;
    Ok(())
}
