//! How many containers an agent carries, and what each of them costs.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::{StreamExt, stream};
use hulynet_bus::Bus;
use hulynet_client::{Client, Reference};

use crate::{
    agent::{NAME, named, times},
    bare::{Bare, Order},
    bus::{ask, member, registered},
    load::{Settings, percentile},
    measure::{Measure, charged, computed},
    network::{Network, room},
};

/// Idle containers that are usual.
const USUAL: usize = 10_000;
/// And many of them.
const MANY: usize = 50_000;
/// How many are started at once.
const AT_ONCE: usize = 64;
/// Requests to random ones.
const ASKED: usize = 10_000;
/// The kernel's memory maps that an agent wants for each, and beside them.
const MAPS: (usize, usize) = (6, 5_500);

/// An agent with idle containers.
struct Full {
    network: Network,
    client: Client,
    held: Vec<Reference>,
    /// Of a request while there was only one container.
    alone: Vec<Duration>,
    /// Bytes in memory, each.
    bytes: f64,
    /// Seconds from the first start to the last.
    took: f64,
    /// Seconds that the agent computed meanwhile.
    computed: f64,
}

/// Measures all in one run.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<Vec<Measure>> {
    let (started, first, one) = {
        let mut bare = Bare::start(settings, USUAL)?;
        (bare.started, bare.costs(Order::First)?.concurrent, bare.costs(Order::One)?.concurrent)
    };
    eprintln!("· {USUAL} idle containers");
    let full = fill(settings, USUAL).await?;
    let random = random(settings, &full.held).await?;
    let measure = |name, value, unit| Measure::new(NAME, name, value, unit);
    let each = 1e6 / USUAL as f64;
    let alone = percentile(&full.alone, 50);
    let mut measures = vec![
        measure("idle.memory each", full.bytes / 1024.0, "KiB").at_most(64.0),
        measure("created in bulk.each", full.took * each, "µs").above(started).at_most(60.0),
        measure("created in bulk.computed each", full.computed * each, "µs"),
        measure("first request to one of 10,000 by wasmtime alone", first, "µs").above(one),
        measure("request to one of 10,000.p50", percentile(&random, 50), "µs")
            .above(alone)
            .at_most(1.5 * alone),
    ];
    drop(full);
    if has_maps(MANY)? {
        eprintln!("· {MANY} idle containers");
        let full = fill(settings, MANY).await?;
        for container in full.held.iter().step_by(MANY / 100) {
            ask(container, &settings.payload()).await?;
        }
        let live = full.client.list(None).await?.len();
        let each = full.bytes / 1024.0;
        measures.extend([
            measure("idle.live", live as f64, "containers").at_least(MANY as f64),
            measure("idle.memory each of 50,000", each, "KiB").at_most(64.0),
        ]);
        drop(full.network);
    }
    Ok(measures)
}

/// Whether the kernel allows so many; tells how to allow them.
fn has_maps(containers: usize) -> anyhow::Result<bool> {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count")?;
    let allowed: usize = text.trim().parse().context("the kernel's limit is a number")?;
    // With the one that is asked while it is the only one.
    let wanted = (containers + 1) * MAPS.0 + MAPS.1;
    if allowed < wanted {
        eprintln!(
            "· left out: {containers} containers; allow them with: sysctl -w vm.max_map_count={wanted}"
        );
    }
    Ok(allowed >= wanted)
}

async fn fill(settings: &Settings, containers: usize) -> anyhow::Result<Full> {
    let network = Network::with(settings, &settings.kinds, |agent| room(agent, containers))?;
    registered(&network.coordinator).await?;
    let agent = network.agent()?;
    let client = member(&Bus::start("bench")?, &network.coordinator, true).await?;
    let only = named(&client, "only").await?;
    let alone = times(settings, &only).await?;
    let memory = || charged(agent).context("the system tells what is in memory");
    let cpu = || computed(agent);
    let (bytes, seconds, began) = (memory()?, cpu()?, Instant::now());
    let held: Vec<_> = stream::iter(0..containers)
        .map(|number| {
            let client = client.clone();
            async move { named(&client, &format!("idle-{number}")).await }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let took = began.elapsed().as_secs_f64();
    let held = held.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let computed = cpu()? - seconds;
    let bytes = (memory()? - bytes) / containers as f64;
    Ok(Full { network, client, held, alone, bytes, took, computed })
}

/// How long requests to random containers take, sorted.
async fn random(settings: &Settings, held: &[Reference]) -> anyhow::Result<Vec<Duration>> {
    let payload = settings.payload();
    let mut times = Vec::with_capacity(ASKED);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..ASKED {
        // Marsaglia's xorshift: any order will do that no cache foresees.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let index = usize::try_from(state % held.len() as u64)?;
        let container = held.get(index).context("an index within")?;
        let began = Instant::now();
        ask(container, &payload).await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}
