//! Formatting, lints and tests.

use clap::Args;

use crate::{
    cargo::{cargo, hulynet, target},
    kinds, machine, steps,
};

#[derive(Args)]
pub(crate) struct TestOptions {
    /// Run only tests whose names contain this
    #[arg(value_name = "NAME")]
    filter: Option<String>,
}

pub(crate) fn lint() -> anyhow::Result<()> {
    steps::program("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    steps::program(
        "lints",
        cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ]),
    )
}

pub(crate) fn test(options: &TestOptions) -> anyhow::Result<()> {
    machine::prepare()?;
    lint()?;
    let directory = kinds::default_directory();
    kinds::build(&[], &directory)?;
    let for_tests = target().join("test-kinds");
    kinds::build_for_tests(&for_tests)?;
    // The build of all tests makes the program, too; building it alone before
    // would build much of it twice, with other features.
    steps::shown(
        "unit and end-to-end tests",
        cargo()
            // Whoever mends one failure would not want to wait for the next.
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(&options.filter)
            .env("HULYNET_KINDS", directory)
            .env("HULYNET_TEST_KINDS", for_tests)
            .env("HULYNET_PROGRAM", hulynet("debug")),
    )
}
