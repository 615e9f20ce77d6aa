//! What an operator is told about one container.

use hulynet_protocol::{Explanation, Phase, Reason};

use super::*;

fn explain(network: &mut Network, uuid: &str) -> Explanation {
    let token = network.ask("c", Call::Explain(Uuid::new(uuid).unwrap()));
    match network.answer(token) {
        Ok(Reply::Explanation(explanation)) => (**explanation).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_running_container_is_explained_from_the_state() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let asked = network.run("c", "x");
    network.advance(7 * SECOND);
    let told = explain(&mut network, "x");
    assert_eq!((told.phase, told.reason, told.epoch), (Phase::Running, Reason::Turn, asked.epoch));
    assert_eq!((told.since_ms, told.holders, told.holder_count), (7000, vec![client("c")], 1));
    assert_eq!(told.endpoint.unwrap().address.as_deref(), Some("a:3738"));
    assert_eq!((told.next_ms, told.last_failure), (None, None));
}

#[test]
fn what_a_container_waits_for_is_told() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.get("c", by_uuid("x"));
    let told = explain(&mut network, "x");
    assert_eq!((told.phase, told.waiting), (Phase::Starting, vec![client("c")]));
    assert_eq!(told.next_ms, Some(30_000));
    network.placed();
    network.terminate("c", "x", false);
    let told = explain(&mut network, "x");
    assert_eq!((told.phase, told.ending), (Phase::Ending, vec![client("c")]));
}

#[test]
fn why_a_container_is_where_it_is_is_told() {
    let mut network = Network::new();
    network.agent_as("a", |registration| registration.offers = vec![echo("one")]);
    network.placed();
    network.join("c");
    let shared = network.get("c", GetOptions::default());
    network.placed();
    network.join("b");
    network.register("b", &["echo"], vec![activation("brought", 8, 5)]);
    let shared = network.record(shared).id.uuid.as_str().to_owned();
    for (uuid, reason) in
        [("one", Reason::Offered), (&*shared, Reason::Shared), ("brought", Reason::Brought)]
    {
        assert_eq!(explain(&mut network, uuid).reason, reason, "{uuid}");
    }
    assert_eq!(explain(&mut network, "one").offered_by, [agent("a")]);
}

#[test]
fn the_last_failure_is_told_even_of_a_container_that_never_ran() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.started(&asked, Err(failure(Retry::Final)));
    network.advance(2 * SECOND);
    let token = network.ask("c", Call::Explain(Uuid::new("x").unwrap()));
    let error = network.error(token);
    assert_eq!(error.kind, ErrorKind::UnknownContainer);
    assert!(error.message.contains("2000 ms ago on the agent a, failed: start trapped"), "{error}");
    network.run("c", "x");
    assert_eq!(explain(&mut network, "x").last_failure.unwrap().ago_ms, 2000);
}
