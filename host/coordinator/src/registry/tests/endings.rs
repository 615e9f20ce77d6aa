//! Unused containers, explicit ends, and ends by themselves.

use super::*;

fn unused() -> (Network, Asked) {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.release("c", "x");
    network.advance(5 * SECOND);
    let asked = network.take_asked();
    assert_eq!((asked.start, asked.force), (false, false));
    (network, asked)
}

#[test]
fn an_unused_container_is_asked_to_end_after_the_unused_timeout() {
    let (mut network, asked) = unused();
    network.terminated(&asked, Ok(true));
    assert!(!network.exists("x"));
}

#[test]
fn a_container_that_is_taken_again_in_time_is_not_asked() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.release("c", "x");
    network.advance(4 * SECOND);
    network.get("c", by_uuid("x"));
    network.advance(20 * SECOND);
    assert_eq!(network.asked, []);
}

#[test]
fn a_container_that_answers_not_yet_is_asked_again() {
    let (mut network, asked) = unused();
    for _ in 0..3 {
        network.terminated(&asked, Ok(false));
        assert_eq!(network.asked, []);
        network.advance(SECOND);
        assert_eq!(network.take_asked(), asked);
    }
}

#[test]
fn after_the_drain_deadline_a_container_is_forced() {
    let (mut network, asked) = unused();
    for _ in 0..29 {
        network.terminated(&asked, Ok(false));
        network.advance(SECOND);
        assert!(!network.take_asked().force);
    }
    network.terminated(&asked, Ok(false));
    network.advance(SECOND);
    let forced = network.take_asked();
    assert!(forced.force);
    network.terminated(&forced, Ok(true));
    assert!(!network.exists("x"));
}

#[test]
fn a_get_between_two_questions_restores_the_container_at_once() {
    let (mut network, asked) = unused();
    network.terminated(&asked, Ok(false));
    let token = network.get("c", by_uuid("x"));
    assert_eq!(network.record(token).epoch, asked.epoch);
    network.advance(20 * SECOND);
    assert_eq!(network.asked, []);
}

#[test]
fn a_get_during_a_question_waits_for_the_answer() {
    let (mut network, asked) = unused();
    let token = network.get("c", by_uuid("x"));
    assert!(network.waits(token));
    network.terminated(&asked, Ok(false));
    assert_eq!(network.record(token).epoch, asked.epoch);
}

#[test]
fn a_get_of_a_container_that_just_ended_starts_it_anew() {
    let (mut network, asked) = unused();
    let token = network.get("c", by_uuid("x"));
    network.terminated(&asked, Ok(true));
    let restart = network.take_asked();
    network.started(&restart, Ok(()));
    assert!(network.record(token).epoch > asked.epoch);
    assert_eq!(network.holders("x"), 1);
}

#[test]
fn a_question_that_is_not_answered_is_asked_again() {
    let (mut network, asked) = unused();
    network.advance(10 * SECOND);
    assert_eq!(network.take_asked(), asked);
    let lost = NetworkError::maybe_processed(ErrorKind::Unavailable, "connection lost");
    network.terminated(&asked, Err(lost));
    let token = network.get("c", by_uuid("x"));
    assert!(network.waits(token), "nobody gets a container that may be gone");
    network.advance(SECOND);
    assert_eq!(network.take_asked(), asked);
    let gone = NetworkError::not_processed(ErrorKind::UnknownContainer, "no such container");
    network.terminated(&asked, Err(gone));
    assert!(network.take_asked().start);
}

#[test]
fn an_end_is_told_once_it_happened_and_before_the_start_that_follows_it() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.ask("c", Call::Watch);
    network.release("c", "x");
    network.advance(5 * SECOND);
    let asked = network.take_asked();
    network.terminated(&asked, Ok(false));
    network.advance(SECOND);
    let asked = network.take_asked();
    assert!(network.take_changes().is_empty(), "it may yet answer that it goes on");
    network.terminated(&asked, Ok(true));
    network.run("c", "x");
    assert_eq!(network.take_changes(), ["3 removed x", "4 added x a"]);
}

#[test]
fn a_container_that_ends_while_a_get_waits_is_told_as_the_next_activation() {
    let (mut network, asked) = unused();
    network.ask("c", Call::Watch);
    let waiting = network.get("c", by_uuid("x"));
    network.terminated(&asked, Ok(true));
    assert!(network.waits(waiting) && network.take_changes().is_empty());
    network.placed();
    assert_eq!(network.take_changes(), ["3 updated x a"]);
}

