//! Kinds for tests, built from `plugins/`.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

/// Name directories of built kinds; what is not there is built here.
const BUILT: [&str; 2] = ["HULYNET_KINDS", "HULYNET_TEST_KINDS"];

/// The file of a built kind.
pub fn kind(name: &str) -> PathBuf {
    if let Some(path) = built(&format!("{name}.wasm")) {
        return path;
    }
    static MADE: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(name.to_owned()).or_insert_with(|| build(name)).clone()
}

/// The directory of kinds that attack their host.
pub fn attacks() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let directory = target().join("attacks");
        cargo(
            &["run", "--quiet", "--locked", "--manifest-path", "tests/hostile/Cargo.toml"],
            &["--".as_ref(), directory.as_os_str()],
        );
        directory
    };
    MADE.get_or_init(|| built("attacks").unwrap_or_else(build)).clone()
}

fn built(name: &str) -> Option<PathBuf> {
    let directories = BUILT.iter().filter_map(std::env::var_os);
    directories.map(|directory| Path::new(&directory).join(name)).find(|path| path.exists())
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
