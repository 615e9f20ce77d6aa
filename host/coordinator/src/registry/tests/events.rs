//! What watchers see.

use hulynet_protocol::Snapshot;

use super::*;

fn watch(network: &mut Network, name: &str) -> Snapshot {
    let token = network.ask(name, Call::Watch);
    match network.answer(token) {
        Ok(Reply::Snapshot(snapshot)) => snapshot.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_watcher_gets_a_snapshot_and_then_every_change_without_a_gap() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.join("w");
    let snapshot = watch(&mut network, "w");
    assert_eq!((snapshot.revision, snapshot.agents.len(), snapshot.containers.len()), (2, 1, 1));
    let asked = network.run("c", "y");
    network.release("c", "y");
    network.ended(&asked);
    assert_eq!(network.take_changes(), ["3 added y a", "4 removed y"]);
}

#[test]
fn changes_of_one_step_travel_as_one_batch_to_all_watchers() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.release("c", "x");
    network.join("w");
    watch(&mut network, "w");
    watch(&mut network, "c");
    network.leave("a");
    assert_eq!(network.events.len(), 1);
    assert_eq!(network.events[0].0, [client("c"), client("w")]);
    assert_eq!(network.take_changes(), ["3 agent removed a", "4 removed x"]);
}

#[test]
fn a_container_that_moves_is_announced_as_updated() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.agent("b", &["echo"]);
    watch(&mut network, "c");
    network.leave("a");
    let moved = network.take_asked();
    network.started(&moved, Ok(()));
    assert_eq!(network.take_changes(), ["4 agent removed a", "5 updated x b"]);
}

#[test]
fn a_snapshot_tells_of_a_container_that_moves_what_the_stream_told() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    let before = network.run("c", "x");
    watch(&mut network, "c");
    // Nobody else serves the kind: it runs nowhere.
    network.leave("a");
    network.join("w");
    let snapshot = watch(&mut network, "w");
    let known: Vec<_> = snapshot
        .containers
        .iter()
        .map(|record| (record.id.clone(), record.endpoint.address.as_deref(), record.epoch))
        .collect();
    assert_eq!(known, [(echo("x"), Some("a:3738"), before.epoch)]);
    network.agent("b", &["echo"]);
    assert_eq!(watch(&mut network, "c").containers, snapshot.containers);
    network.placed();
    let changes = network.take_changes();
    assert_eq!(changes.last().map(String::as_str), Some("5 updated x b"));
    assert_eq!(watch(&mut network, "c").containers[0].endpoint.agent, agent("b"));
}

#[test]
fn removed_and_added_again_are_two_facts() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    watch(&mut network, "c");
    let token = network.terminate("c", "x", true);
    let end = network.take_asked();
    network.terminated(&end, Ok(true));
    assert_eq!(*network.answer(token), Ok(Reply::Terminated(true)));
    network.run("c", "x");
    assert_eq!(network.take_changes(), ["3 removed x", "4 added x a"]);
}

#[test]
fn a_container_that_never_ran_is_never_announced() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    watch(&mut network, "c");
    network.get("c", by_uuid("x"));
    let asked = network.take_asked();
    network.started(&asked, Err(failure(Retry::Final)));
    assert_eq!(network.take_changes(), [""; 0]);
}

#[test]
fn a_re_registration_is_announced_only_when_something_changed() {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("w");
    watch(&mut network, "w");
    network.register("a", &["echo"], vec![]);
    assert_eq!(network.take_changes(), [""; 0]);
    network.register("a", &["echo", "session"], vec![]);
    assert_eq!(network.take_changes(), ["2 agent updated a"]);
}

#[test]
fn a_watcher_that_leaves_or_unwatches_is_told_nothing_more() {
    let mut network = Network::new();
    network.join("w");
    network.join("v");
    watch(&mut network, "w");
    watch(&mut network, "v");
    network.leave("w");
    network.agent("a", &["echo"]);
    assert_eq!(network.events[0].0, [client("v")]);
    network.ask("v", Call::Unwatch);
    network.events.clear();
    network.agent("b", &["echo"]);
    assert_eq!(network.take_changes(), [""; 0]);
}
