//! Peers of the original network, played by libzmq.
//!
//! The scripts speak the protocol over the npm package `zeromq`, which shares
//! no line with ours. It is installed from the registry into a directory of
//! the build; where npm is missing the tests are skipped, loudly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use end_to_end::Network;

/// A script that runs.
#[derive(Debug)]
pub struct Script {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    name: String,
}

/// The directory with the scripts and what they need; `None`, with a loud
/// message, where npm is missing.
fn installed(target: &Path) -> Option<PathBuf> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        let version = Command::new("npm").arg("--version").output();
        if !version.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: npm is not here, so nothing plays the peers of the original");
            return None;
        }
        let to = target.join("compatibility");
        fs::create_dir_all(&to).unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        for entry in fs::read_dir(scripts).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        // The package brings its library along; no script has to build it.
        let arguments = ["install", "--ignore-scripts", "--no-audit", "--no-fund"];
        let output = Command::new("npm").args(arguments).current_dir(&to).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "npm could not install zeromq: {said}");
        Some(to)
    };
    INSTALLED.get_or_init(install).clone()
}

impl Script {
    /// Starts a scenario of a script against a network; `None`, with a loud
    /// message, where npm is missing.
    ///
    /// # Panics
    /// When the scripts cannot be installed or started.
    #[must_use]
    pub fn start(target: &str, script: &str, scenario: &str, network: &Network) -> Option<Self> {
        let directory = installed(Path::new(target))?;
        let mut child = Command::new("node")
            .args([&format!("{script}.mjs"), scenario, &network.address])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let name = format!("{script} {scenario}");
        Some(Self { child, input, output: BufReader::new(output), name })
    }

    /// The next line that it says; its own patience ends it.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits for a line.
    ///
    /// # Panics
    /// When it says something else, or ends.
    pub fn says(&mut self, expected: &str) {
        assert_eq!(self.line(), expected, "{}", self.name);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it has ended.
    pub fn goes_on(&mut self) {
        writeln!(self.input).unwrap();
    }

    /// Waits until it passed.
    ///
    /// # Panics
    /// When it did not.
    pub fn passes(mut self) {
        self.says("PASSED");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
