//! What a fresh machine lacks: installed where that is safe, otherwise named
//! with the command to type.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::{cargo::root, steps};

/// The target that kinds are compiled for.
pub(crate) const WASM_TARGET: &str = "wasm32-wasip2";

/// Makes sure that kinds and the host can be built.
///
/// # Errors
/// Names what is missing and how to get it.
pub(crate) fn prepare() -> anyhow::Result<()> {
    compiler()?;
    wasm_target()
}

/// SQLite and zstd are C libraries that are built along.
fn compiler() -> anyhow::Result<()> {
    let found = ["cc", "gcc", "clang"].iter().any(|name| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if found {
        return Ok(());
    }
    bail!(
        "no C compiler found (cc, gcc or clang). Install one: \
         `apt-get install build-essential` on Debian or Ubuntu, \
         `dnf install gcc` on Fedora, `xcode-select --install` on macOS"
    );
}

fn wasm_target() -> anyhow::Result<()> {
    let output = Command::new("rustc")
        .current_dir(root())
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        .output()
        .context("cannot start `rustc`; install Rust with rustup, see https://rustup.rs")?;
    let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && std::path::Path::new(&directory).is_dir() {
        return Ok(());
    }
    steps::program(
        &format!("install the Rust target {WASM_TARGET}"),
        Command::new("rustup").current_dir(root()).args(["target", "add", WASM_TARGET]),
    )
    .with_context(|| {
        format!("the Rust target {WASM_TARGET} is missing; type `rustup target add {WASM_TARGET}`")
    })
}
