//! Rules of get, release and the lists.

use super::*;

#[test]
fn a_get_by_uuid_starts_the_container_and_holds_it() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let token = network.get("c", by_uuid("x"));
    assert!(network.waits(token));
    let asked = network.take_asked();
    assert_eq!((asked.id.clone(), asked.epoch), (echo("x"), Epoch { term: 7, counter: 1 }));
    network.started(&asked, Ok(()));
    let record = network.record(token);
    assert_eq!(record.endpoint.address.as_deref(), Some("a:3738"));
    assert_eq!((record.state, record.holders), (hulynet_protocol::ContainerState::Running, 1));
}

#[test]
fn a_get_of_a_live_container_is_answered_at_once_and_counts() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.join("d");
    network.run("c", "x");
    let token = network.get("d", by_uuid("x"));
    assert_eq!(network.record(token).holders, 2);
    let again = network.get("d", by_uuid("x"));
    assert_eq!(network.record(again).holders, 2);
    assert!(network.asked.is_empty());
}

#[test]
fn a_get_by_uuid_never_gets_another_container_that_is_just_starting() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.get("c", by_uuid("x"));
    let other = network.get("c", by_uuid("y"));
    let [x, y] = [network.asked.remove(0), network.asked.remove(0)];
    network.started(&x, Ok(()));
    assert!(network.waits(other));
    network.started(&y, Ok(()));
    assert_eq!(network.record(other).id, echo("y"));
}

#[test]
fn whoever_names_a_tenant_does_not_get_the_container_of_another() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let asked_for = |label: (&str, &str)| GetOptions {
        labels: Labels::from([(label.0.to_owned(), label.1.to_owned())]),
        ..by_uuid("x")
    };
    network.get("c", asked_for(("tenant", "account=eve")));
    let asked = network.take_asked();
    let token = network.get("c", asked_for(("account", "anna")));
    assert_eq!(network.error(token).retry, Retry::NotProcessed, "it may not even start");
    network.started(&asked, Ok(()));
    let token = network.get("c", asked_for(("account", "anna")));
    let error = network.error(token);
    assert_eq!((error.kind, error.retry), (ErrorKind::PermissionDenied, Retry::Final));
    assert_eq!(
        error.message,
        "the container echo/x works for another tenant than the labels account and workspace of this \
         request name; ask for another uuid, or have its operator terminate it"
    );
    for mine_or_any in [asked_for(("account", "eve")), by_uuid("x")] {
        let token = network.get("c", mine_or_any);
        assert_eq!(network.record(token).id, echo("x"));
    }
}

#[test]
fn a_uuid_under_another_kind_is_refused_and_names_both() {
    let mut network = Network::new();
    network.agent("a", &["echo", "session"]);
    network.join("c");
    network.run("c", "x");
    let token = network.ask("c", Call::Get { kind: kind("session"), options: by_uuid("x") });
    let error = network.error(token);
    assert_eq!((error.kind, error.retry), (ErrorKind::InvalidArguments, Retry::Final));
    assert!(error.message.contains("\"echo\"") && error.message.contains("\"session\""));
}

#[test]
fn an_unknown_kind_is_refused_and_the_served_ones_are_named() {
    let mut network = Network::new();
    network.agent("a", &["query", "session"]);
    network.join("c");
    for options in [by_uuid("x"), by_labels(&[("k", "v")]), GetOptions::default()] {
        let token = network.get("c", options);
        let error = network.error(token);
        assert_eq!((error.kind, error.retry), (ErrorKind::UnknownKind, Retry::NotProcessed));
        assert_eq!(
            error.message,
            "no agent serves the kind \"echo\"; kinds served now: query, session; why one is not, \
             `hulynet kinds --verbose` tells"
        );
    }
    assert!(!network.exists("x"));
}

#[test]
fn labels_find_a_running_container_that_contains_all_of_them() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let first = network.get("c", by_labels(&[("region", "eu"), ("tier", "1")]));
    let asked = network.take_asked();
    assert_eq!(network.last_start.as_ref().unwrap().labels.len(), 2);
    network.started(&asked, Ok(()));
    let uuid = network.record(first).id.uuid.clone();

    let fewer = network.get("c", by_labels(&[("region", "eu")]));
    assert_eq!(network.record(fewer).id.uuid, uuid);
    let more = network.get("c", by_labels(&[("region", "eu"), ("tier", "2")]));
    assert!(network.waits(more));
    assert_ne!(network.take_asked().id.uuid, uuid);
}

#[test]
fn labels_prefer_a_running_container_to_a_starting_one() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let eu = labels(&[("region", "eu")]);
    let named = |uuid: &str| GetOptions { labels: eu.clone(), ..by_uuid(uuid) };
    network.get("c", named("m-starting"));
    network.get("c", named("z-running"));
    let running = network.asked.remove(1);
    network.started(&running, Ok(()));
    let token = network.get("c", by_labels(&[("region", "eu")]));
    assert_eq!(network.record(token).id, echo("z-running"));
}

