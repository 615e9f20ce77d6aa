//! Activations that were given up and may run after all.

use super::*;

/// "x" was given up on "a", and "a" was asked to end it.
fn given_up() -> (Network, Asked) {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.started(&asked, Err(failure(Retry::MaybeProcessed)));
    let end = network.take_asked();
    assert!(end.force);
    (network, end)
}

#[test]
fn a_stray_is_asked_to_end_until_its_agent_says_so() {
    let (mut network, end) = given_up();
    let lost = NetworkError::maybe_processed(ErrorKind::Unavailable, "connection lost");
    network.terminated(&end, Err(lost));
    network.advance(SECOND);
    assert_eq!(network.take_asked(), end);
    network.advance(10 * SECOND);
    assert_eq!(network.take_asked(), end, "no answer is no end either");
    network.terminated(&end, Ok(true));
    network.advance(30 * SECOND);
    assert_eq!(network.asked, []);
}

#[test]
fn a_stray_that_its_agent_reports_as_ended_has_ended() {
    let (mut network, end) = given_up();
    network.ended(&end);
    network.advance(30 * SECOND);
    assert_eq!(network.asked, []);
}

#[test]
fn a_stray_goes_with_its_agent() {
    let (mut network, _) = given_up();
    network.leave("a");
    network.advance(30 * SECOND);
    assert_eq!(network.asked, []);
}
