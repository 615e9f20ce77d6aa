//! On which agent containers are started.

use super::*;

fn least_loaded() -> Network {
    let mut network = Network::new();
    network.registry.config.placement = Placement::LeastLoaded;
    network.join("c");
    network
}

fn near(pairs: &[(&str, &str)], uuid: &str) -> GetOptions {
    GetOptions { near: labels(pairs), ..by_uuid(uuid) }
}

#[test]
fn the_less_loaded_of_two_agents_is_chosen() {
    let mut network = least_loaded();
    network.agent("a", &["echo"]);
    network.agent("b", &["echo"]);
    network.report("a", 900_000, Intake::Open);
    network.report("b", 100_000, Intake::Open);
    // Two draws may both hit the loaded one only when there is no other.
    let placed: Vec<AgentId> = (0..6).map(|n| network.run("c", &format!("x{n}")).agent).collect();
    assert_eq!(placed, vec![agent("b"); 6]);
}

#[test]
fn without_reports_the_numbers_of_containers_stay_even() {
    let mut network = least_loaded();
    for name in ["a", "b", "d", "e"] {
        network.agent(name, &["echo"]);
    }
    for n in 0..200 {
        network.run("c", &format!("x{n}"));
    }
    let token = network.ask("c", Call::Agents);
    let Ok(Reply::Agents(agents)) = network.answer(token) else { panic!() };
    assert!(agents.iter().all(|a| (45..=55).contains(&a.containers)), "{agents:?}");
}

#[test]
fn an_old_report_grows_with_the_containers_that_came_since() {
    let mut network = least_loaded();
    network.agent("a", &["echo"]);
    network.agent("b", &["echo"]);
    network.report("a", 300_000, Intake::Open);
    network.report("b", 100_000, Intake::Open);
    let placed: Vec<AgentId> = (0..4).map(|n| network.run("c", &format!("x{n}")).agent).collect();
    assert_eq!(placed, ["b", "b", "a", "b"].map(agent));
}

#[test]
fn the_same_history_chooses_the_same_agents() {
    let history = || {
        let mut network = least_loaded();
        for name in ["a", "b", "d", "e", "f"] {
            network.agent(name, &["echo"]);
        }
        (0..50).map(|n| network.run("c", &format!("x{n}")).agent).collect::<Vec<_>>()
    };
    assert_eq!(history(), history());
}

#[test]
fn a_container_runs_near_when_it_can_and_far_when_it_must() {
    for placement in [Placement::RoundRobin, Placement::LeastLoaded] {
        let mut network = least_loaded();
        network.registry.config.placement = placement;
        network.agent("asia", &["echo"]);
        network.agent_as("europe", |r| r.labels = labels(&[("region", "europe")]));
        for uuid in ["x", "y"] {
            network.get("c", near(&[("region", "europe")], uuid));
            assert_eq!(network.placed(), agent("europe"));
        }
        network.report("europe", 1_000_000, Intake::Full);
        network.get("c", near(&[("region", "europe")], "z"));
        assert_eq!(network.placed(), agent("asia"));
    }
}

#[test]
fn more_matching_labels_are_nearer() {
    let mut network = Network::new();
    network.join("c");
    network.agent_as("a", |r| r.labels = labels(&[("region", "europe")]));
    network.agent_as("b", |r| r.labels = labels(&[("region", "europe"), ("disk", "ssd")]));
    network.get("c", near(&[("region", "europe"), ("disk", "ssd")], "x"));
    assert_eq!(network.placed(), agent("b"));
}

#[test]
fn what_is_to_be_avoided_weighs_more_than_what_is_near() {
    let mut network = Network::new();
    network.join("c");
    network.agent_as("a", |r| r.labels = labels(&[("region", "europe"), ("spot", "yes")]));
    network.agent("b", &["echo"]);
    let avoid = labels(&[("spot", "yes")]);
    network.get("c", GetOptions { avoid, ..near(&[("region", "europe")], "x") });
    assert_eq!(network.placed(), agent("b"));
}

#[test]
fn a_container_that_moves_keeps_its_wishes() {
    let mut network = Network::new();
    network.join("c");
    for name in ["a", "b"] {
        network.agent_as(name, |r| r.labels = labels(&[("region", "europe")]));
    }
    network.get("c", near(&[("region", "europe")], "x"));
    assert_eq!(network.placed(), agent("a"));
    network.agent("aa", &["echo"]);
    network.leave("a");
    assert_eq!(network.placed(), agent("b"));
}

#[test]
fn draining_and_full_agents_are_never_chosen() {
    for placement in [Placement::RoundRobin, Placement::LeastLoaded] {
        let mut network = least_loaded();
        network.registry.config.placement = placement;
        for name in ["a", "b", "d"] {
            network.agent(name, &["echo"]);
        }
        network.report("a", 0, Intake::Draining);
        network.report("b", 0, Intake::Full);
        for uuid in ["x", "y", "z"] {
            assert_eq!(network.run("c", uuid).agent, agent("d"));
        }
    }
}

#[test]
fn an_agent_that_fenced_itself_is_waited_for() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.alive.remove(&client("a"));
    network.advance(2 * SECOND);
    let token = network.get("c", by_uuid("x"));
    assert!(network.waits(token));
    assert_eq!(network.asked, []);
    network.alive.insert(client("a"));
    network.advance(SECOND);
    network.placed();
    assert_eq!(network.record(token).id, echo("x"));
}

#[test]
fn a_get_that_no_agent_has_room_for_is_told_why() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.report("a", 0, Intake::Draining);
    for options in [by_uuid("x"), GetOptions::default()] {
        let token = network.get("c", options);
        let error = network.error(token);
        assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed));
        assert!(error.message.contains("draining or full"), "{error}");
    }
    assert!(!network.exists("x"));
}

#[test]
fn a_full_agent_still_gives_its_shared_container() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let first = network.get("c", GetOptions::default());
    network.placed();
    network.report("a", 1_000_000, Intake::Full);
    let second = network.get("c", GetOptions::default());
    assert_eq!(network.record(first).id, network.record(second).id);
}

#[test]
fn a_referenced_container_that_found_no_room_starts_when_there_is_some() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.agent("b", &["echo"]);
    network.report("b", 1_000_000, Intake::Full);
    network.leave("a");
    assert_eq!(network.asked, []);
    network.report("b", 900_000, Intake::Open);
    assert_eq!(network.placed(), agent("b"));
    assert_eq!(network.holders("x"), 1);
}

#[test]
fn a_report_of_an_agent_that_is_not_registered_leads_to_a_registration() {
    let mut network = Network::new();
    network.join("a");
    let load = Load::default();
    let token = network.ask("a", Call::Ended { agent: agent("a"), containers: vec![], load });
    assert_eq!(network.error(token).retry, Retry::NotProcessed);
}
