//! Agents that register, come back, disagree, and leave.

use super::*;

#[test]
fn a_registration_is_answered_with_the_lease() {
    let mut network = Network::new();
    network.join("a");
    assert_eq!(network.register("a", &["echo"], vec![]).lease_ms, 3000);
}

#[test]
fn a_registration_with_a_bad_field_is_refused_by_name() {
    let mut network = Network::new();
    network.join("a");
    let mut refused = |change: fn(&mut Registration)| {
        let Call::Register(mut sent) = registration("a", &["echo"], vec![]) else { panic!() };
        change(&mut sent);
        let token = network.ask("a", Call::Register(sent));
        assert_eq!(network.error(token).retry, Retry::Final);
        network.error(token).message.clone()
    };
    assert!(refused(|r| r.endpoint.address = Some(String::new())).contains("the address of"));
    assert!(refused(|r| r.labels = labels(&[("", "x")])).contains("a label of the agent a"));
    let twice = refused(|r| r.containers = vec![activation("x", 1, 1), activation("x", 1, 2)]);
    assert!(twice.contains("lists the container echo/x twice"));
    assert!(network.registry.agents.get(&agent("a")).is_none());
}

#[test]
fn a_re_registration_keeps_containers_and_references() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let asked = network.run("c", "x");
    let brought = Activation { epoch: asked.epoch, ..activation("x", 0, 0) };
    assert_eq!(network.register("a", &["echo", "more"], vec![brought]).terminate, []);
    assert_eq!(network.holders("x"), 1);
    assert_eq!(network.list("c")[0].epoch, asked.epoch);
    assert_eq!(network.asked, []);
}

#[test]
fn a_re_registration_over_a_new_session_takes_the_agent_along() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let asked = network.run("c", "x");
    network.join("a-again");
    let brought = Activation { epoch: asked.epoch, ..activation("x", 0, 0) };
    network.ask("a-again", registration("a", &["echo"], vec![brought]));
    network.leave("a");
    assert_eq!(network.holders("x"), 1);
    assert_eq!(network.list("c")[0].epoch, asked.epoch);
}

#[test]
fn what_an_agent_does_not_bring_back_has_ended() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "held");
    network.run("c", "free");
    network.release("c", "free");
    network.advance(SECOND);
    network.register("a", &["echo"], vec![]);
    assert_eq!(network.take_asked().id, echo("held"));
    assert!(!network.exists("free"));
}

#[test]
fn a_start_on_its_way_survives_a_re_registration() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.register("a", &["echo"], vec![]);
    assert_eq!(network.asked, []);
    network.started(&asked, Ok(()));
    assert_eq!(network.record(token).epoch, asked.epoch);
}

#[test]
fn a_registration_may_bring_the_news_of_a_start() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    let brought = Activation { epoch: asked.epoch, ..activation("x", 0, 0) };
    network.register("a", &["echo"], vec![brought]);
    assert_eq!(network.record(token).epoch, asked.epoch);
    let lost = NetworkError::maybe_processed(ErrorKind::Unavailable, "connection lost");
    network.started(&asked, Err(lost));
    assert_eq!(network.holders("x"), 1);
}

#[test]
fn a_container_that_lives_elsewhere_must_end() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let old = network.run("c", "x");
    network.agent("b", &["echo"]);
    network.leave("a");
    let new = network.take_asked();
    network.started(&new, Ok(()));

    network.join("a");
    let brought = Activation { epoch: old.epoch, ..activation("x", 0, 0) };
    let registered = network.register("a", &["echo"], vec![brought]);
    assert_eq!(registered.terminate, [(echo("x"), old.epoch)]);
    assert_eq!(network.list("c")[0].endpoint.agent, agent("b"));
}

#[test]
fn of_two_agents_that_bring_one_uuid_the_higher_epoch_wins() {
    let mut network = Network::young();
    network.join("a");
    network.join("b");
    network.join("d");
    assert_eq!(network.register("a", &["echo"], vec![activation("x", 3, 5)]).terminate, []);
    assert_eq!(network.register("b", &["echo"], vec![activation("x", 4, 1)]).terminate, []);
    let end = network.take_asked();
    assert_eq!(
        (end.agent, end.epoch, end.force),
        (agent("a"), Epoch { term: 3, counter: 5 }, true)
    );
    let registered = network.register("d", &["echo"], vec![activation("x", 3, 9)]);
    assert_eq!(registered.terminate.len(), 1);
    assert_eq!(network.list("d")[0].endpoint.agent, agent("b"));
}

#[test]
fn two_agents_cannot_both_keep_one_epoch() {
    let mut network = Network::young();
    network.join("a");
    network.join("b");
    network.register("a", &["echo"], vec![activation("x", 3, 5)]);
    assert_eq!(network.register("b", &["echo"], vec![activation("x", 3, 5)]).terminate.len(), 1);
}

#[test]
fn an_uuid_that_is_brought_under_another_kind_must_end() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.join("b");
    let other = ContainerId { kind: kind("session"), ..echo("x") };
    let brought = Activation { id: other.clone(), ..activation("x", 99, 1) };
    let registered = network.register("b", &["session"], vec![brought]);
    assert_eq!(registered.terminate, [(other, Epoch { term: 99, counter: 1 })]);
}

