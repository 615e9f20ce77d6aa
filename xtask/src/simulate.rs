//! Runs the network's state machines on a simulated network and clock.

use std::ffi::OsString;

use clap::Args;

use crate::{cargo::cargo, steps};

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// What the simulation takes; `--help` tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    options: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut run = cargo();
    run.args(["run", "--quiet", "--package", "simulation", "--"]);
    run.args(&options.options);
    steps::replace(&mut run)
}
