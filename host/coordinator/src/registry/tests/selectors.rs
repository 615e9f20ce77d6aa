//! Conditions on labels.

use super::*;

fn selecting(text: &str) -> GetOptions {
    GetOptions { select: text.parse().unwrap(), ..GetOptions::default() }
}

/// Containers "eu" (`region=europe,tier=1`), "as" (`region=asia`) and "plain".
fn network() -> Network {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    for (uuid, pairs) in [
        ("eu", &[("region", "europe"), ("tier", "1")][..]),
        ("as", &[("region", "asia")]),
        ("plain", &[]),
    ] {
        network.get("c", GetOptions { labels: labels(pairs), ..by_uuid(uuid) });
        network.placed();
    }
    network
}

#[test]
fn a_get_finds_a_container_that_meets_all_conditions() {
    let mut network = network();
    for (text, found) in [
        ("region=europe", "eu"),
        ("region!=europe,region", "as"),
        ("region in (asia,africa)", "as"),
        ("!region", "plain"),
        ("tier", "eu"),
        ("region,!tier", "as"),
    ] {
        let token = network.get("c", selecting(text));
        assert_eq!(network.record(token).id, echo(found), "{text}");
    }
}

#[test]
fn a_new_container_gets_the_labels_that_the_conditions_determine() {
    let mut network = network();
    let token = network.get("c", selecting("region=africa,tier in (9),!spot"));
    network.placed();
    let found = labels(&[("region", "africa"), ("tier", "9")]);
    assert_eq!(network.record(token).labels, found);
    let again = network.get("c", selecting("region=africa"));
    assert_eq!(network.record(again).id, network.record(token).id);
}

#[test]
fn a_choice_that_the_conditions_leave_is_made_by_labels() {
    let mut network = network();
    let token = network.get("c", selecting("zone in (1,2)"));
    let error = network.error(token);
    assert_eq!((error.kind, error.retry), (ErrorKind::UnknownContainer, Retry::Final));
    assert!(error.message.contains("give it labels that match"), "{error}");
    let options = GetOptions { labels: labels(&[("zone", "2")]), ..selecting("zone in (1,2)") };
    let token = network.get("c", options);
    network.placed();
    assert_eq!(network.record(token).labels, labels(&[("zone", "2")]));
}

#[test]
fn a_list_shows_those_that_meet_the_conditions() {
    let mut network = network();
    for (text, expected) in
        [("region", &["as", "eu"][..]), ("tier!=1", &["as", "plain"]), ("zone", &[])]
    {
        let call = Call::List { kind: None, select: text.parse().unwrap() };
        let token = network.ask("c", call);
        let Ok(Reply::Containers(records)) = network.answer(token) else { panic!() };
        let found: Vec<_> = records.iter().map(|record| record.id.uuid.as_str()).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_selector_over_its_limits_is_refused() {
    let mut network = network();
    let many = vec!["k"; 33].join(",");
    let select = Selector(
        many.split(',')
            .map(|key| hulynet_protocol::Requirement {
                key: key.to_owned(),
                condition: hulynet_protocol::Condition::Present,
            })
            .collect(),
    );
    for call in [
        Call::List { kind: None, select: select.clone() },
        Call::Get { kind: kind("echo"), options: GetOptions { select, ..GetOptions::default() } },
    ] {
        let token = network.ask("c", call);
        assert_eq!(network.error(token).kind, ErrorKind::InvalidArguments);
    }
}

#[test]
fn conditions_that_different_containers_meet_find_none_of_them() {
    let mut network = network();
    network.get("c", GetOptions { labels: labels(&[("tier", "2")]), ..by_uuid("second") });
    network.placed();
    let token = network.get("c", selecting("region=europe,tier=2"));
    network.placed();
    assert_eq!(network.record(token).labels, labels(&[("region", "europe"), ("tier", "2")]));
    let call = Call::List { kind: None, select: "region=asia,tier=1".parse().unwrap() };
    let token = network.ask("c", call);
    assert_eq!(*network.answer(token), Ok(Reply::Containers(vec![])));
}

#[test]
fn labels_that_a_selector_determines_are_checked_like_others() {
    let mut network = network();
    let values = ["a\nb".to_owned()].into();
    let condition = hulynet_protocol::Condition::In(values);
    let requirement = hulynet_protocol::Requirement { key: "region".to_owned(), condition };
    let options = GetOptions { select: Selector(vec![requirement]), ..GetOptions::default() };
    let token = network.get("c", options);
    assert!(network.error(token).message.contains("control character"));
}
