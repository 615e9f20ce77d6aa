//! Calls of cargo, from the root of this checkout.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// The same cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // A child must choose its own toolchain and packages, not inherit those
    // of this program's own build.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// The `hulynet` program of a profile's directory.
pub(crate) fn hulynet(profile_directory: &str) -> PathBuf {
    target().join(profile_directory).join(format!("hulynet{}", env::consts::EXE_SUFFIX))
}
