//! Builds the kinds under `plugins/` for wasm32-wasip2 into a plugin
//! directory, each with its manifest.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    cargo::{cargo, root, target},
    machine::{self, WASM_TARGET},
    steps,
};

/// The Cargo profile of kinds.
const PROFILE: &str = "kind";

/// Kinds that only tests run.
const FOR_TESTS: [&str; 2] = ["fetch", "hostile"];

/// An asynchronous kind and a synchronous one.
const FOR_BENCH: [&str; 2] = ["echo", "serial"];

#[derive(Args)]
pub(crate) struct Options {
    /// Where the `.wasm` files go [default: target/kinds]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Build only these kinds
    #[arg(value_name = "KIND")]
    only: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::prepare()?;
    let out = options.out.clone().unwrap_or_else(default_directory);
    for path in build(&options.only, &out)? {
        let size = fs::metadata(&path).map(|file| file.len()).unwrap_or_default();
        println!("  {} ({} KiB)", path.display(), size.div_ceil(1024));
    }
    Ok(())
}

/// Builds what only tests run, so that they find it and build nothing
/// themselves.
///
/// # Errors
/// When a build fails.
pub(crate) fn build_for_tests(out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    for name in FOR_TESTS {
        build_one(name, out)?;
    }
    let manifest = "tests/hostile/Cargo.toml";
    let mut attacks = cargo();
    attacks.args(["run", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir"]);
    attacks.arg(target().join("attacks")).arg("--").arg(out.join("attacks"));
    steps::program("build the kinds that attack their host", &mut attacks)
}

/// Builds the kinds that benchmarks ask, and nothing else, into a directory of
/// their own.
///
/// # Errors
/// When a build fails.
pub(crate) fn build_for_bench() -> anyhow::Result<PathBuf> {
    let out = target().join("bench-kinds");
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    for name in FOR_BENCH {
        build_one(name, &out)?;
    }
    Ok(out)
}

/// Where the kinds go unless somebody says otherwise.
pub(crate) fn default_directory() -> PathBuf {
    target().join("kinds")
}

/// Builds kinds, all of them if none is named, and answers their files.
///
/// # Errors
/// When a name is unknown or a build fails.
pub(crate) fn build(only: &[String], out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let all = names()?;
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        bail!("there is no kind {unknown:?} under plugins/; there are: {}", all.join(", "));
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    all.iter()
        .filter(|name| only.is_empty() || only.contains(name))
        .map(|name| build_one(name, out))
        .collect()
}

/// One crate at a time, because a build of several unifies their features and
/// so changes what each becomes.
fn build_one(name: &str, out: &Path) -> anyhow::Result<PathBuf> {
    steps::program(
        &format!("build the kind {name}"),
        cargo().args(["build", "--package", name, "--target", WASM_TARGET, "--profile", PROFILE]),
    )?;
    let built = target().join(WASM_TARGET).join(PROFILE).join(format!("{name}.wasm"));
    let manifest = root().join("plugins").join(name).join(format!("{name}.toml"));
    let file = out.join(format!("{name}.wasm"));
    install(&built, &manifest, &file)?;
    Ok(file)
}

/// Installs a kind: its manifest, or that it has none, and its code.
pub(crate) fn install(code: &Path, manifest: &Path, to: &Path) -> anyhow::Result<()> {
    let beside = to.with_extension("toml");
    if manifest.exists() {
        copy(manifest, &beside)?;
    } else if beside.exists() {
        fs::remove_file(&beside).with_context(|| format!("cannot remove {}", beside.display()))?;
    }
    copy(code, to)
}

/// Copies a file so that an agent that watches the directory sees it complete
/// or not at all.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let partial = to.with_extension("partial");
    fs::copy(from, &partial)
        .and_then(|_| fs::rename(&partial, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// The crates under `plugins/` that become components.
fn names() -> anyhow::Result<Vec<String>> {
    let directory = root().join("plugins");
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).context("cannot read plugins/")? {
        let path = entry.context("cannot read plugins/")?.path();
        let manifest = fs::read_to_string(path.join("Cargo.toml")).unwrap_or_default();
        if manifest.contains("cdylib")
            && let Some(name) = path.file_name()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
