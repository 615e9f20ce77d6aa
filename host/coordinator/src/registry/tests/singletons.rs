//! Containers that run as long as an agent offers them.

use super::*;

fn offering(network: &mut Network, name: &str) {
    network.agent_as(name, |registration| registration.offers = vec![echo("one")]);
}

/// Two agents that offer the same container, which runs on the first.
fn standing_by() -> Network {
    let mut network = Network::new();
    offering(&mut network, "a");
    let asked = network.take_asked();
    assert_eq!((asked.agent.clone(), asked.id.clone()), (agent("a"), echo("one")));
    network.started(&asked, Ok(()));
    offering(&mut network, "b");
    network.join("c");
    network
}

#[test]
fn the_first_offer_runs_and_the_others_stand_by() {
    let mut network = standing_by();
    assert_eq!(network.asked, []);
    assert_eq!(network.list("c")[0].endpoint.agent, agent("a"));
}

#[test]
fn a_singleton_runs_without_references() {
    let mut network = standing_by();
    network.advance(60 * SECOND);
    assert_eq!(network.asked, []);
    assert!(network.exists("one"));
}

#[test]
fn the_next_in_line_takes_over_at_once() {
    let mut network = standing_by();
    offering(&mut network, "d");
    network.get("c", by_uuid("one"));
    network.ask("c", Call::Watch);
    network.leave("a");
    assert_eq!(network.placed(), agent("b"));
    assert!(network.take_changes().iter().any(|change| change.ends_with("updated one b")));
    assert_eq!(network.holders("one"), 1);
    network.leave("b");
    assert_eq!(network.placed(), agent("d"));
}

#[test]
fn a_re_registration_keeps_the_place_in_the_line() {
    let mut network = standing_by();
    offering(&mut network, "d");
    offering(&mut network, "b");
    network.leave("a");
    assert_eq!(network.placed(), agent("b"));
}

#[test]
fn a_re_registration_of_the_holder_keeps_the_singleton_and_its_references() {
    let mut network = standing_by();
    let token = network.get("c", by_uuid("one"));
    let epoch = network.record(token).epoch;
    network.agent_as("a", |registration| {
        registration.offers = vec![echo("one")];
        registration.containers =
            vec![Activation { id: echo("one"), epoch, labels: Labels::new() }];
    });
    assert_eq!(network.asked, []);
    assert_eq!((network.holders("one"), network.list("c")[0].epoch), (1, epoch));
}

#[test]
fn a_standby_that_cannot_start_it_is_passed_over() {
    let mut network = standing_by();
    offering(&mut network, "d");
    network.report("b", 0, Intake::Draining);
    network.leave("a");
    assert_eq!(network.placed(), agent("d"));
}

#[test]
fn a_singleton_that_ends_by_itself_starts_again() {
    let mut network = Network::new();
    offering(&mut network, "a");
    let asked = network.take_asked();
    network.started(&asked, Ok(()));
    network.advance(2 * SECOND);
    network.ended(&asked);
    assert_eq!(network.placed(), agent("a"));
}

#[test]
fn a_singleton_that_nobody_offers_any_more_becomes_unused() {
    let mut network = Network::new();
    offering(&mut network, "a");
    network.placed();
    network.agent_as("a", |registration| {
        let epoch = Epoch { term: 7, counter: 1 };
        registration.containers =
            vec![Activation { id: echo("one"), epoch, labels: Labels::new() }];
    });
    network.advance(5 * SECOND);
    let asked = network.take_asked();
    assert!(!asked.start);
    network.terminated(&asked, Ok(true));
    assert!(!network.exists("one"));
}

#[test]
fn the_last_offer_leaves_nothing_behind() {
    let mut network = Network::new();
    offering(&mut network, "a");
    network.placed();
    network.leave("a");
    assert!(!network.exists("one"));
}

#[test]
fn after_a_restart_of_the_coordinator_the_one_that_runs_it_comes_first() {
    let mut network = Network::young();
    offering(&mut network, "standby");
    assert_eq!(network.asked, [], "another one may run it");
    network.agent_as("runs-it", |registration| {
        registration.offers = vec![echo("one")];
        registration.containers = vec![activation("one", 3, 5)];
    });
    network.advance(10 * SECOND);
    assert_eq!(network.asked, []);
    assert_eq!(network.list("standby")[0].endpoint.agent, agent("runs-it"));
}

#[test]
fn a_singleton_that_nobody_brings_back_starts_after_the_window() {
    let mut network = Network::young();
    offering(&mut network, "a");
    network.advance(3 * SECOND);
    // The recovery window ends for what is only offered, too.
    assert_eq!(network.placed(), agent("a"));
}

#[test]
fn an_offer_of_a_uuid_that_belongs_to_another_kind_waits_for_it() {
    let mut network = Network::new();
    network.agent("s", &["session"]);
    network.join("c");
    network.ask("c", Call::Get { kind: kind("session"), options: by_uuid("one") });
    network.placed();
    offering(&mut network, "a");
    assert_eq!(network.asked, []);
    network.leave("s");
    network.leave("c");
    assert_eq!(network.placed(), agent("a"));
}
