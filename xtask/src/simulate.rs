//! Runs the network's state machines on a simulated network and clock.

use clap::Args;

use crate::{cargo::cargo, steps};

#[derive(Args)]
pub(crate) struct Options {
    /// The seed; the same one gives the same history
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds, from that one on
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Planned requests and faults of each
    #[arg(long)]
    steps: Option<usize>,
    /// Agents
    #[arg(long)]
    agents: Option<usize>,
    /// Clients
    #[arg(long)]
    clients: Option<usize>,
    /// Print the whole history
    #[arg(long)]
    history: bool,
    /// Do not shrink a failing seed
    #[arg(long)]
    whole: bool,
    /// Hunt the deliberate defects and show which seed finds each
    #[arg(long)]
    mutants: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut run = cargo();
    run.args(["run", "--quiet", "--package", "simulation", "--"]);
    run.args(["--seed", &options.seed.to_string(), "--seeds", &options.seeds.to_string()]);
    for (name, value) in
        [("--steps", options.steps), ("--agents", options.agents), ("--clients", options.clients)]
    {
        if let Some(value) = value {
            run.args([name, &value.to_string()]);
        }
    }
    for (name, set) in
        [("--history", options.history), ("--whole", options.whole), ("--mutants", options.mutants)]
    {
        if set {
            run.arg(name);
        }
    }
    steps::replace(&mut run)
}
