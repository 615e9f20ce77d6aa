//! The demo's processes.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{
    cargo::{root, target},
    kinds,
};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code of `hulynet` for an operation that was refused.
const REFUSED: i32 = 1;

/// The network's running processes, stopped when dropped.
pub(crate) struct Network {
    program: PathBuf,
    coordinator: String,
    processes: Vec<(String, Child)>,
}

impl Network {
    /// Starts a coordinator and two agents with plugin directories of their
    /// own.
    ///
    /// # Errors
    /// When one of them does not become ready.
    pub(crate) fn start(program: &Path, built: &Path, served: &[&str]) -> anyhow::Result<Self> {
        let directory = target().join("demo");
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot clear {}", directory.display()))?;
        }
        let mut network =
            Self { program: program.to_owned(), coordinator: String::new(), processes: Vec::new() };
        let listen = address(3737);
        let mut coordinator = network.command(&["coordinator", "--listen", &listen]);
        let ready = network.spawn("coordinator", &mut coordinator)?;
        network.coordinator = ready
            .get("coordinator")
            .and_then(Value::as_str)
            .with_context(|| format!("the coordinator's first line is {ready}"))?
            .to_owned();

        for (name, port) in [("agent-1", 3738), ("agent-2", 3739)] {
            let plugins = directory.join(name).join("plugins");
            fs::create_dir_all(&plugins)
                .with_context(|| format!("cannot make {}", plugins.display()))?;
            for kind in served {
                let file = format!("{kind}.wasm");
                let manifest = built.join(&file).with_extension("toml");
                kinds::install(&built.join(&file), &manifest, &plugins.join(&file))?;
            }
            let mut agent = network.command(&["agent", "--listen", &address(port)]);
            agent.args(["--coordinator", &network.coordinator]);
            agent.arg("--plugins").arg(&plugins);
            agent.arg("--grants").arg(root().join("plugins/grants.toml"));
            agent.arg("--cache").arg(directory.join(name).join("cache"));
            agent.arg("--data").arg(directory.join("data"));
            network.spawn(name, &mut agent)?;
        }
        network.registered(2)?;
        Ok(network)
    }

    /// Waits until the coordinator knows so many agents, which listened before.
    fn registered(&self, agents: usize) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.json(&["agents"])?.as_array().map(Vec::len) != Some(agents) {
            if Instant::now() > until {
                bail!("{agents} agents did not register in time");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--json", "--log", "warn"]).stdin(Stdio::null());
        command
    }

    fn spawn(&mut self, name: &str, command: &mut Command) -> anyhow::Result<Value> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start the {name}"))?;
        let out = child.stdout.take().context("its output is piped")?;
        self.processes.push((name.to_owned(), child));
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        if line.is_empty() {
            bail!("the {name} ended before it was ready; its message is above");
        }
        eprintln!("✓ {name} is up: {}", line.trim());
        serde_json::from_str(&line).with_context(|| format!("the {name} said {line}"))
    }

    /// Runs the program against the network for its JSON.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self
            .command(arguments)
            .args(["--coordinator", &self.coordinator])
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        if !output.status.success() {
            bail!("`hulynet {}` failed; its message is above", arguments.join(" "));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Calls an operation of an account's session.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) fn call(
        &self,
        account: &str,
        operation: &str,
        arguments: &Value,
    ) -> anyhow::Result<Value> {
        let target = format!("session/session:{account}");
        let label = format!("account={account}");
        self.json(&[
            "call",
            &target,
            operation,
            &arguments.to_string(),
            "--account",
            account,
            "--label",
            &label,
        ])
    }

    /// Whether the session refuses the operation.
    ///
    /// # Errors
    /// When it fails in another way.
    pub(crate) fn refused(
        &self,
        account: &str,
        operation: &str,
        arguments: &Value,
    ) -> anyhow::Result<bool> {
        let output = self
            .command(&["call", &format!("session/session:{account}"), operation])
            .arg(arguments.to_string())
            .args(["--account", account, "--label", &format!("account={account}")])
            .args(["--coordinator", &self.coordinator])
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        match output.status.code() {
            Some(0) => Ok(false),
            Some(REFUSED) => {
                Ok(String::from_utf8_lossy(&output.stderr).contains("permission-denied"))
            }
            _ => bail!("{}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// Connects to an account's session for its live events.
    ///
    /// # Errors
    /// When the connection is not made.
    pub(crate) fn listen(&self, account: &str) -> anyhow::Result<Listener> {
        let target = format!("session/session:{account}");
        let label = format!("account={account}");
        let mut child = self
            .command(&["connect", &target, "--account", account, "--label", &label])
            .args(["--coordinator", &self.coordinator])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the listener")?;
        let events = lines_of(child.stdout.take().context("its output is piped")?);
        let notes = lines_of(child.stderr.take().context("its errors are piped")?);
        let listener = Listener { process: child, events };
        let first = notes.recv_timeout(PATIENCE).context("the listener said nothing in time")?;
        if !first.starts_with("connected to") {
            bail!("the listener did not connect: {first}");
        }
        Ok(listener)
    }

    /// Tells a person what to try.
    pub(crate) fn invite(&self) {
        let at = if self.coordinator == "127.0.0.1:3737" {
            String::new()
        } else {
            format!(" --coordinator {}", self.coordinator)
        };
        let program = self.program.display();
        println!(
            "\nThe network stays up until Ctrl-C. Try in another terminal:\n\n  \
             {program} agents{at}\n  \
             {program} list session{at}\n  \
             {program} call echo echo '\"hello\"'{at}\n  \
             {program} call session/session:alice workspaces --account alice \
             --label account=alice{at}\n"
        );
    }

    /// Waits for Ctrl-C.
    ///
    /// # Errors
    /// When a process ends by itself meanwhile.
    pub(crate) fn wait(&mut self, stop: &Receiver<()>) -> anyhow::Result<()> {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(Duration::from_millis(500)) {
            for (name, process) in &mut self.processes {
                if let Some(status) = process.try_wait()?
                    && stop.try_recv().is_err()
                {
                    bail!("the {name} ended with {status}; its message is above");
                }
            }
        }
        Ok(())
    }

    /// Asks every process to end, the last one first, and waits until it has
    /// drained.
    ///
    /// # Errors
    /// When one cannot be stopped.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        while let Some((name, mut process)) = self.processes.pop() {
            end(&name, &mut process)?;
        }
        Ok(())
    }
}

