//! Starts that are shared, fail, are late, or lose their agent.

use super::*;

#[test]
fn concurrent_gets_of_one_uuid_share_one_start() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.join("d");
    let tokens = ["c", "d", "c"].map(|name| network.get(name, by_uuid("x")));
    let asked = network.take_asked();
    network.started(&asked, Ok(()));
    for token in tokens {
        assert_eq!(network.record(token).epoch, asked.epoch);
    }
    assert_eq!(network.holders("x"), 2);
}

#[test]
fn a_failed_start_is_told_to_everybody_who_waits() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.join("d");
    let tokens = ["c", "d"].map(|name| network.get(name, by_uuid("x")));
    let asked = network.take_asked();
    network.started(&asked, Err(failure(Retry::Final)));
    for token in tokens {
        let error = network.error(token);
        assert_eq!((error.kind, error.retry), (ErrorKind::StartFailed, Retry::Final));
        assert_eq!(
            error.message,
            "the container echo/x could not be started on the agent a: start trapped"
        );
    }
    assert!(!network.exists("x"));
}

#[test]
fn a_failed_start_does_not_poison_the_next_get() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.started(&asked, Err(failure(Retry::Final)));
    let again = network.run("c", "x");
    assert!(again.epoch > asked.epoch);
}

#[test]
fn a_failed_start_does_not_poison_the_shared_container() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.get("c", GetOptions::default());
    let asked = network.take_asked();
    network.started(&asked, Err(failure(Retry::Final)));
    let token = network.get("c", GetOptions::default());
    let asked = network.take_asked();
    network.started(&asked, Ok(()));
    assert_eq!(network.record(token).id, echo("made-2"));
}

#[test]
fn a_start_that_is_not_answered_fails_and_is_ended_should_it_succeed() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.advance(30 * SECOND);
    assert_eq!(network.error(token).kind, ErrorKind::StartFailed);
    assert_eq!(network.error(token).retry, Retry::NotProcessed);
    let end = network.take_asked();
    assert_eq!((end.epoch, end.force, end.start), (asked.epoch, true, false));
    // The late success is answered with an end, too.
    network.started(&asked, Ok(()));
    assert_eq!(network.take_asked(), end);
    assert!(!network.exists("x"));
}

#[test]
fn a_start_whose_outcome_is_unknown_is_ended_and_may_be_repeated() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.started(&asked, Err(failure(Retry::MaybeProcessed)));
    assert_eq!(network.error(token).retry, Retry::NotProcessed);
    assert!(network.take_asked().force);
}

#[test]
fn a_pending_start_on_a_lost_agent_moves_to_another_one() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.agent("b", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    let first = network.take_asked();
    network.leave("a");
    let second = network.take_asked();
    assert_eq!((second.agent.clone(), second.epoch > first.epoch), (agent("b"), true));
    network.started(&second, Ok(()));
    assert_eq!(network.record(token).endpoint.agent, agent("b"));
}

#[test]
fn a_pending_start_on_the_last_agent_fails_as_not_processed() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    network.leave("a");
    assert_eq!(network.error(token).retry, Retry::NotProcessed);
    assert!(!network.exists("x"));
}

#[test]
fn a_start_that_everybody_gave_up_becomes_unused() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.step(Input::Cancelled(token));
    network.started(&asked, Ok(()));
    assert!(network.waits(token));
    assert_eq!(network.holders("x"), 0);
    network.advance(5 * SECOND);
    assert!(!network.take_asked().start);
}

#[test]
fn a_client_that_dies_while_it_waits_holds_nothing() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.leave("c");
    network.started(&asked, Ok(()));
    assert_eq!(network.holders("x"), 0);
}

#[test]
fn a_container_that_ends_while_it_starts_is_a_failed_start() {
    for (answer, cause) in
        [(Ok(()), "ended while it was started"), (Err(failure(Retry::Final)), "start trapped")]
    {
        let mut network = Network::new();
        network.agent("a", &["echo"]);
        network.join("c");
        let token = network.get("c", by_uuid("x"));
        let asked = network.take_asked();
        network.ended(&asked);
        assert!(network.waits(token), "the answer to the order tells the cause");
        network.started(&asked, answer);
        assert_eq!(network.error(token).kind, ErrorKind::StartFailed);
        assert!(network.error(token).message.contains(cause));
        assert!(!network.exists("x"));
    }
}

#[test]
fn a_referenced_container_that_fails_to_restart_is_tried_again_ever_later() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let asked = network.run("c", "x");
    network.advance(2 * SECOND);
    network.ended(&asked);
    for delay in [1, 2, 4] {
        let restart = network.take_asked();
        network.started(&restart, Err(failure(Retry::Final)));
        network.advance(delay * SECOND - SECOND / 2);
        assert_eq!(network.asked, []);
        network.advance(SECOND / 2);
    }
    let restart = network.take_asked();
    network.started(&restart, Ok(()));
    assert_eq!(network.holders("x"), 1);
}

#[test]
fn a_get_does_not_wait_for_the_delay_of_a_restart() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let asked = network.run("c", "x");
    network.ended(&asked);
    assert_eq!(network.asked, [], "it ended at once and is not hammered");
    let token = network.get("c", by_uuid("x"));
    let restart = network.take_asked();
    network.started(&restart, Ok(()));
    assert!(network.record(token).epoch > asked.epoch);
}