#[test]
fn epochs_go_on_after_those_of_a_coordinator_with_a_faster_clock() {
    let mut network = Network::young();
    network.join("a");
    network.register("a", &["echo"], vec![activation("x", 9, 4)]);
    network.join("c");
    network.advance(3 * SECOND);
    assert_eq!(network.run("c", "y").epoch, Epoch { term: 9, counter: 5 });
}

#[test]
fn a_claimed_container_waits_for_its_agent_to_bring_it_back() {
    let mut network = Network::young();
    network.agent("b", &["echo"]);
    network.join("c");
    let claimed = network.reclaim("c", "x");
    let asked_too = network.get("c", by_uuid("x"));
    network.advance(2 * SECOND);
    assert!(network.waits(claimed) && network.waits(asked_too));
    assert_eq!(network.asked, []);
    network.join("a");
    network.register("a", &["echo"], vec![activation("x", 3, 5)]);
    for token in [claimed, asked_too] {
        assert_eq!(network.record(token).epoch, Epoch { term: 3, counter: 5 });
    }
    network.advance(20 * SECOND);
    assert_eq!(network.asked, []);
}

#[test]
fn a_claimed_container_that_nobody_brings_is_started_after_the_window() {
    let mut network = Network::young();
    network.agent("b", &["echo"]);
    network.join("c");
    let claimed = network.reclaim("c", "x");
    network.advance(3 * SECOND);
    let asked = network.take_asked();
    network.started(&asked, Ok(()));
    assert_eq!(network.record(claimed).endpoint.agent, agent("b"));
}

#[test]
fn a_claim_after_the_window_starts_the_container_with_its_labels() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let options = GetOptions { extra: vec![7], ..by_labels(&[("k", "v")]) };
    let token = network.ask("c", Call::Reclaim { id: echo("x"), epoch: Epoch::default(), options });
    let asked = network.take_asked();
    let start = network.last_start.clone().unwrap();
    assert_eq!((start.labels, start.extra), (labels(&[("k", "v")]), vec![7]));
    network.started(&asked, Ok(()));
    assert_eq!(network.record(token).id, echo("x"));
}

#[test]
fn a_claim_that_is_given_up_leaves_nothing() {
    let mut network = Network::young();
    network.join("c");
    network.reclaim("c", "x");
    network.leave("c");
    assert!(!network.exists("x"));
}

#[test]
fn a_container_that_nobody_claims_after_a_restart_becomes_unused() {
    let mut network = Network::young();
    network.join("a");
    network.register("a", &["echo"], vec![activation("x", 3, 5)]);
    network.advance(7 * SECOND);
    assert_eq!(network.asked, []);
    network.advance(SECOND);
    let asked = network.take_asked();
    network.terminated(&asked, Ok(true));
    assert!(!network.exists("x"));
}

#[test]
fn an_agent_that_unregisters_leaves_nothing_behind() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.agent("b", &["echo"]);
    network.join("c");
    network.run("c", "x");
    let token = network.ask("c", Call::Unregister(agent("a")));
    assert_eq!(network.error(token).kind, ErrorKind::PermissionDenied);
    for _ in 0..2 {
        let token = network.ask("a", Call::Unregister(agent("a")));
        assert_eq!(*network.answer(token), Ok(Reply::Done));
    }
    assert_eq!(network.take_asked().agent, agent("b"));
}

#[test]
fn a_named_container_is_not_started_while_its_agent_may_come_back() {
    let mut network = Network::young();
    network.agent("b", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    network.advance(2 * SECOND);
    assert!(network.waits(token));
    assert_eq!(network.asked, []);
    network.join("a");
    network.register("a", &["echo"], vec![activation("x", 3, 5)]);
    assert_eq!(network.record(token).endpoint.agent, agent("a"));
}

#[test]
fn a_container_that_nobody_named_does_not_wait_for_the_recovery_window() {
    let mut network = Network::young();
    network.agent("b", &["echo"]);
    network.join("c");
    for options in [GetOptions::default(), by_labels(&[("k", "v")])] {
        network.get("c", options);
        network.placed();
    }
}

#[test]
fn an_agent_that_comes_back_late_brings_nothing_back_to_life() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let old = network.run("c", "x");
    network.agent("b", &["echo"]);
    network.leave("a");
    let new = network.take_asked();
    network.started(&new, Ok(()));
    network.release("c", "x");
    network.ended(&new);
    assert!(!network.exists("x"));
    network.join("a");
    let brought = Activation { epoch: old.epoch, ..activation("x", 0, 0) };
    let registered = network.register("a", &["echo"], vec![brought]);
    assert_eq!(registered.terminate, [(echo("x"), old.epoch)]);
    assert!(network.run("c", "x").epoch > new.epoch);
}

#[test]
fn epochs_do_not_go_back_within_the_recovery_window() {
    let mut network = Network::young();
    network.join("a");
    network.join("b");
    network.register("a", &["echo"], vec![activation("x", 3, 5)]);
    network.ended(&Asked {
        agent: agent("a"),
        id: echo("x"),
        epoch: Epoch { term: 3, counter: 5 },
        force: false,
        start: false,
    });
    let registered = network.register("b", &["echo"], vec![activation("x", 3, 4)]);
    assert_eq!(registered.terminate.len(), 1);
    assert_eq!(network.register("b", &["echo"], vec![activation("y", 3, 4)]).terminate, []);
}
