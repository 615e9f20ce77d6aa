//! What an operator asks and does: explain, drain, and singletons that are
//! kept running.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::TcpListener;

use end_to_end::{Network, Process, eventually, hulynet};
use serde_json::{Value, json};

fn field(network: &Network, uuid: &str, name: &str) -> Value {
    network.json(&["explain", uuid])[name].clone()
}

fn listen(network: &Network, container: &str) -> Process {
    let listener = Process::start(&mut network.command(&["connect", container]));
    listener.wait_for_error(&format!("connected to {container}"));
    listener
}

/// The agent that runs a container, once one does.
fn runs_on(network: &Network, uuid: &str) -> String {
    eventually("the container to run", || {
        let output = network.run(&["explain", uuid, "--json"]);
        let explanation: Value = serde_json::from_str(&output.out).ok()?;
        (explanation["phase"] == "running")
            .then(|| explanation["agent"].as_str().map(str::to_owned))?
    })
}

fn intake(network: &Network, place: usize) -> Value {
    let agents = network.json(&["agents"]);
    let found = agents.as_array().unwrap().iter().find(|a| a["agent"] == network.agent(place));
    found.unwrap()["intake"].clone()
}

#[test]
fn an_agent_that_still_looks_for_a_coordinator_ends_in_order() {
    // It listens, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let state = tempfile::tempdir().unwrap();
    let mut agent = Process::start(
        hulynet()
            .args(["agent", "--listen", "127.0.0.1:0", "--hello-timeout", "1h", "--dir"])
            .arg(state.path())
            .args(["--coordinator", &address]),
    );
    assert!(agent.line().starts_with("agent "));
    agent.signal("TERM");
    assert!(agent.wait().success());
    agent.wait_for_error("ending in order");
}

