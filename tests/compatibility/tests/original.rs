//! Unmodified peers of the original network in a hulynet network.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use compatibility::Script;
use end_to_end::{Network, Process};
use serde_json::Value;

/// A network whose containers do not live long without somebody to hold them.
fn network(agents: usize) -> Network {
    let mut network = Network::coordinated(&["--unused-timeout", "1s"]);
    for _ in 0..agents {
        network.add_agent(&["echo"]);
    }
    network
}

/// Runs one scenario to its end in a network of its own.
fn scenario(script: &str, name: &str) {
    let network = network(1);
    if let Some(script) = start(script, name, &network) {
        script.passes();
    }
}

fn start(script: &str, name: &str, network: &Network) -> Option<Script> {
    Script::start(env!("CARGO_TARGET_TMPDIR"), script, name, network)
}

#[test]
fn a_client_gets_asks_lists_and_releases_containers_in_wasm() {
    scenario("client", "calls");
}

#[test]
fn a_client_asks_and_hears_a_container_directly() {
    scenario("client", "direct");
}

#[test]
fn events_go_out_within_20_ms() {
    scenario("client", "events");
}

#[test]
fn the_27th_request_is_sent_away_and_answered_later() {
    scenario("client", "retry");
}

#[test]
fn a_silent_client_is_revived_and_a_patient_one_is_not_silent() {
    scenario("client", "silence");
}

#[test]
fn what_a_client_sent_to_a_coordinator_that_restarts_is_answered_however_large_and_much() {
    let mut network = network(1);
    let Some(mut script) = start("client", "queued", &network) else { return };
    script.says("STOP");
    network.coordinator.kill();
    script.goes_on();
    script.says("START");
    network.restart_coordinator();
    script.goes_on();
    script.passes();
}

#[test]
fn a_client_follows_its_container_in_wasm_by_the_update() {
    let mut network = network(2);
    let Some(mut script) = start("client", "follows", &network) else { return };
    let agent = script.line();
    let place = (0..2).find(|place| network.agent(*place) == agent).unwrap();
    network.agents[place].process.kill();
    script.goes_on();
    script.passes();
}

#[test]
fn a_slow_reader_gets_every_answer() {
    scenario("client", "slow");
}

#[test]
fn malformed_requests_are_answered_and_malformed_messages_are_dropped() {
    scenario("client", "malformed");
}

#[test]
fn a_bare_socket_sees_the_frames_of_the_original() {
    scenario("client", "bare");
}

#[test]
fn a_client_whose_socket_reconnects_is_the_same_client_and_is_asked_for_hello_at_once() {
    scenario("client", "reconnect");
}

#[test]
fn an_agent_of_the_original_serves_its_kinds() {
    scenario("agent", "serves");
}

#[test]
fn native_agents_and_those_of_the_original_take_turns_for_clients_of_both() {
    let network = network(1);
    let Some(mut script) = start("agent", "mixed", &network) else { return };
    script.says("READY");
    // Six more, for native clients: on both agents in turn, too.
    let connect = |container: &str| {
        let listener =
            Process::start(network.command(&["connect", container]).args(["--count", "2"]));
        listener.wait_for_error(&format!("connected to {container}"));
        listener
    };
    let _held: Vec<Process> = (0..6).map(|n| connect(&format!("echo/n-{n}"))).collect();
    let list = network.json(&["list", "echo"]);
    let agent = |uuid: &str| {
        let is_it = |record: &&Value| record["uuid"] == uuid;
        list.as_array().unwrap().iter().find(is_it).unwrap()["agent"].as_str().unwrap() == "agent-A"
    };
    let on: Vec<bool> = (0..6).map(|n| agent(&format!("n-{n}"))).collect();
    assert!(on.windows(2).all(|pair| pair[0] != pair[1]), "not in turn: {on:?}");
    // Those of the client of the original are asked and heard by native ones.
    for n in 0..6 {
        let container = format!("echo/m-{n}");
        let listener = connect(&container);
        assert_eq!(network.json(&["call", &container, "echo", "[7]"]).to_string(), "[7]");
        let event = format!(r#"{{"from":"native","n":{n}}}"#);
        let _heard = network.json(&["call", &container, "broadcast", &event]);
        let mut heard = listener.line();
        if heard == r#""welcome""# {
            heard = listener.line();
        }
        assert_eq!(heard, event, "{container}");
    }
    script.goes_on();
    script.passes();
}

#[test]
fn a_native_client_hears_a_container_on_an_agent_of_the_original() {
    let network = network(1);
    let Some(mut script) = start("agent", "heard", &network) else { return };
    script.says("READY");
    let mut listener = Process::start(network.command(&["connect", "ts/h"]).args(["--count", "4"]));
    listener.wait_for_error("connected to ts/h");
    let broadcast = |event: &str| network.json(&["call", "ts/h", "broadcast", event]);
    for event in [r#"{"evt":[1.5]}"#, "[null]"] {
        assert_eq!(broadcast(event), 1);
        assert_eq!(listener.line(), event);
    }
    // The agent's own server restarts.
    script.goes_on();
    script.says("RESTARTED");
    listener.wait_for_error("connected again");
    assert_eq!(broadcast(r#"["again"]"#), 1);
    assert_eq!(listener.line(), r#"["again"]"#);
    script.goes_on();
    script.says("LEFT");
    assert_eq!(broadcast("[4]"), 1);
    assert_eq!(listener.line(), "[4]");
    assert!(listener.wait().success());
    script.goes_on();
    script.passes();
}

#[test]
fn a_native_client_follows_what_it_hears_to_another_agent_of_the_original() {
    let network = network(1);
    let Some(mut script) = start("agent", "heardAfterLoss", &network) else { return };
    script.says("READY");
    let listener = Process::start(&mut network.command(&["connect", "ts/h"]));
    listener.wait_for_error("connected to ts/h");
    let broadcast = |event: &str| network.json(&["call", "ts/h", "broadcast", event]);
    assert_eq!(broadcast("[1]"), 1);
    assert_eq!(listener.line(), "[1]");
    script.goes_on();
    script.says("LOST");
    listener.wait_for_error("connected again");
    assert_eq!(broadcast("[2]"), 1);
    assert_eq!(listener.line(), "[2]");
    script.goes_on();
    script.passes();
}

#[test]
fn a_client_follows_its_container_to_another_agent() {
    scenario("agent", "loss");
}

#[test]
fn a_start_on_a_dead_agent_is_answered() {
    scenario("agent", "stuck");
}

#[test]
fn singletons_of_agents_of_the_original_fail_over() {
    scenario("agent", "singletons");
}

#[test]
fn containers_are_brought_back_after_a_restart_of_the_coordinator() {
    let mut network = network(1);
    let Some(mut script) = start("agent", "restart", &network) else { return };
    script.says("RESTART");
    network.restart_coordinator();
    script.goes_on();
    script.passes();
}

#[test]
fn a_native_client_asks_a_container_on_an_agent_of_the_original() {
    let network = network(1);
    let Some(mut script) = start("agent", "natively", &network) else { return };
    script.says("READY");
    let answer = network.json(&["call", "ts/n", "echo", r#"{"a":[1.5]}"#]);
    assert_eq!(answer.to_string(), r#"{"a":[1.5]}"#);
    script.goes_on();
    script.passes();
}
