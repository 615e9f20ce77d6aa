//! Kinds for tests, built from `plugins/`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The file of a built kind. The environment variable `HULYNET_KINDS` names a
/// directory of built kinds; without it the kind is built here.
pub fn kind(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os("HULYNET_KINDS") {
        let path = Path::new(&directory).join(format!("{name}.wasm"));
        assert!(path.exists(), "{} is missing; build it with: cargo xtask kinds", path.display());
        return path;
    }
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).join(format!("{name}.wasm"))
}

/// Builds the kinds of the tests; their own target directory keeps Cargo's lock
/// free.
fn build() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kinds");
    let arguments = [
        "build",
        "-p",
        "echo",
        "-p",
        "transactor",
        "--target",
        "wasm32-wasip2",
        "--profile",
        "kind",
    ];
    let built = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--target-dir")
        .arg(&target)
        .current_dir(workspace)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the kinds do not build; try: cargo {}", arguments.join(" "));
    target.join("wasm32-wasip2/kind")
}
