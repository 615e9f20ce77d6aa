//! The known faults of the original network, which must not exist here. One is
//! not the registry's, which does not see reconnects of a connection: the tests
//! of the bus have `a_request_executed_twice_after_a_reconnect`.

use std::panic::catch_unwind;

use hulynet_mutants::{Mutant, switch};

use super::*;

fn running() -> (Network, Asked) {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.agent("b", &["echo"]);
    network.join("c");
    let asked = network.run("c", "x");
    (network, asked)
}

#[test]
fn fault_a_get_by_uuid_returns_another_container_which_is_just_starting() {
    let (mut network, _) = running();
    network.get("c", by_uuid("starting"));
    let other = network.get("c", by_uuid("wanted"));
    let first = network.asked.remove(0);
    network.started(&first, Ok(()));
    assert!(network.waits(other));
    network.placed();
    assert_eq!(network.record(other).id, echo("wanted"));
}

#[test]
fn fault_a_uuid_is_found_under_another_kind() {
    let (mut network, _) = running();
    let token = network.ask("c", Call::Get { kind: kind("session"), options: by_uuid("x") });
    assert_eq!(network.error(token).kind, ErrorKind::InvalidArguments);
}

#[test]
fn fault_labels_are_never_matched_against_running_containers() {
    let (mut network, _) = running();
    let first = network.get("c", by_labels(&[("region", "eu")]));
    network.placed();
    let second = network.get("c", by_labels(&[("region", "eu")]));
    assert_eq!(network.record(first).id, network.record(second).id);
}

#[test]
fn fault_a_failed_start_poisons_later_ones() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.started(&asked, Err(failure(Retry::Final)));
    assert!(network.answer(token).is_err());
    network.run("c", "x");
}

#[test]
fn fault_records_and_events_have_empty_endpoints() {
    let mut network = Network::new();
    network.join("w");
    network.ask("w", Call::Watch);
    network.agent("a", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    network.placed();
    assert_eq!(network.record(token).endpoint.agent, agent("a"));
    assert_eq!(network.list("c")[0].endpoint.address.as_deref(), Some("a:3738"));
    network.advance(SECOND);
    let told = network.events.iter().flat_map(|(_, events)| events).find_map(|event| match &event
        .change
    {
        hulynet_protocol::Change::ContainerAdded(record) => record.endpoint.address.clone(),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some("a:3738"));
}

#[test]
fn fault_references_are_stranded_when_an_agent_dies() {
    let (mut network, before) = running();
    network.leave("a");
    assert_eq!(network.placed(), agent("b"));
    assert_eq!(network.holders("x"), 1);
    assert!(network.list("c")[0].epoch > before.epoch);
}

#[test]
fn fault_requests_hang_forever_on_a_dead_agent() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    let ending = network.terminate("c", "x", false);
    network.take_asked();
    let starting = network.get("c", by_uuid("y"));
    network.leave("a");
    assert_eq!(*network.answer(ending), Ok(Reply::Terminated(true)));
    assert_eq!(network.error(starting).retry, Retry::NotProcessed);
    let target = Target { id: echo("y"), epoch: None };
    assert_eq!(network.registry.route(&target).unwrap_err().retry, Retry::NotProcessed);
}

#[test]
fn fault_containers_are_forgotten_on_re_registration() {
    let (mut network, asked) = running();
    let brought = Activation { epoch: asked.epoch, ..activation("x", 0, 0) };
    network.register("a", &["echo"], vec![brought]);
    assert_eq!((network.list("c").len(), network.holders("x")), (1, 1));
}

#[test]
fn fault_containers_without_holders_live_forever_after_a_restart() {
    let mut network = Network::young();
    network.join("a");
    network.register("a", &["echo"], vec![activation("x", 3, 5)]);
    network.advance(8 * SECOND);
    let asked = network.take_asked();
    assert!(!asked.start);
    network.terminated(&asked, Ok(true));
    assert!(!network.exists("x"));
}

#[test]
fn fault_subscribers_leak_when_a_client_vanishes() {
    let (mut network, _) = running();
    network.join("w");
    network.ask("w", Call::Watch);
    network.alive.remove(&client("w"));
    network.advance(3 * SECOND);
    assert_eq!(network.registry.events.watchers().count(), 0);
}

#[test]
fn fault_removed_and_added_are_merged_into_removed() {
    let (mut network, asked) = running();
    network.ask("c", Call::Watch);
    network.release("c", "x");
    network.ended(&asked);
    network.run("c", "x");
    assert_eq!(network.take_changes(), ["4 removed x", "5 added x b"]);
}

#[test]
fn fault_a_kind_is_listed_twice() {
    let (mut network, _) = running();
    network.agent("d", &["echo", "echo", "session"]);
    let token = network.ask("c", Call::Kinds);
    assert_eq!(*network.answer(token), Ok(Reply::Kinds(vec![kind("echo"), kind("session")])));
}

#[test]
fn fault_a_client_is_declared_dead_after_a_mere_reconnect_of_its_socket() {
    let (mut network, _) = running();
    network.advance(2 * SECOND);
    network.step(Input::ClientJoined {
        client: client("c"),
        alive_timeout: 3 * SECOND,
        resumed: true,
    });
    network.advance(2 * SECOND);
    assert_eq!((network.holders("x"), network.forgotten.len()), (1, 0));
}

#[test]
fn each_of_these_tests_fails_when_its_fault_is_put_back() {
    let tests: [(Mutant, fn()); 13] = [
        (
            Mutant::AnyThatStarts,
            fault_a_get_by_uuid_returns_another_container_which_is_just_starting,
        ),
        (Mutant::AnyKind, fault_a_uuid_is_found_under_another_kind),
        (Mutant::UnmatchedLabels, fault_labels_are_never_matched_against_running_containers),
        (Mutant::PoisonedStart, fault_a_failed_start_poisons_later_ones),
        (Mutant::EmptyEndpoint, fault_records_and_events_have_empty_endpoints),
        (Mutant::StrandedReferences, fault_references_are_stranded_when_an_agent_dies),
        (Mutant::HangingRequests, fault_requests_hang_forever_on_a_dead_agent),
        (Mutant::ForgottenOnRegistration, fault_containers_are_forgotten_on_re_registration),
        (Mutant::ImmortalContainers, fault_containers_without_holders_live_forever_after_a_restart),
        (Mutant::LeakedWatchers, fault_subscribers_leak_when_a_client_vanishes),
        (Mutant::MergedEvents, fault_removed_and_added_are_merged_into_removed),
        (Mutant::DuplicateKinds, fault_a_kind_is_listed_twice),
        (
            Mutant::DeadAfterReconnect,
            fault_a_client_is_declared_dead_after_a_mere_reconnect_of_its_socket,
        ),
    ];
    for (fault, test) in tests {
        switch(Some(fault));
        let failed = catch_unwind(test).is_err();
        switch(None);
        assert!(failed, "{fault:?} goes unnoticed");
    }
}