#[test]
fn labels_join_a_container_that_is_starting_with_them() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let first = network.get("c", by_labels(&[("region", "eu")]));
    let second = network.get("c", by_labels(&[("region", "eu")]));
    let asked = network.take_asked();
    network.started(&asked, Ok(()));
    assert_eq!(network.record(first).id, network.record(second).id);
}

#[test]
fn labels_are_matched_within_the_kind_only() {
    let mut network = Network::new();
    network.agent("a", &["echo", "session"]);
    network.join("c");
    network.get("c", by_labels(&[("region", "eu")]));
    network.take_asked();
    let options = by_labels(&[("region", "eu")]);
    network.ask("c", Call::Get { kind: kind("session"), options });
    assert_eq!(network.take_asked().id.kind, kind("session"));
}

#[test]
fn a_get_by_kind_takes_one_shared_container_of_each_agent_in_turn() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.agent("b", &["echo"]);
    network.agent("z", &["other"]);
    network.join("c");
    let mut agents = Vec::new();
    for _ in 0..2 {
        let token = network.get("c", GetOptions::default());
        let asked = network.take_asked();
        network.started(&asked, Ok(()));
        agents.push(network.record(token).endpoint.agent.clone());
    }
    assert_eq!(agents, [agent("a"), agent("b")]);
    let tokens = [0, 1, 2].map(|_| network.get("c", GetOptions::default()));
    let turns = tokens.map(|token| network.record(token).endpoint.agent.clone());
    assert_eq!(turns, [agent("a"), agent("b"), agent("a")]);
    assert_eq!(network.list("c").len(), 2);
}

#[test]
fn a_container_that_somebody_named_is_not_the_shared_one() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "named");
    network.get("c", GetOptions::default());
    assert_eq!(network.take_asked().id, echo("made-1"));
}

#[test]
fn containers_are_placed_in_turn() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.agent("b", &["echo"]);
    network.join("c");
    let placed = ["w", "x", "y", "z"].map(|uuid| network.run("c", uuid).agent);
    assert_eq!(placed, ["a", "b", "a", "b"].map(agent));
}

#[test]
fn release_is_idempotent_and_releases_only_the_own_reference() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.join("d");
    network.run("c", "x");
    network.release("d", "x");
    assert_eq!(network.holders("x"), 1);
    network.release("c", "x");
    network.release("c", "x");
    network.release("c", "never-seen");
    assert_eq!(network.holders("x"), 0);
}

#[test]
fn bad_labels_and_extra_are_refused_by_name() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let long = "v".repeat(300);
    let token = network.get("c", by_labels(&[("region", &long)]));
    assert!(network.error(token).message.contains("the label \"region\" of the request"));
    let token = network.get("c", GetOptions { extra: vec![0; 70_000], ..by_uuid("x") });
    assert_eq!(network.error(token).kind, ErrorKind::TooLarge);
    assert!(!network.exists("x"));
}

#[test]
fn lists_are_sorted_and_of_the_kind_that_was_asked_for() {
    let mut network = Network::new();
    network.agent("b", &["session", "echo", "echo"]);
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "y");
    network.run("c", "x");
    let token = network.ask("c", Call::Kinds);
    assert_eq!(*network.answer(token), Ok(Reply::Kinds(vec![kind("echo"), kind("session")])));
    let token = network.ask("c", Call::Agents);
    let Ok(Reply::Agents(agents)) = network.answer(token) else { panic!() };
    assert_eq!(agents.iter().map(|a| a.containers).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(agents[1].kinds, [kind("echo"), kind("session")]);
    assert_eq!(
        network.list("c").iter().map(|r| r.id.uuid.as_str()).collect::<Vec<_>>(),
        ["x", "y"]
    );
    let token =
        network.ask("c", Call::List { kind: Some(kind("session")), select: Selector::default() });
    assert_eq!(*network.answer(token), Ok(Reply::Containers(vec![])));
}

#[test]
fn a_request_is_routed_to_the_live_activation_only() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.get("c", by_uuid("x"));
    let route = |network: &Network, uuid: &str, epoch| {
        network.registry.route(&Target { id: echo(uuid), epoch })
    };
    assert_eq!(route(&network, "x", None).unwrap_err().kind, ErrorKind::Unavailable);
    let asked = network.take_asked();
    network.started(&asked, Ok(()));
    let live = route(&network, "x", None).unwrap();
    assert_eq!((live.peer, live.epoch), (client("a"), asked.epoch));
    assert!(route(&network, "x", Some(asked.epoch)).is_ok());
    let stale = route(&network, "x", Some(Epoch { term: 6, counter: 9 })).unwrap_err();
    assert_eq!((stale.kind, stale.retry), (ErrorKind::StaleEpoch, Retry::NotProcessed));
    let unknown = route(&network, "y", None).unwrap_err();
    assert_eq!((unknown.kind, unknown.retry), (ErrorKind::UnknownContainer, Retry::NotProcessed));
}

#[test]
fn what_is_for_agents_is_refused() {
    let mut network = Network::new();
    network.join("c");
    let start = StartContainer {
        id: echo("x"),
        epoch: Epoch::default(),
        labels: Labels::new(),
        extra: vec![],
    };
    let token = network.ask("c", Call::Start(start));
    assert_eq!(network.error(token).kind, ErrorKind::Protocol);
}
