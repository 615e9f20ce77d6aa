//! Measures hulynet against floors of the same run.
//!
//! Absolute figures move from machine to machine and from day to day, so every
//! measure is printed with its ratio to a floor that was measured just before,
//! by the same clients on the same machine. Servers are processes of their
//! own, as in real use.

mod agent;
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

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

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
            let all = [registry::NAME, coordinator::NAME, bus::NAME, agent::NAME, growth::NAME];
            if let Some(name) = name.as_deref().filter(|name| !all.contains(name)) {
                anyhow::bail!("there is no benchmark {name:?}; there are: {}", all.join(", "));
            }
            let chosen = |suite: &str| name.as_deref().is_none_or(|name| name == suite);
            let settings = load::Settings { seconds, ..load::Settings::default() };
            let mut measures = Vec::new();
            if chosen(registry::NAME) {
                measures.extend(registry::run()?);
            }
            if chosen(coordinator::NAME) {
                measures.extend(coordinator::run()?);
            }
            if chosen(bus::NAME) {
                measures.extend(bus::run(&settings, &hulynet, &kinds)?);
            }
            if chosen(agent::NAME) {
                measures.extend(agent::run(&settings, &hulynet, &kinds)?);
                measures.extend(handler::run(&settings, &hulynet, &kinds)?);
                measures.extend(plugins::run(&settings, &hulynet, &kinds)?);
                measures.extend(density::run(&settings, &hulynet, &kinds)?);
            }
            if chosen(growth::NAME) {
                measures.extend(growth::run(&settings, &hulynet, &kinds)?);
            }
            measure::print(&measures, json);
            Ok(())
        }
    }
}