#[test]
fn an_explicit_end_takes_the_references_away() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.join("d");
    network.run("c", "x");
    let token = network.terminate("d", "x", false);
    let asked = network.take_asked();
    network.terminated(&asked, Ok(true));
    assert_eq!(*network.answer(token), Ok(Reply::Terminated(true)));
    assert!(!network.exists("x"));
}

#[test]
fn an_explicit_end_may_be_answered_not_yet() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    let token = network.terminate("c", "x", false);
    let asked = network.take_asked();
    network.terminated(&asked, Ok(false));
    assert_eq!(*network.answer(token), Ok(Reply::Terminated(false)));
    assert_eq!(network.holders("x"), 1);
    network.advance(20 * SECOND);
    assert_eq!(network.asked, [], "it is held and goes on");
}

#[test]
fn a_forced_end_overtakes_a_polite_one() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    let polite = network.terminate("c", "x", false);
    let first = network.take_asked();
    let forced = network.terminate("c", "x", true);
    let second = network.take_asked();
    assert!(second.force);
    network.terminated(&first, Ok(false));
    assert_eq!(*network.answer(polite), Ok(Reply::Terminated(false)));
    assert!(network.waits(forced));
    network.terminated(&second, Ok(true));
    assert_eq!(*network.answer(forced), Ok(Reply::Terminated(true)));
}

#[test]
fn an_end_of_a_starting_container_waits_for_its_start() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let got = network.get("c", by_uuid("x"));
    let start = network.take_asked();
    let token = network.terminate("c", "x", true);
    network.started(&start, Ok(()));
    assert_eq!(network.record(got).epoch, start.epoch);
    let asked = network.take_asked();
    network.terminated(&asked, Ok(true));
    assert_eq!(*network.answer(token), Ok(Reply::Terminated(true)));
}

#[test]
fn an_end_names_a_live_activation() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let token = network.terminate("c", "x", true);
    let error = network.error(token);
    assert_eq!((error.kind, error.retry), (ErrorKind::UnknownContainer, Retry::Final));
    assert!(error.message.contains("'hulynet list' shows those that are"), "{error}");
    network.run("c", "x");
    let target = Target { id: echo("x"), epoch: Some(Epoch { term: 1, counter: 1 }) };
    let token = network.ask("c", Call::Terminate { target, force: true });
    assert_eq!(network.error(token).kind, ErrorKind::StaleEpoch);
    assert_eq!(network.asked, []);
}

#[test]
fn an_end_on_a_lost_agent_is_an_end() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.agent("b", &["echo"]);
    network.join("c");
    network.run("c", "x");
    let token = network.terminate("c", "x", false);
    network.take_asked();
    network.leave("a");
    assert_eq!(*network.answer(token), Ok(Reply::Terminated(true)));
    assert_eq!(network.asked, []);
    assert!(!network.exists("x"));
}

#[test]
fn a_container_that_ends_by_itself_is_removed_when_nobody_holds_it() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let asked = network.run("c", "x");
    network.release("c", "x");
    network.ended(&asked);
    assert!(!network.exists("x"));
}

#[test]
fn a_referenced_container_that_ends_by_itself_is_started_again() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let asked = network.run("c", "x");
    network.advance(SECOND);
    network.ended(&asked);
    let restart = network.take_asked();
    assert!(restart.start && restart.epoch > asked.epoch);
}

#[test]
fn the_end_of_an_earlier_activation_changes_nothing() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let asked = network.run("c", "x");
    let earlier = Asked { epoch: Epoch { term: 7, counter: 0 }, ..asked };
    network.ended(&earlier);
    network.terminated(&earlier, Ok(true));
    network.started(&earlier, Err(failure(Retry::Final)));
    assert_eq!(network.list("c").len(), 1);
    assert_eq!(network.asked, []);
}

#[test]
fn only_the_agent_itself_reports_its_containers() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let asked = network.run("c", "x");
    let containers = vec![(asked.id, asked.epoch)];
    let token =
        network.ask("c", Call::Ended { agent: agent("a"), containers, load: Load::default() });
    assert_eq!(network.error(token).kind, ErrorKind::PermissionDenied);
    assert!(network.exists("x"));
}
