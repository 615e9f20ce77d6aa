//! What the registry alone costs, and how that grows with the network.
//!
//! Each size is measured in a process of its own, so that none finds the
//! memory or the caches of another. The floor of a time is one lookup in a
//! `HashMap` of as many names in the same process: what the memory of this
//! machine asks of whoever finds one thing among so many. The floor of a
//! growth is the growth of that lookup.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Map, Value};

use crate::{
    measure::Measure,
    network_of_one::{Network, Size},
};

/// The name of this benchmark.
pub(crate) const NAME: &str = "registry";

/// The most bytes that a container may take.
const AIM_BYTES: f64 = 400.0;

const SMALL: Size = Size { agents: 10, clients: 100, containers: 10_000, labels: false };
const LARGE: Size = Size { agents: 1_000, clients: 10_000, containers: 1_000_000, labels: false };

/// What is measured of every size.
const MEMORY: &str = "memory per container";
const FLOOR: &str = "lookup in a map";
const LOST: &str = "agent lost with 1,000 containers";
const TIMES: [&str; 6] = [
    "get of an existing container",
    "release of a container that others hold",
    "get that starts one",
    "get by a label of its own",
    "release of the last reference",
    "ping",
];

/// Measures a small network and one a hundred times as large: 1,000 agents,
/// 10,000 clients, 1,000,000 containers.
pub(crate) fn run() -> anyhow::Result<Vec<Measure>> {
    let small = apart(SMALL)?;
    let large = apart(LARGE)?;
    let labelled = apart(Size { labels: true, ..LARGE })?;
    let number = |of: &Map<String, Value>, name: &str| {
        of.get(name).and_then(Value::as_f64).with_context(|| format!("{name} was not measured"))
    };
    let with_labels = format!("{MEMORY} with a common label and one of its own");
    let mut measures = vec![
        Measure::new(NAME, MEMORY, number(&large, MEMORY)?, "bytes").at_most(AIM_BYTES),
        Measure::new(NAME, with_labels, number(&labelled, MEMORY)?, "bytes"),
    ];
    let floor = number(&large, FLOOR)?;
    for name in TIMES {
        let of = if name.contains("label") { &labelled } else { &large };
        measures.push(Measure::new(NAME, name, number(of, name)?, "ns").above(floor));
    }
    measures.push(Measure::new(NAME, LOST, number(&large, LOST)?, "ms"));
    let small_labelled = apart(Size { labels: true, ..SMALL })?;
    let floor = floor / number(&small, FLOOR)?;
    for name in TIMES {
        let (one, other) =
            if name.contains("label") { (&labelled, &small_labelled) } else { (&large, &small) };
        let growth = number(one, name)? / number(other, name)?;
        let name = format!("growth: {name}");
        measures.push(Measure::new(NAME, name, growth, "times").above(floor));
    }
    Ok(measures)
}

/// Measures a network of one size in this process.
pub(crate) fn measure(size: Size) -> Map<String, Value> {
    let mut network = Network::new(size);
    let mut measured = Map::new();
    measured.insert(MEMORY.to_owned(), network.memory().into());
    measured.insert(FLOOR.to_owned(), network.lookups().into());
    let times = network.times();
    for (name, time) in TIMES.into_iter().zip(times) {
        measured.insert(name.to_owned(), time.into());
    }
    measured.insert(LOST.to_owned(), network.agent_lost().into());
    measured
}

/// Measures a network of one size in a process of its own.
fn apart(size: Size) -> anyhow::Result<Map<String, Value>> {
    let Size { agents, clients, containers, labels } = size;
    let labelled = if labels { ", labelled" } else { "" };
    eprintln!("· {agents} agents, {clients} clients, {containers} containers{labelled}");
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["registry", "--agents", &agents.to_string()]);
    command.args(["--clients", &clients.to_string(), "--containers", &containers.to_string()]);
    if labels {
        command.arg("--labels");
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the measuring process ended with {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
