//! A hulynet network as processes of their own.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::load::Settings;

/// A coordinator and an agent, killed when dropped.
pub(crate) struct Network {
    processes: Vec<Child>,
    /// Where the coordinator listens.
    pub(crate) coordinator: String,
    directory: tempfile::TempDir,
}

impl Network {
    /// Starts both and waits until they are ready.
    pub(crate) fn start(settings: &Settings) -> anyhow::Result<Self> {
        Self::with(settings, &settings.kinds, |agent| agent)
    }

    /// The same with another agent, which serves these kinds.
    pub(crate) fn with(
        settings: &Settings,
        kinds: &Path,
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut network = Self { processes: Vec::new(), coordinator: String::new(), directory };
        let ready = network.spawn(Command::new(&settings.hulynet).args([
            "coordinator",
            "--listen",
            "127.0.0.1:0",
            "--json",
            "--log",
            "warn",
        ]))?;
        network.coordinator = ready
            .get("coordinator")
            .and_then(Value::as_str)
            .context("the coordinator's ready line names its address")?
            .to_owned();
        network.add_agent(settings, kinds, change)?;
        Ok(network)
    }

    /// An agent alone, with room for so many containers and one more, of the
    /// network of this coordinator.
    pub(crate) fn of_agent(
        settings: &Settings,
        coordinator: &str,
        containers: usize,
    ) -> anyhow::Result<Self> {
        let (processes, directory) = (Vec::new(), tempfile::tempdir()?);
        let mut network = Self { processes, coordinator: coordinator.to_owned(), directory };
        network.add_agent(settings, &settings.kinds, |agent| room(agent, containers))?;
        Ok(network)
    }

    fn add_agent(
        &mut self,
        settings: &Settings,
        kinds: &Path,
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> anyhow::Result<()> {
        let directory = self.directory.path().to_owned();
        let grants = "[default]\ncontainers = [\"*\"]\ndocuments = true\n";
        std::fs::write(directory.join("grants.toml"), grants)?;
        self.spawn(change(
            Command::new(&settings.hulynet)
                .args(["agent", "--listen", "127.0.0.1:0", "--json", "--log", "warn"])
                .args(["--coordinator", &self.coordinator.clone()])
                .arg("--plugins")
                .arg(kinds)
                .arg("--dir")
                .arg(directory),
        ))?;
        Ok(())
    }

    /// The process of the coordinator.
    pub(crate) fn coordinator_process(&self) -> anyhow::Result<u32> {
        Ok(self.processes.first().context("the coordinator was started first")?.id())
    }

    /// The process of the agent.
    pub(crate) fn agent(&self) -> anyhow::Result<u32> {
        Ok(self.processes.last().context("the agent was started last")?.id())
    }

    fn spawn(&mut self, command: &mut Command) -> anyhow::Result<Value> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let out = child.stdout.take().context("its output is piped")?;
        self.processes.push(child);
        ready_line(out)
    }
}

/// Gives an agent room for so many containers and one more.
pub(crate) fn room(agent: &mut Command, containers: usize) -> &mut Command {
    agent.arg("--containers").arg((containers + 1).to_string())
}

fn ready_line(out: ChildStdout) -> anyhow::Result<Value> {
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    if line.is_empty() {
        bail!("a process of the network ended before it was ready; its message is above");
    }
    Ok(serde_json::from_str(&line)?)
}

impl Drop for Network {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            // It may have ended by itself; then there is nothing to do.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
