//! A network of processes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Output, Process, eventually, hulynet, kinds};

/// An agent's process and its plugin directory.
#[derive(Debug)]
pub struct Agent {
    /// The process.
    pub process: Process,
    /// What it said when it was ready.
    pub ready: Value,
    /// Its plugin directory.
    pub plugins: PathBuf,
}

/// What the kinds of tests are granted, unless a test says otherwise.
const GRANTS: &str =
    "[default]\ncontainers = [\"*\"]\ndocuments = true\n[kind.query]\nshared = true\n";

/// A coordinator, agents that share one data directory, and their files.
#[derive(Debug)]
pub struct Network {
    /// The coordinator's address.
    pub address: String,
    /// The coordinator.
    pub coordinator: Process,
    /// The agents, in order of their start.
    pub agents: Vec<Agent>,
    /// The arguments of the coordinator.
    arguments: Vec<String>,
    directory: TempDir,
}

impl Network {
    /// Starts a coordinator and agents that serve these kinds.
    ///
    /// # Panics
    /// When one does not become ready.
    #[must_use]
    pub fn start(agents: usize, kinds: &[&str]) -> Self {
        let mut network = Self::coordinated(&[]);
        for _ in 0..agents {
            network.add_agent(kinds);
        }
        network
    }

    /// Starts a coordinator with these arguments, and no agent.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn coordinated(arguments: &[&str]) -> Self {
        let coordinator = start_coordinator("127.0.0.1:0", arguments);
        let ready: Value = serde_json::from_str(&coordinator.line()).unwrap();
        Self {
            address: ready["coordinator"].as_str().unwrap().to_owned(),
            coordinator,
            agents: Vec::new(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts one more agent and answers its place.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn add_agent(&mut self, kinds: &[&str]) -> usize {
        self.add_agent_named(&format!("agent-{}", self.agents.len()), kinds)
    }

    /// Starts one more agent with a directory of this name and answers its
    /// place.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn add_agent_named(&mut self, name: &str, kinds: &[&str]) -> usize {
        self.add_agent_with(name, kinds, &[])
    }

    /// Starts one more agent with these arguments and answers its place.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn add_agent_with(&mut self, name: &str, kinds: &[&str], arguments: &[&str]) -> usize {
        let place = self.agents.len();
        let plugins = self.path(name);
        fs::create_dir_all(&plugins).unwrap();
        for kind in kinds {
            install(kind, &plugins);
        }
        let grants = self.path("usual-grants.toml");
        fs::write(&grants, GRANTS).unwrap();
        let process = Process::start(
            hulynet()
                .env("HULYNET_GRANTS", grants)
                .args(["agent", "--json", "--listen", "127.0.0.1:0"])
                .args(["--coordinator", &self.address])
                .arg("--plugins")
                .arg(&plugins)
                .arg("--cache")
                .arg(self.path("cache"))
                .arg("--data")
                .arg(self.path("data"))
                .args(arguments),
        );
        let ready: Value = serde_json::from_str(&process.line()).unwrap();
        // It listens; that the coordinator knows it is a second step.
        eventually("the agent's registration", || {
            let agents = self.json(&["agents"]);
            agents.as_array()?.iter().find(|agent| agent["agent"] == ready["agent"]).map(|_| ())
        });
        self.agents.push(Agent { process, ready, plugins });
        place
    }

    /// Kills the coordinator and starts another at the same address.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn restart_coordinator(&mut self) {
        self.coordinator.kill();
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.coordinator = start_coordinator(&self.address, &arguments);
        let _ready = self.coordinator.line();
    }

    /// A path in the network's own directory, which ends with it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A call of the program against this network.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = hulynet();
        command.args(arguments).args(["--coordinator", &self.address]);
        command.current_dir(self.directory.path());
        command
    }

    /// The name of the agent in this place.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn agent(&self, place: usize) -> &str {
        self.agents[place].ready["agent"].as_str().unwrap()
    }

    /// Runs the program against this network to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        Output::of(&mut self.command(arguments))
    }

    /// Runs the program against this network for its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        Output::of(self.command(arguments).arg("--json")).json()
    }
}

fn start_coordinator(listen: &str, arguments: &[&str]) -> Process {
    Process::start(hulynet().args(["coordinator", "--json", "--listen", listen]).args(arguments))
}

/// Puts a built kind and its manifest into a plugin directory.
///
/// # Panics
/// When it was not built.
pub fn install(kind: &str, plugins: &Path) {
    let from = kinds().join(format!("{kind}.wasm"));
    let (manifest, partial) =
        (from.with_extension("toml"), plugins.join(format!("{kind}.partial")));
    if manifest.exists() {
        fs::copy(manifest, plugins.join(format!("{kind}.toml"))).unwrap();
    }
    fs::copy(&from, &partial).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    fs::rename(&partial, plugins.join(format!("{kind}.wasm"))).unwrap();
}
