//! Runs seeds, shrinks the one that fails, hunts deliberate defects.

use std::time::Instant;

use clap::Parser;
use simulation::{Settings, mutants, plan, run, run_seed, shrink};

/// Simulates networks.
#[derive(Parser)]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Planned steps of each
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
    /// Hunt the deliberate defects
    #[arg(long)]
    mutants: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.mutants {
        return hunt();
    }
    let began = Instant::now();
    let (mut events, mut served) = (0, 0);
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        let mut settings = Settings::new(seed);
        settings.steps = arguments.steps.unwrap_or(settings.steps);
        settings.agents = arguments.agents.unwrap_or(settings.agents).max(1);
        settings.clients = arguments.clients.unwrap_or(settings.clients).max(1);
        let outcome = run_seed(&settings, arguments.history);
        events += outcome.events;
        served += outcome.served;
        print!("{}", outcome.history);
        let Some(failure) = outcome.failure else { continue };
        println!("seed {seed} fails at {} µs: {}: {}", failure.at, failure.check, failure.what);
        let steps = plan::plan(&settings);
        let (steps, outcome) = if arguments.whole {
            (steps.clone(), run(&settings, &steps, true))
        } else {
            shrink::shrink(&settings, &steps, failure.check)
        };
        println!("{}", outcome.history);
        println!("the shortest plan that fails so, {} steps:", steps.len());
        for step in &steps {
            println!("  {:>10} µs  {:?}", step.at, step.what);
        }
        if let Some(failure) = outcome.failure {
            println!("it fails at {} µs: {}: {}", failure.at, failure.check, failure.what);
        }
        anyhow::bail!("seed {seed} fails");
    }
    let time = began.elapsed().as_secs_f64();
    println!(
        "{} seeds, {events} events ({:.0} per second), {served} requests served, {time:.1} s: \
         all is well",
        arguments.seeds,
        events as f64 / time
    );
    Ok(())
}

fn hunt() -> anyhow::Result<()> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header(["defect", "seed", "check", "what it says"]);
    let mut missed = 0;
    for mutant in mutants::ALL {
        let found = mutants::hunt(*mutant, 200);
        let name = format!("{mutant:?}");
        match found.seed {
            Some((seed, failure)) => {
                let what: String = failure.what.chars().take(80).collect();
                table.add_row([name, seed.to_string(), failure.check.to_owned(), what]);
            }
            None => {
                missed += 1;
                table.add_row([name, "not found".to_owned(), String::new(), String::new()]);
            }
        }
    }
    println!("{table}");
    anyhow::ensure!(missed == 0, "{missed} defects were not found");
    Ok(())
}
