//! Unmodified peers of the original network in a hulynet network.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use compatibility::Script;
use end_to_end::Network;

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
fn native_agents_and_those_of_the_original_take_turns() {
    scenario("agent", "mixed");
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
