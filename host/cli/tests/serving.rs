//! A network of real processes without kinds: readiness, the commands that
//! need no container, and an orderly end. Unix only, because of the signals.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hulynet"));
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("HOME", directory)
        .stdin(Stdio::null());
    command
}

/// A part of a network that is killed when the test ends early.
struct Part {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Part {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::spawn(&mut program(directory, arguments))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that says that something is ready.
    fn ready(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Asks it to end and waits for its exit code.
    fn end(mut self) -> Option<i32> {
        let kill =
            Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn ask(directory: &Path, coordinator: &str, arguments: &[&str]) -> (i32, String, String) {
    let output =
        program(directory, arguments).env("HULYNET_COORDINATOR", coordinator).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn up_is_a_whole_network_that_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut up = Part::start(
        path,
        &["up", "--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0", "--json"],
    );
    let coordinator = up.ready()["coordinator"].as_str().unwrap().to_owned();
    let agent = up.ready();
    assert_eq!(agent["kinds"], Value::Array(Vec::new()));
    assert!(path.join(".hulynet/plugins").is_dir(), "the state directory is made");

    let (code, out, _) = ask(path, &coordinator, &["agents", "--json"]);
    let agents: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &agents[0]["agent"], &agents[0]["address"]),
        (0, &agent["agent"], &agent["address"])
    );
    assert_eq!(ask(path, &coordinator, &["list", "--json"]).1, "[]\n");
    assert_eq!(ask(path, &coordinator, &["kinds", "--json"]).1, "[]\n");
    assert!(ask(path, &coordinator, &["kinds"]).1.contains("no agent serves a kind"));

    let (code, _, err) = ask(path, &coordinator, &["call", "nothing", "at-all"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("no agent serves the kind \"nothing\""), "{err}");
    let (code, _, err) = ask(path, &coordinator, &["terminate", "echo/a"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("echo/a"), "{err}");
    assert_eq!(up.end(), Some(0));
}

#[test]
fn an_agent_waits_for_its_coordinator_and_joins_when_it_comes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut agent = Part::start(
        path,
        &["agent", "--listen", "127.0.0.1:0", "--coordinator", &address, "--json"],
    );
    let id = agent.ready()["agent"].clone();
    let mut coordinator = Part::start(path, &["coordinator", "--listen", &address, "--json"]);
    assert_eq!(coordinator.ready()["coordinator"], address.as_str());
    let begun = Instant::now();
    loop {
        let (_, out, err) = ask(path, &address, &["agents", "--json"]);
        let agents: Value = serde_json::from_str(&out).unwrap_or_default();
        if agents[0]["agent"] == id {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{out}{err}");
    }
    assert_eq!(agent.end(), Some(0));
    assert_eq!(ask(path, &address, &["agents", "--json"]).1, "[]\n");
    assert_eq!(coordinator.end(), Some(0));
}

#[test]
fn up_with_a_secret_is_a_network_for_those_who_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("network.secret"), "8JYtYb2Tq1v0PpW6zqU5uA==\n").unwrap();
    let secret = ["--secret-file", "network.secret"];
    let listen = ["up", "--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0", "--json"];
    let mut up = Part::start(path, &[&listen[..], &secret].concat());
    let coordinator = up.ready()["coordinator"].as_str().unwrap().to_owned();
    let agent = up.ready();

    let (code, out, err) = ask(path, &coordinator, &[&["agents", "--json"][..], &secret].concat());
    let agents: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &agents[0]["agent"]), (0, &agent["agent"]), "{err}");

    let (code, out, err) = ask(path, &coordinator, &["agents", "--json"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    let error = err.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let error = &error.unwrap_or_else(|| panic!("{err}"))["error"];
    assert_eq!((&error["kind"], &error["retry"]), (&"permission-denied".into(), &"final".into()));
    assert!(error["message"].as_str().unwrap().contains("secret-file"), "{err}");

    // An agent that lacks it waits, and says why.
    let log = path.join("log");
    let mut command = program(
        path,
        &["agent", "--listen", "127.0.0.1:0", "--coordinator", &coordinator, "--json"],
    );
    command.stderr(fs::File::create(&log).unwrap());
    let mut stranger = Part::spawn(&mut command);
    stranger.ready();
    let begun = Instant::now();
    while !fs::read_to_string(&log).unwrap().contains("refuses this agent") {
        assert!(begun.elapsed() < PATIENCE, "{}", fs::read_to_string(&log).unwrap());
        std::thread::yield_now();
    }
    let agents = ask(path, &coordinator, &[&["agents", "--json"][..], &secret].concat()).1;
    assert_eq!(serde_json::from_str::<Value>(&agents).unwrap().as_array().unwrap().len(), 1);
    assert_eq!(stranger.end(), Some(0));
    assert_eq!(up.end(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_coordinator_lets_nobody_in_from_networks_that_are_not_accepted_and_tells_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let log = path.join("log");
    let arguments =
        ["coordinator", "--listen", "127.0.0.1:0", "--accept", "127.0.0.2/32", "--json"];
    let mut command = program(path, &arguments);
    command.stderr(fs::File::create(&log).unwrap());
    let mut coordinator = Part::spawn(&mut command);
    let address = coordinator.ready()["coordinator"].as_str().unwrap().to_owned();

    let begun = Instant::now();
    let (code, _, err) = ask(path, &address, &["agents"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains(&address) && err.contains("its setting accept does not admit"), "{err}");
    assert!(begun.elapsed() < Duration::from_secs(10), "it tries for as long as it may");
    assert_eq!(coordinator.end(), Some(0));
    let told = fs::read_to_string(&log).unwrap();
    assert!(told.contains("from=127.0.0.1:") && told.contains("the setting 'accept'"), "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn coordinator_and_agent_let_in_who_comes_from_an_accepted_network() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let settings = "accept = [\"127.0.0.1\", \"10.1.0.0/16\"]\nagent-listen = \"127.0.0.1:0\"\n";
    fs::write(path.join("hulynet.toml"), settings).unwrap();
    let mut up = Part::start(path, &["up", "--listen", "127.0.0.1:0", "--json"]);
    let coordinator = up.ready()["coordinator"].as_str().unwrap().to_owned();
    let agent = up.ready()["address"].as_str().unwrap().to_owned();
    assert_eq!(ask(path, &coordinator, &["list", "--json"]), (0, "[]\n".into(), String::new()));
    for address in [coordinator, agent] {
        for (from, speaks) in [("127.0.0.1", true), ("127.0.0.2", false)] {
            assert_eq!(is_greeted(from, &address), speaks, "{address} from {from}");
        }
    }
    assert_eq!(up.end(), Some(0));
}

/// Whether a server says anything to who connects from there.
#[cfg(target_os = "linux")]
fn is_greeted(from: &str, address: &str) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let at = |address: &str| address.parse::<SocketAddr>().unwrap().into();
    socket.bind(&at(&format!("{from}:0"))).unwrap();
    socket.connect(&at(address)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    TcpStream::from(socket).read(&mut [0]).unwrap() > 0
}
