//! What watchers see.

use hulynet_protocol::{Change, Snapshot};

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

/// Three agents that serve `echo`, and a container that "c" holds and watches.
fn watched_container() -> Network {
    let mut network = Network::new();
    network.agent("a", &["echo"]);
    network.join("c");
    network.run("c", "x");
    network.agent("b", &["echo"]);
    network.agent("d", &["echo"]);
    watch(&mut network, "c");
    network
}

#[test]
fn a_change_that_comes_alone_is_told_at_once_and_those_that_follow_soon_together() {
    let mut network = watched_container();
    network.leave("d");
    assert_eq!(network.events.len(), 1, "an idle network waits for nothing");
    let due = network.now + super::super::events::BATCH;
    network.agent("d", &["echo"]);
    network.run("c", "y");
    assert_eq!(network.events.len(), 1);
    assert_eq!(network.registry.next_timeout(), Some(due));
    network.now = due;
    network.registry.handle_timeout(due);
    network.drain();
    assert_eq!(network.events.len(), 2);
    assert_eq!(network.events[1].1.len(), 2);
    network.advance(SECOND);
    network.leave("d");
    assert_eq!(network.events.len(), 3, "it rested long enough");
}

#[test]
fn every_change_is_told_within_20_ms() {
    let (mut events, mut random) = (Events::default(), Random::new(2));
    events.watch(client("w"));
    let (mut now, mut waiting, mut told) = (Time::default(), Vec::new(), 0);
    for _ in 0..10_000 {
        now = now + Duration::from_millis(1);
        if random.below(12) == 0 {
            events.push(Change::AgentRemoved(agent("a")));
            waiting.push(now);
        }
        if events.due().is_some_and(|due| due <= now) {
            told += events.batch(now).unwrap().1.len();
            for at in waiting.drain(..) {
                assert!(now.since(at) <= Duration::from_millis(20), "{:?}", now.since(at));
            }
        }
    }
    assert!(told > 500, "{told}");
}

#[test]
fn updates_of_one_container_within_a_batch_become_one_without_a_gap() {
    let mut network = watched_container();
    network.leave("a");
    for agent in ["b", "d"] {
        let moved = network.take_asked();
        network.started(&moved, Ok(()));
        network.leave(agent);
    }
    assert_eq!(network.events.len(), 1);
    let told = network.take_changes();
    let expected = ["5 agent removed a", "7 agent removed b", "8 updated x d", "9 agent removed d"];
    assert_eq!(told, expected, "6 moved x to b and was superseded by 8");
}

/// What a watcher knows of containers, and how often each was removed.
#[derive(Debug, Default, PartialEq)]
struct View {
    revision: u64,
    containers: BTreeMap<ContainerId, Epoch>,
    removals: BTreeMap<ContainerId, u32>,
}

impl View {
    fn take(&mut self, change: &Change) {
        match change {
            Change::ContainerAdded(r) => {
                assert_eq!(self.containers.insert(r.id.clone(), r.epoch), None, "added twice");
            }
            Change::ContainerUpdated(r) => {
                assert!(self.containers.insert(r.id.clone(), r.epoch).is_some(), "not there");
            }
            Change::ContainerRemoved { id, .. } => {
                assert!(self.containers.remove(id).is_some(), "not there");
                *self.removals.entry(id.clone()).or_default() += 1;
            }
            _ => {}
        }
    }
}

#[test]
fn who_follows_the_batches_knows_the_same_as_who_saw_every_change() {
    let record = |name: &str, counter| ContainerRecord {
        id: echo(name),
        endpoint: Endpoint { agent: agent("a"), address: None },
        epoch: Epoch { term: 1, counter },
        state: hulynet_protocol::ContainerState::Running,
        labels: Labels::new(),
        holders: 0,
    };
    let (mut events, mut truth, mut told) = (Events::default(), View::default(), View::default());
    events.watch(client("w"));
    let (mut now, mut random, mut merged) = (Time::default(), Random::new(1), 0);
    for counter in 1..10_000 {
        let name = ["x", "y", "z"][random.below(3)];
        let change = match (truth.containers.contains_key(&echo(name)), random.below(3)) {
            (false, _) => Change::ContainerAdded(record(name, counter)),
            (true, 0) => {
                Change::ContainerRemoved { id: echo(name), epoch: truth.containers[&echo(name)] }
            }
            (true, _) => Change::ContainerUpdated(record(name, counter)),
        };
        truth.take(&change);
        truth.revision = counter;
        events.push(change);
        if random.below(8) == 0 {
            now = now + super::super::events::BATCH;
            let (_, batch) = events.batch(now).unwrap();
            for event in batch {
                assert_eq!(event.since, told.revision, "a gap");
                merged += event.revision - event.since - 1;
                told.revision = event.revision;
                told.take(&event.change);
            }
            assert_eq!(told, truth);
        }
    }
    assert!(merged > 1000, "{merged}");
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
