//! Real processes, real sockets, real kinds.
//!
//! [`Network`] starts the `hulynet` program as a user would and stops what it
//! started when dropped. Every wait is for something that happens (a line, an
//! exit), bounded by [`PATIENCE`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod network;
mod output;
mod process;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

pub use network::{Agent, Network, install};
pub use output::Output;
pub use process::{Process, eventually};

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn built(variable: &str, default: &str, command: &str) -> PathBuf {
    let path =
        env::var_os(variable).map_or_else(|| root().join("target").join(default), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing; type `{command}`, or `cargo xtask test` for everything",
        path.display()
    );
    path
}

/// The `hulynet` program: `HULYNET_PROGRAM`, or what `cargo build` makes.
///
/// # Panics
/// When it was not built; the message says what to type.
#[must_use]
pub fn program() -> PathBuf {
    built("HULYNET_PROGRAM", "debug/hulynet", "cargo build --package hulynet-cli")
}

/// The directory of built kinds: `HULYNET_KINDS`, or what `cargo xtask kinds`
/// makes.
///
/// # Panics
/// When they were not built; the message says what to type.
#[must_use]
pub fn kinds() -> PathBuf {
    built("HULYNET_KINDS", "kinds", "cargo xtask kinds")
}

/// A call of the program with an environment that no user's settings reach.
#[must_use]
pub fn hulynet() -> Command {
    let mut command = Command::new(program());
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("HULYNET_") {
            command.env_remove(name);
        }
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("NO_COLOR", "1");
    command.stdin(Stdio::null());
    command
}
