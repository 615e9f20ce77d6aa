//! Measures hulynet against floors of the same run.
//!
//! Absolute figures move from machine to machine and from day to day, so every
//! measure is printed with its ratio to a floor that was measured just before,
//! by the same clients on the same machine. Servers are processes of their
//! own, as in real use.

mod agent;
mod bare;
mod broadcast;
mod bus;
mod coordinator;
mod density;
mod floor;
mod gets;
mod growth;
mod handler;
mod load;
mod measure;
mod network;
mod network_of_one;
mod plugins;
mod registry;
mod starts;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use tokio::runtime::Builder;

use crate::measure::Measure;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures hulynet against floors of the same run.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a floor until killed; prints its address
    Serve {
        /// Which one
        floor: floor::Floor,
    },
    /// Serve a coordinator until killed; prints its address
    Coordinator,
    /// Measure the registry of a network of one size; prints one JSON object
    Registry(network_of_one::Size),
    /// Measure
    Run {
        /// Only the suite of this name
        name: Option<String>,
        /// One JSON object per line
        #[arg(long)]
        json: bool,
        /// The hulynet program
        #[arg(long, value_name = "FILE")]
        hulynet: PathBuf,
        /// A directory with the built kinds
        #[arg(long, value_name = "DIR")]
        kinds: PathBuf,
        /// How long each throughput measure takes, in seconds
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve { floor } => floor::serve(floor),
        Command::Coordinator => coordinator::serve(),
        Command::Registry(size) => {
            println!("{}", serde_json::Value::Object(registry::measure(size)));
            Ok(())
        }
        Command::Run { name, json, hulynet, kinds, seconds } => {
            let all = [
                registry::NAME,
                coordinator::NAME,
                bus::NAME,
                agent::NAME,
                handler::NAME,
                growth::NAME,
            ];
            if let Some(name) = name.as_deref().filter(|name| !all.contains(name)) {
                anyhow::bail!("there is no benchmark {name:?}; there are: {}", all.join(", "));
            }
            let chosen = |suite: &str| name.as_deref().is_none_or(|name| name == suite);
            let settings = load::Settings::new(hulynet, kinds, seconds);
            // One thread is what the clients of all transports are fastest with.
            let (one, many) = (Builder::new_current_thread, Builder::new_multi_thread);
            let mut measures = Vec::new();
            if chosen(registry::NAME) {
                measures.extend(registry::run()?);
            }
            if chosen(coordinator::NAME) {
                measures.extend(apart(many(), coordinator::run())?);
            }
            if chosen(bus::NAME) {
                measures.extend(apart(one(), bus::run(&settings))?);
            }
            if chosen(agent::NAME) {
                measures.extend(apart(many(), agent::run(&settings))?);
            }
            if chosen(handler::NAME) || chosen(agent::NAME) {
                measures.extend(apart(one(), handler::run(&settings))?);
            }
            if chosen(agent::NAME) {
                measures.extend(apart(many(), plugins::run(&settings))?);
                measures.extend(apart(many(), density::run(&settings))?);
                measures.extend(apart(many(), starts::run(&settings))?);
            }
            if chosen(growth::NAME) {
                measures.extend(apart(many(), growth::run(&settings))?);
            }
            measure::print(&measures, json);
            Ok(())
        }
    }
}

/// Runs a benchmark on threads of its own: nothing that it leaves behind disturbs
/// the next one.
fn apart(
    mut threads: Builder,
    bench: impl Future<Output = anyhow::Result<Vec<Measure>>>,
) -> anyhow::Result<Vec<Measure>> {
    threads.enable_all().build()?.block_on(bench)
}
