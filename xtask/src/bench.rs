//! Runs the benchmarks, optimised, each in one run with its floors.

use std::path::PathBuf;

use clap::Args;

use crate::{
    cargo::{cargo, hulynet},
    kinds, machine, steps,
};

#[derive(Args)]
pub(crate) struct Options {
    /// Only the benchmark of this name
    name: Option<String>,
    /// Print one JSON object per line: name, value, unit, floor, ratio, aim, met
    #[arg(long)]
    json: bool,
    /// How long each throughput measure takes, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut packages = vec!["hulynet-bench"];
    let mut directory = PathBuf::new();
    let any_of = |names: &[&str]| options.name.as_deref().is_none_or(|name| names.contains(&name));
    // Only these go through agents, and with them through the whole of
    // wasmtime, which takes many minutes to build optimised.
    if any_of(&["bus", "agent", "requests", "growth"]) {
        machine::prepare()?;
        directory = kinds::build_for_bench()?;
        packages.push("hulynet-cli");
    }
    if any_of(&["agent", "requests"]) {
        packages.push("hulynet-bare");
    }
    let mut build = cargo();
    build.args(["build", "--release"]);
    build.args(packages.iter().flat_map(|package| ["--package", package]));
    steps::program("build optimised programs", &mut build)?;
    let release = hulynet("release");
    let mut bench = std::process::Command::new(release.with_file_name("hulynet-bench"));
    bench.arg("run").args(&options.name);
    bench.arg("--hulynet").arg(&release).arg("--kinds").arg(directory);
    bench.arg("--seconds").arg(options.seconds.to_string());
    if options.json {
        bench.arg("--json");
    }
    steps::replace(&mut bench)
}
