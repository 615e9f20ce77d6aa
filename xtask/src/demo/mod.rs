//! A whole network on real data, and a check of what it did.
//!
//! A coordinator and two agents run as processes; everything is done with the
//! `hulynet` program, as a person would, and what it did is compared with a
//! count that does not share a line with it.

mod check;
mod network;
mod recount;
mod source;

use std::{path::PathBuf, sync::mpsc};

use anyhow::Context;
use clap::Args;

use crate::{
    cargo::{cargo, hulynet},
    kinds, machine, steps,
};
use check::Checks;
use network::Network;
use source::Source;

/// The kinds that the demo's agents serve.
const KINDS: [&str; 4] = ["echo", "query", "session", "transactor"];

#[derive(Args)]
pub(crate) struct Options {
    /// Import this file of transactions too (.jsonl or .json, also .zst); may
    /// be given several times
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Stop when the checks are done, instead of staying up until Ctrl-C
    #[arg(long)]
    exit: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let sources = Source::all(&options.input)?;
    machine::prepare()?;
    let built = kinds::default_directory();
    kinds::build(&KINDS.map(str::to_owned), &built)?;
    steps::program("build hulynet", cargo().args(["build", "--package", "hulynet-cli"]))?;

    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // The receiver is gone only when the program already ends.
        let _ = stop.send(());
    })
    .context("cannot listen for Ctrl-C")?;

    let mut network = Network::start(&hulynet("debug"), &built, &KINDS)?;
    let mut checks = Checks::default();
    for source in &sources {
        source.import(&network, &mut checks)?;
    }
    for source in &sources {
        source.verify(&network, &mut checks)?;
        source.verify_isolation(&network, &sources, &mut checks)?;
    }
    checks.print();
    checks.verdict()?;
    if !options.exit {
        network.invite();
        network.wait(&stopped)?;
    }
    network.stop()
}
