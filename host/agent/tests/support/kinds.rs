//! Kinds for tests, built from `plugins/`.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

/// The file of a built kind. The environment variable `HULYNET_KINDS` names a
/// directory of built kinds; what is not there is built here.
pub fn kind(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os("HULYNET_KINDS") {
        let path = Path::new(&directory).join(format!("{name}.wasm"));
        if path.exists() {
            return path;
        }
    }
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.entry(name.to_owned()).or_insert_with(|| build(name)).clone()
}

/// The directory of kinds that attack their host.
pub fn attacks() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let directory = target().join("attacks");
        cargo(
            &["run", "--quiet", "--locked", "--manifest-path", "tests/hostile/Cargo.toml"],
            &["--".as_ref(), directory.as_os_str()],
        );
        directory
    };
    BUILT.get_or_init(build).clone()
}

fn build(kind: &str) -> PathBuf {
    cargo(&["build", "-p", kind, "--target", "wasm32-wasip2", "--profile", "kind"], &[]);
    target().join("wasm32-wasip2/kind").join(format!("{kind}.wasm"))
}

/// Its own target directory keeps Cargo's lock free.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("kinds")
}

fn cargo(arguments: &[&str], more: &[&OsStr]) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--target-dir")
        .arg(target())
        .args(more)
        .current_dir(workspace)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "that failed; try: cargo {}", arguments.join(" "));
}
