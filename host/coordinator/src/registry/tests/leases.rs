//! Peers that fall silent, leave, or come back.

use super::*;

#[test]
fn references_of_a_dead_client_are_released() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.alive.remove(&client("c"));
    network.advance(3 * SECOND);
    assert_eq!(network.forgotten, [client("c")]);
    assert_eq!(network.holders("x"), 0);
    network.advance(5 * SECOND);
    assert!(!network.take_asked().start);
}

#[test]
fn a_client_that_pings_keeps_its_references() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.advance(60 * SECOND);
    assert_eq!(network.holders("x"), 1);
    assert_eq!(network.forgotten, []);
}

#[test]
fn a_request_renews_the_lease_like_a_ping() {
    let mut network = Network::new();
    network.join("c");
    network.alive.clear();
    for _ in 0..4 {
        network.advance(2 * SECOND);
        network.ask("c", Call::Kinds);
    }
    assert_eq!(network.forgotten, []);
}

#[test]
fn a_client_that_reconnects_its_socket_is_not_dead() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.advance(2 * SECOND);
    let again =
        Input::ClientJoined { client: client("c"), alive_timeout: 3 * SECOND, resumed: true };
    network.step(again);
    network.advance(2 * SECOND);
    assert_eq!(network.holders("x"), 1);
}

#[test]
fn a_client_that_believes_to_be_known_is_asked_to_introduce_itself() {
    let mut network = Network::new();
    let joined =
        Input::ClientJoined { client: client("c"), alive_timeout: 3 * SECOND, resumed: true };
    network.step(joined);
    assert_eq!(network.forgotten, [client("c")]);
    let token = network.ask("c", Call::Kinds);
    let error = network.error(token);
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
}

#[test]
fn a_lease_is_neither_endless_nor_nothing() {
    let mut network = Network::new();
    let joined = |name: &str, alive_timeout| Input::ClientJoined {
        client: client(name),
        alive_timeout,
        resumed: false,
    };
    network.step(joined("forever", Duration::MAX));
    network.step(joined("never", Duration::ZERO));
    assert_eq!(network.forgotten, []);
    network.advance(SECOND);
    assert_eq!(network.forgotten, [client("never")]);
    network.advance(60 * SECOND);
    assert_eq!(network.forgotten, [client("never"), client("forever")]);
}

#[test]
fn a_lost_agent_moves_referenced_containers() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let extra = GetOptions { labels: labels(&[("k", "v")]), extra: vec![1, 2], ..by_uuid("x") };
    network.get("c", extra);
    let first = network.take_asked();
    network.started(&first, Ok(()));
    network.run("c", "unused");
    network.release("c", "unused");
    network.agent("b", &["echo"]);
    network.alive.remove(&client("a"));
    network.advance(3 * SECOND);

    let moved = network.take_asked();
    assert_eq!((moved.agent.clone(), moved.id.clone()), (agent("b"), echo("x")));
    assert!(moved.epoch > first.epoch);
    let start = network.last_start.clone().unwrap();
    assert_eq!((start.labels, start.extra), (labels(&[("k", "v")]), vec![1, 2]));
    network.started(&moved, Ok(()));
    assert_eq!(network.holders("x"), 1);
    assert!(!network.exists("unused"));
}

#[test]
fn a_referenced_container_waits_for_an_agent_that_serves_its_kind() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.leave("a");
    assert_eq!(network.asked, []);
    assert_eq!(network.list("c"), []);
    network.agent("b", &["echo"]);
    let restart = network.take_asked();
    network.started(&restart, Ok(()));
    assert_eq!(network.list("c")[0].endpoint.agent, agent("b"));
}

#[test]
fn a_container_that_waits_for_an_agent_is_forgotten_with_its_last_holder() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.leave("a");
    assert!(network.exists("x"));
    network.leave("c");
    assert!(!network.exists("x"));
}

#[test]
fn the_shared_container_of_a_lost_agent_is_not_shared_any_more() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.get("c", GetOptions::default());
    let first = network.take_asked();
    network.started(&first, Ok(()));
    network.agent("b", &["echo"]);
    network.leave("a");
    let moved = network.take_asked();
    network.started(&moved, Ok(()));
    network.get("c", GetOptions::default());
    assert_ne!(network.take_asked().id, first.id);
}

#[test]
fn a_peer_may_be_client_and_agent_at_once() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.run("a", "x");
    network.leave("a");
    assert!(!network.exists("x"));
}

#[test]
fn nothing_of_a_lost_agent_survives_in_any_index() {
    let mut network = Network::new();
    network.agent_as("lost", |registration| {
        registration.offers = vec![echo("single")];
        registration.labels = labels(&[("host", "lost")]);
    });
    network.placed();
    network.join("c");
    network.get("c", GetOptions::default());
    network.placed();
    network.run("c", "held");
    network.run("c", "ending");
    network.terminate("c", "ending", false);
    network.take_asked();
    network.get("c", by_uuid("failing"));
    let failing = network.take_asked();
    network.started(&failing, Err(failure(Retry::MaybeProcessed)));
    assert!(!network.take_asked().start, "a stray");
    network.get("c", by_uuid("starting"));
    network.take_asked();
    let indexed = |network: &Network| {
        let Registry { agents, offers, strays, containers, waiters, timers, clients, .. } =
            &network.registry;
        let failing: Vec<&AgentId> = network.registry.failing.agents().collect();
        [
            format!("{agents:?}"),
            format!("{offers:?}"),
            format!("{strays:?}"),
            format!("{containers:?}"),
            format!("{failing:?}"),
            format!("{waiters:?} {timers:?} {clients:?}"),
        ]
        .map(|index| index.contains("lost"))
    };
    assert_eq!(indexed(&network), [true; 6], "it is in all of them");
    network.agent("other", &["echo"]);
    network.leave("lost");
    assert_eq!(indexed(&network), [false; 6]);
}
