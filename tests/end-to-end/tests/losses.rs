//! Losses: agents, the coordinator, and clients that follow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    time::{Duration, Instant},
};

use end_to_end::{Network, Process, eventually, hulynet};
use serde_json::{Value, json};

fn agent_of(network: &Network, uuid: &str) -> Option<(usize, Value)> {
    let list = network.json(&["list"]);
    let container = list.as_array()?.iter().find(|c| c["uuid"] == uuid)?.clone();
    let place = network.agents.iter().position(|a| a.ready["agent"] == container["agent"])?;
    Some((place, container))
}

#[test]
fn a_held_container_moves_when_its_agent_is_killed_and_its_listener_follows() {
    let mut network = Network::start(2, &["echo"]);
    let listener = Process::start(&mut network.command(&["connect", "echo/a"]));
    listener.wait_for_error("connected to echo/a");
    let (place, before) = agent_of(&network, "a").unwrap();
    network.agents[place].process.kill();

    let after = eventually("the container on the other agent", || {
        let (moved_to, container) = agent_of(&network, "a")?;
        (moved_to != place).then_some(container)
    });
    assert_ne!(after["epoch"], before["epoch"], "a new activation has a new epoch");
    listener.wait_for_error("connected again");
    assert_eq!([listener.line(), listener.line()], [r#""welcome""#; 2], "from both activations");
    network.run(&["call", "echo/a", "broadcast", "[1]"]).text();
    assert_eq!(listener.line(), "[1]");
}

#[test]
fn a_restarted_coordinator_gets_its_containers_and_references_back() {
    let mut network = Network::start(2, &["echo"]);
    let listener = Process::start(&mut network.command(&["connect", "echo/a"]));
    listener.wait_for_error("connected to echo/a");
    network.json(&["call", "echo/a", "add", "5"]);
    network.restart_coordinator();
    let (_, container) = eventually("the container", || agent_of(&network, "a"));
    assert_eq!(container["kind"], "echo");
    assert_eq!(network.json(&["call", "echo/a", "add", "1"]), json!(6), "it kept its state");
    assert_eq!(listener.line(), r#""welcome""#);
    network.run(&["call", "echo/a", "broadcast", "[1]"]).text();
    assert_eq!(listener.line(), "[1]");
}

#[test]
fn an_agent_that_was_stopped_for_longer_than_its_lease_serves_nothing_stale() {
    let network = Network::start(2, &["echo"]);
    let listener = Process::start(&mut network.command(&["connect", "echo/a"]));
    listener.wait_for_error("connected to echo/a");
    network.json(&["call", "echo/a", "add", "5"]);
    let (place, _) = agent_of(&network, "a").unwrap();
    network.agents[place].process.signal("STOP");
    eventually("the container on the other agent", || {
        let (moved_to, _) = agent_of(&network, "a")?;
        (moved_to != place).then_some(())
    });
    network.agents[place].process.signal("CONT");
    eventually("the return of the agent", || {
        (network.json(&["agents"]).as_array().unwrap().len() == 2).then_some(())
    });
    assert_eq!(network.json(&["call", "echo/a", "add", "1"]), json!(1), "the new activation");
    let list = network.json(&["list", "echo"]);
    assert_eq!(list.as_array().unwrap().len(), 1, "one live activation: {list}");
}

#[test]
fn an_agent_without_a_coordinator_ends_at_once() {
    let mut network = Network::start(1, &["echo"]);
    network.coordinator.kill();
    network.agents[0].process.wait_for_error("the coordinator is lost");
    let asked = Instant::now();
    network.agents[0].process.signal("TERM");
    assert!(network.agents[0].process.wait().success());
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
fn what_a_killed_program_left_is_removed_when_the_next_one_starts() {
    let temporary = tempfile::tempdir().unwrap();
    let left = || fs::read_dir(temporary.path()).unwrap().count();
    let start = || {
        let process = Process::start(
            hulynet()
                .args(["coordinator", "--json", "--listen", "127.0.0.1:0"])
                .env("TMPDIR", temporary.path()),
        );
        let _ready = process.line();
        process
    };
    let (mut killed, living) = (start(), start());
    assert_eq!(left(), 2);
    killed.kill();
    assert_eq!(left(), 2, "a killed program cleans nothing");
    let mut next = start();
    assert_eq!(left(), 2, "of those that live");
    next.signal("TERM");
    assert!(next.wait().success());
    assert_eq!(left(), 1);
    drop(living);
}
