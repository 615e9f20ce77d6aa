//! Builds the examples in other languages and drops them into networks.
//!
//! Their tools come from the registries and stay in the build's directory. An
//! example whose sources, contract and tools are those of the last build is not
//! built again. Where a tool's installer or its registry is missing, the test
//! is skipped, loudly; everything else that goes wrong is a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod call;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use end_to_end::{Network, root};
use serde_json::{Value, json};

pub use call::{Failed, call, fails};

/// How long an agent may take to compile such a kind on a busy machine: it
/// brings a whole interpreter along.
const COMPILED: Duration = Duration::from_secs(300);

/// What installers say when there is no way to their registry.
const UNREACHABLE: [&str; 6] = [
    "ENOTFOUND",
    "ECONNREFUSED",
    "EAI_AGAIN",
    "ETIMEDOUT",
    "Temporary failure in name resolution",
    "Connection refused",
];

/// An example in another language.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// Its directory under `examples/`.
    pub name: &'static str,
    /// The kind that it is.
    pub kind: &'static str,
    /// The file that names its tools.
    tools: &'static str,
    /// What installs them: the last of these installs, the others prepare.
    install: &'static [&'static [&'static str]],
    /// What builds it.
    build: &'static [&'static str],
}

/// The chat room in TypeScript.
pub const TYPESCRIPT: Example = Example {
    name: "typescript-kind",
    kind: "room",
    tools: "package.json",
    // The packages bring their programs along; no script has to run.
    install: &[&["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]],
    build: &["node", "build.mjs"],
};

/// The poll in Python.
pub const PYTHON: Example = Example {
    name: "python-kind",
    kind: "poll",
    tools: "requirements.txt",
    install: &[
        &["python3", "-m", "venv", "tools"],
        &[
            "tools/bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--requirement",
            "requirements.txt",
        ],
    ],
    build: &["tools/bin/python", "build.py"],
};

impl Example {
    /// The directory with the built kind and its manifest; `None`, with a loud
    /// message, where its tools are not to be had.
    ///
    /// # Panics
    /// When it cannot be built.
    #[must_use]
    pub fn built(&self, target: &str) -> Option<PathBuf> {
        let directory = Path::new(target).join(self.name);
        let sources = sources(&root().join("examples").join(self.name));
        for (path, content) in &sources {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let tools = fs::read(directory.join(self.tools)).unwrap();
        let made_of = |parts: Vec<(PathBuf, Vec<u8>)>| format!("{parts:?}").into_bytes();
        let installed = stamp(&directory, "installed", &tools);
        if !installed.is_current() {
            self.install(&directory)?;
            installed.set();
        }
        let contract = root().join("wit");
        let inputs = made_of([sources, self::sources(&contract)].concat());
        let built = stamp(&directory, "built", &inputs);
        if !built.is_current() {
            let build = command(self.build, &directory).env("HULYNET_WIT", contract).output();
            let build = build.unwrap();
            let said = [build.stdout, build.stderr].concat();
            assert!(build.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&said));
            built.set();
        }
        Some(directory.join("build"))
    }

    fn install(&self, directory: &Path) -> Option<()> {
        for arguments in self.install {
            let Ok(output) = command(arguments, directory).output() else {
                return self.skipped(&format!("{} is not here", arguments.join(" ")));
            };
            let said = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() && UNREACHABLE.iter().any(|sign| said.contains(sign)) {
                return self.skipped(&format!("its tools cannot be installed: {said}"));
            }
            assert!(output.status.success(), "{}: {}: {said}", self.name, arguments.join(" "));
        }
        Some(())
    }

    fn skipped(&self, why: &str) -> Option<()> {
        eprintln!("SKIPPED: examples/{} is neither built nor run: {why}", self.name);
        None
    }

    /// Drops the kind into the first agent's plugin directory and waits until
    /// it is served.
    ///
    /// # Panics
    /// When it is not.
    pub fn drop_into(&self, network: &Network, built: &Path) {
        let plugins = &network.agents.first().unwrap().plugins;
        for extension in ["toml", "wasm"] {
            let file = format!("{}.{extension}", self.kind);
            let partial = plugins.join("partial");
            fs::copy(built.join(&file), &partial).unwrap();
            fs::rename(partial, plugins.join(file)).unwrap();
        }
        let until = Instant::now() + COMPILED;
        while network.json(&["kinds"]) != json!([self.kind]) {
            assert!(Instant::now() < until, "{} is not served", self.kind);
            thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// What `kinds --verbose` tells about it.
    ///
    /// # Panics
    /// When it is not served.
    #[must_use]
    pub fn told(&self, network: &Network) -> Value {
        let all = network.json(&["kinds", "--verbose"]);
        all.as_array().unwrap().iter().find(|told| told["kind"] == self.kind).unwrap().clone()
    }
}

/// A program in a directory. One of the directory's own is named by its path
/// there.
fn command(arguments: &[&str], directory: &Path) -> Command {
    let (program, arguments) = arguments.split_first().unwrap();
    let own = directory.join(program);
    let mut command = Command::new(if own.exists() { own.as_path() } else { Path::new(program) });
    command.args(arguments).current_dir(directory);
    command
}

/// The files of a directory that belong to it, with their content: what is
/// installed or built there does not.
fn sources(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        for entry in fs::read_dir(directory.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if ["build", "node_modules", "__pycache__"].iter().any(|other| name == *other) {
                continue;
            }
            let path = below.join(&name);
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else {
                found.push((path, fs::read(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// What something was made of, kept beside it.
struct Stamp<'a> {
    file: PathBuf,
    of: &'a [u8],
}

fn stamp<'a>(directory: &Path, name: &str, of: &'a [u8]) -> Stamp<'a> {
    Stamp { file: directory.join(format!(".{name}")), of }
}

impl Stamp<'_> {
    fn is_current(&self) -> bool {
        fs::read(&self.file).is_ok_and(|of| of == self.of)
    }

    fn set(&self) {
        fs::write(&self.file, self.of).unwrap();
    }
}