/// Asks a process to end and waits until it has drained.
fn end(name: &str, process: &mut Child) -> anyhow::Result<()> {
    // One that has ended by itself cannot be asked; waiting tells.
    let _ = Command::new("kill").args(["-s", "TERM", &process.id().to_string()]).status();
    let until = Instant::now() + PATIENCE;
    while process.try_wait()?.is_none() {
        if Instant::now() > until {
            process.kill().with_context(|| format!("cannot stop the {name}"))?;
            bail!("the {name} did not drain in time and was killed");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}

/// A process that receives live events.
pub(crate) struct Listener {
    process: Child,
    events: Receiver<String>,
}

impl Listener {
    /// Counts events until there are as many as expected, or none comes any
    /// more.
    pub(crate) fn count(&self, expected: u64) -> u64 {
        let mut count = 0;
        while count < expected && self.events.recv_timeout(PATIENCE / 6).is_ok() {
            count += 1;
        }
        count
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = end("listener", &mut self.process) {
            eprintln!("{error:#}");
        }
    }
}

fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

/// The usual port if it is free, so that the commands in the README work as
/// they stand; any other if not.
fn address(port: u16) -> String {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => format!("127.0.0.1:{port}"),
        Err(_) => "127.0.0.1:0".to_owned(),
    }
}