#[test]
fn explain_tells_where_why_since_when_and_who_holds_it() {
    let network = Network::start(1, &["echo"]);
    let _listener = listen(&network, "echo/a");
    let told = network.json(&["explain", "echo/a"]);
    assert_eq!(told["phase"], "running");
    assert_eq!(told["agent"], network.agents[0].ready["agent"]);
    assert_eq!(told["address"], network.agents[0].ready["address"]);
    assert_eq!(told["reason"], "it was the agent's turn");
    assert_eq!((&told["holder_count"], told["holders"].as_array().unwrap().len()), (&json!(1), 1));
    assert!(told["since_ms"].is_u64() && told["last_failure"].is_null(), "{told}");

    let memory = &told["limits"]["memory"];
    assert_eq!(memory["allowed"], json!(256 << 20));
    assert!(memory["used"].as_u64().unwrap() >= 65_536, "{memory}");
    for limit in [
        "compute",
        "concurrent",
        "mailbox",
        "mailbox-bytes",
        "request-bytes",
        "reply-bytes",
        "event-bytes",
        "events",
        "gets",
        "calls",
        "log-lines",
        "log-bytes",
        "streams",
        "resources",
        "timers",
        "references",
        "connections",
        "unread-bytes",
        "log-line",
        "outgoing",
        "outgoing-bytes",
        "http-bytes",
        "http-time",
        "start",
        "terminate",
        "silent",
        "ping",
        "request",
        "failed-starts",
        "crashes",
        "crash-window",
        "quarantine",
        "longest-quarantine",
        "depth",
        "agent-memory",
        #[cfg(target_os = "linux")]
        "agent-resident",
    ] {
        assert!(told["limits"][limit]["allowed"].as_u64() > Some(0), "{limit} in {told}");
    }

    let text = network.run(&["explain", "a"]).text().to_owned();
    for line in [
        "echo/a is running in the epoch",
        "where: on the agent",
        "why there",
        "held by 1",
        "limit: mailbox: 0 of 1024",
        "limit: log-bytes: 64KiB a second",
        "limit: agent-memory: 0B of",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let kind = network.run(&["explain", "other/a"]);
    assert!(kind.refusal(1).contains("a is of the kind echo, not other"), "{kind:?}");
    let nobody = network.run(&["explain", "nobody"]);
    assert!(nobody.refusal(1).contains("nobody"), "{nobody:?}");
}

#[test]
fn explain_tells_what_failed_last_and_when_the_next_attempt_comes() {
    let mut network = Network::start(1, &["echo"]);
    let mut listener = listen(&network, "echo/a");
    network.agents[0].process.kill();
    let waiting = eventually("the loss to be known", || {
        let told = network.json(&["explain", "a"]);
        (told["phase"] != "running").then_some(told)
    });
    assert_eq!((&waiting["agent"], &waiting["holder_count"]), (&Value::Null, &json!(1)));
    listener.kill();

    network.add_agent_with("broken", &["echo"], &["--container-memory", "64KiB"]);
    let failed = network.run(&["get", "echo/b"]);
    assert!(failed.refusal(1).contains("could not be started"), "{failed:?}");
    let told = network.run(&["explain", "b"]);
    assert!(told.refusal(1).contains("memory limits"), "{told:?}");
    let agents = network.json(&["agents"]);
    let broken = agents.as_array().unwrap().iter().find(|a| a["agent"] == network.agent(1));
    assert_eq!(broken.unwrap()["failing"][0]["kind"], "echo");
}

#[test]
fn a_singleton_runs_on_the_first_agent_that_offers_it_and_the_next_takes_over() {
    let mut network = Network::coordinated(&[]);
    let offers = ["--singletons", "echo/main"];
    for name in ["first", "second", "third"] {
        network.add_agent_with(name, &["echo"], &offers);
    }
    assert_eq!(runs_on(&network, "main"), network.agent(0));
    assert_eq!(field(&network, "main", "reason"), "the agent offers it");
    let order = (0..3).map(|place| network.agent(place).to_owned()).collect::<Vec<_>>();
    assert_eq!(field(&network, "main", "offered_by"), json!(order));
    assert_eq!(field(&network, "main", "holder_count"), json!(0), "nobody has to hold it");
    let before = field(&network, "main", "epoch");
    let listener = listen(&network, "echo/main");

    network.agents[0].process.kill();
    eventually("the second to take over", || {
        (runs_on(&network, "main") == network.agent(1)).then_some(())
    });
    assert_ne!(field(&network, "main", "epoch"), before);
    listener.wait_for_error("connected again");
    network.json(&["call", "echo/main", "add", "5"]);

    network.agents[1].process.signal("TERM");
    assert!(network.agents[1].process.wait().success());
    eventually("the third to take over", || {
        (runs_on(&network, "main") == network.agent(2)).then_some(())
    });
    assert_eq!(network.json(&["call", "echo/main", "add", "1"]), json!(1), "a new activation");
    let all = network.json(&["list", "echo"]);
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
}

#[test]
fn a_drained_agent_takes_nothing_new_and_is_taken_back() {
    let network = Network::start(2, &["echo"]);
    let drained = network.agent(0);
    let told = network.json(&["agents", "drain", drained]);
    assert_eq!((&told["agent"], &told["intake"]), (&json!(drained), &json!("draining")));
    assert_eq!((intake(&network, 0), intake(&network, 1)), (json!("draining"), json!("open")));
    let agents = network.run(&["agents"]);
    assert!(agents.text().contains("draining"), "{agents:?}");
    for n in 0..3 {
        let got = network.json(&["get", &format!("echo/n{n}")]);
        assert_eq!(got["agent"], network.agent(1));
    }
    let again = network.run(&["agents", "drain", drained]);
    assert!(again.text().contains("it runs none any more"), "{again:?}");

    let back = network.run(&["agents", "undrain", drained]);
    assert!(back.text().contains("takes containers again"), "{back:?}");
    assert_eq!(intake(&network, 0), json!("open"));
    let placed = ["x", "y"].map(|uuid| network.json(&["get", &format!("echo/{uuid}")]));
    assert!(placed.iter().any(|got| got["agent"] == drained), "{placed:?}");
}

#[test]
fn what_a_drained_agent_runs_stays_as_long_as_it_is_held_and_a_restart_forgets_nothing() {
    let mut network = Network::start(1, &["echo"]);
    let mut listener = listen(&network, "echo/held");
    let drained = network.agent(0).to_owned();
    let told = network.run(&["agents", "drain", &drained]);
    assert!(told.text().contains("it still runs 1, until nobody holds it"), "{told:?}");
    assert_eq!(network.json(&["call", "echo/held", "add", "5"]), json!(5), "it goes on");
    let refused = network.run(&["get", "echo/new", "--timeout", "1s"]);
    assert!(refused.refusal(3).contains("draining or full"), "{refused:?}");

    network.restart_coordinator();
    eventually("the agent at the new coordinator", || {
        let agents = network.json(&["agents"]);
        (agents.as_array()?.first()?["intake"] == "draining").then_some(())
    });
    eventually("the container at the new coordinator", || {
        (network.json(&["list"]).as_array()?.len() == 1).then_some(())
    });
    assert_eq!(network.json(&["call", "echo/held", "add", "1"]), json!(6), "it kept its state");
    listener.kill();
    eventually("the end of the last container", || {
        (network.json(&["agents"])[0]["containers"] == json!(0)).then_some(())
    });
    assert_eq!(intake(&network, 0), json!("draining"));
}

#[test]
fn an_agent_that_cannot_be_drained_is_an_error_with_the_remedy() {
    let network = Network::start(1, &["echo"]);
    let unknown = network.run(&["agents", "drain", "nobody"]);
    assert!(unknown.refusal(2).contains("no agent nobody is registered"), "{unknown:?}");
    assert!(unknown.err.contains(network.agent(0)), "it names those that are: {unknown:?}");
    let nameless = network.run(&["agents", "drain"]);
    assert!(nameless.refusal(2).contains("<AGENT>"), "{nameless:?}");
}
