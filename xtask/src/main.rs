//! `cargo xtask …`: everything that a person does in this checkout.
//!
//! | command | what it does |
//! |---|---|
//! | `demo` | builds all, runs a network on real data, checks the outcome |
//! | `test` | formatting, lints, unit and end-to-end tests |
//! | `kinds` | builds the kinds into a plugin directory |
//! | `lint` | formatting and lints only |
//! | `bench` | measures, as ratios against floors of the same run |
//! | `simulate` | the network's rules on a simulated network and clock |

mod bench;
mod cargo;
mod demo;
mod kinds;
mod machine;
mod quality;
mod simulate;
mod steps;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs, tests and measures hulynet.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole network on real data and check the outcome
    Demo(demo::Options),
    /// Check formatting and lints, then run all tests
    Test(quality::TestOptions),
    /// Build the kinds for wasm32-wasip2 into a plugin directory
    Kinds(kinds::Options),
    /// Check formatting and lints
    Lint,
    /// Run the benchmarks
    Bench(bench::Options),
    /// Run the network's state machines on a simulated network and clock
    Simulate(simulate::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => quality::test(&options),
        Command::Kinds(options) => kinds::run(&options),
        Command::Lint => quality::lint(),
        Command::Bench(options) => bench::run(&options),
        Command::Simulate(options) => simulate::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
