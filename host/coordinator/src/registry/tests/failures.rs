//! Starts that are refused, and agents that are spared after failures.

use super::*;

fn two_agents() -> Network {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.agent("b", &["echo"]);
    network.join("c");
    network
}

/// Has one start of a container fail on the only agent.
fn fail(network: &mut Network, uuid: &str) {
    fail_for(network, by_uuid(uuid));
}

fn fail_for(network: &mut Network, options: GetOptions) {
    let token = network.get("c", options);
    let asked = network.take_asked();
    network.started(&asked, Err(failure(Retry::NotProcessed)));
    assert_eq!(network.error(token).kind, ErrorKind::StartFailed);
}

#[test]
fn a_refused_start_tries_the_next_agent() {
    let mut network = two_agents();
    let token = network.get("c", by_uuid("x"));
    let first = network.take_asked();
    network.started(&first, Err(failure(Retry::NotProcessed)));
    assert!(network.waits(token));
    let second = network.take_asked();
    assert_eq!((first.agent, second.agent.clone()), (agent("a"), agent("b")));
    assert!(second.epoch > first.epoch);
    network.started(&second, Ok(()));
    assert_eq!(network.record(token).endpoint.agent, agent("b"));
}

#[test]
fn every_agent_is_tried_once_before_a_get_fails() {
    let mut network = two_agents();
    let token = network.get("c", by_uuid("x"));
    for name in ["a", "b"] {
        let asked = network.take_asked();
        assert_eq!(asked.agent, agent(name));
        network.started(&asked, Err(failure(Retry::NotProcessed)));
    }
    assert!(network.error(token).message.contains("on the agent b"));
    assert_eq!(network.asked, []);
    assert!(!network.exists("x"));
}

#[test]
fn a_refusal_that_is_final_for_the_kind_stops() {
    let mut network = two_agents();
    let token = network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.started(&asked, Err(failure(Retry::Final)));
    assert_eq!(network.error(token).retry, Retry::Final);
    assert_eq!(network.asked, []);
}

#[test]
fn a_start_that_may_have_happened_is_ended_where_it_was_tried() {
    let mut network = two_agents();
    network.get("c", by_uuid("x"));
    let first = network.take_asked();
    network.started(&first, Err(failure(Retry::MaybeProcessed)));
    assert_eq!(network.asked.len(), 2);
    let end = network.asked.remove(0);
    assert_eq!((end.agent, end.epoch, end.start), (agent("a"), first.epoch, false));
    assert_eq!(network.placed(), agent("b"));
}

#[test]
fn an_agent_that_has_no_room_is_not_asked_again_before_it_reports() {
    let mut network = two_agents();
    network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    let busy = NetworkError::not_processed(ErrorKind::Busy, "no room");
    network.started(&asked, Err(busy));
    assert_eq!(network.placed(), agent("b"));
    assert_eq!(network.run("c", "y").agent, agent("b"));
    network.report("a", 500_000, Intake::Open);
    assert_eq!(network.run("c", "z").agent, agent("a"));
}

#[test]
fn an_agent_where_a_kind_keeps_failing_is_spared_it() {
    let mut network = two_agents();
    for uuid in ["x", "y"] {
        // It is the turn of "a", and "b" takes over.
        network.get("c", by_uuid(uuid));
        let asked = network.take_asked();
        assert_eq!(asked.agent, agent("a"));
        network.started(&asked, Err(failure(Retry::NotProcessed)));
        assert_eq!(network.placed(), agent("b"));
    }
    assert_eq!(network.run("c", "z").agent, agent("b"));
    network.advance(SECOND);
    assert_eq!(network.run("c", "later").agent, agent("a"));
}

#[test]
fn a_get_waits_while_all_agents_are_spared_and_is_then_really_tried() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    fail(&mut network, "x");
    fail(&mut network, "y");
    let token = network.get("c", by_uuid("z"));
    assert!(network.waits(token), "the answer is not that of an earlier start");
    assert_eq!(network.asked, [], "the kind is not hammered");
    network.advance(SECOND);
    network.placed();
    assert_eq!(network.record(token).id, echo("z"));
    network.run("c", "at-once-again");
}

#[test]
fn one_container_that_keeps_failing_does_not_delay_others_of_its_kind() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    fail(&mut network, "broken");
    fail(&mut network, "broken");
    network.get("c", by_uuid("broken"));
    assert_eq!(network.asked, []);
    network.run("c", "healthy");
}

#[test]
fn what_fails_for_one_tenant_delays_no_other() {
    let of = |uuid: &str, label: (&str, &str)| GetOptions {
        uuid: Some(echo(uuid).uuid),
        labels: labels(&[label]),
        ..GetOptions::default()
    };
    let (eve, anna, hers) = (("account", "eve"), ("account", "anna"), ("workspace", "eve"));
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    fail_for(&mut network, of("x", eve));
    fail_for(&mut network, of("y", eve));
    let waiting = [network.get("c", of("z", eve)), network.get("c", of("z2", eve))];
    assert_eq!(network.asked, []);
    // Those of another tenant and of nobody start, which proves nothing about
    // hers.
    let started = [of("b", anna), by_uuid("n"), GetOptions::default()].map(|options| {
        let token = network.get("c", options);
        network.placed();
        token
    });
    started.iter().for_each(|token| assert!(!network.waits(*token)));
    network.get("c", of("z3", eve));
    assert_eq!(network.asked, []);
    // A tenant is named by the value of either label.
    network.get("c", of("w", hers));
    assert_eq!(network.asked, []);
    network.advance(SECOND);
    assert_eq!(network.asked.len(), 4);
    for asked in std::mem::take(&mut network.asked) {
        network.started(&asked, Ok(()));
    }
    waiting.iter().for_each(|token| assert!(!network.waits(*token)));
}

#[test]
fn a_new_agent_takes_what_waits_for_a_spared_one() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    fail(&mut network, "x");
    fail(&mut network, "y");
    let token = network.get("c", by_uuid("z"));
    network.agent("b", &["echo"]);
    assert_eq!(network.placed(), agent("b"));
    assert_eq!(network.record(token).endpoint.agent, agent("b"));
}

#[test]
fn gets_by_kind_wait_for_one_shared_container_together() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    fail(&mut network, "x");
    fail(&mut network, "y");
    let tokens = [0, 1, 2].map(|_| network.get("c", GetOptions::default()));
    network.advance(SECOND);
    network.placed();
    let again = network.get("c", GetOptions::default());
    for token in tokens {
        assert_eq!(network.record(token).id, network.record(again).id);
    }
}

#[test]
fn what_does_not_start_is_visible_to_the_operator() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    fail(&mut network, "x");
    network.advance(SECOND);
    fail(&mut network, "x");
    let token = network.ask("c", Call::Agents);
    let Ok(Reply::Agents(agents)) = network.answer(token) else { panic!() };
    let failing = &agents[0].failing;
    assert_eq!(failing.len(), 1);
    assert_eq!((failing[0].failures, failing[0].spared_ms), (2, 1000));
    assert_eq!(failing[0].error.message, "start trapped");
    network.advance(SECOND);
    network.run("c", "x");
    let token = network.ask("c", Call::Agents);
    let Ok(Reply::Agents(agents)) = network.answer(token) else { panic!() };
    assert_eq!(agents[0].failing, []);
}
