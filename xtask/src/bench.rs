//! Runs the benchmarks, optimised, each in one run with its floors.

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
    machine::prepare()?;
    let directory = kinds::default_directory();
    kinds::build(&["echo".to_owned()], &directory)?;
    steps::program(
        "build optimised programs",
        cargo().args([
            "build",
            "--release",
            "--package",
            "hulynet-cli",
            "--package",
            "hulynet-bench",
        ]),
    )?;
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
