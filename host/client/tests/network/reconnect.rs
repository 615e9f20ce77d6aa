//! What survives when a coordinator or an agent is lost.

use std::sync::Arc;

use crate::fake::{Fake, by_uuid, client, epoch, soon};
use futures::StreamExt;
use hulynet_client::{
    Change, Connection, ConnectionEvent, ErrorKind, NetworkError, NetworkEvent, Snapshot,
    WatchEvent,
};
use hulynet_protocol::{AgentId, Event, Role};

async fn next(connection: &mut Connection) -> ConnectionEvent {
    soon(connection.next()).await.expect("the connection goes on").expect("it is not refused")
}

fn change(revision: u64) -> NetworkEvent {
    NetworkEvent {
        since: revision - 1,
        revision,
        change: Change::AgentRemoved(AgentId::new("x").unwrap()),
    }
}

#[tokio::test]
async fn a_restarted_coordinator_gets_every_held_reference_back() {
    let coordinator = Fake::start(Role::Coordinator).await;
    for uuid in ["a", "b", "c"] {
        coordinator.place(uuid, None, 1);
    }
    let client = client(&[&coordinator]).await;
    let _a = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    let b = soon(client.get("echo", by_uuid("b"))).await.unwrap();
    let c = soon(client.get("echo", by_uuid("c"))).await.unwrap();
    soon(c.release()).await.unwrap();
    let world = Arc::clone(&coordinator.world);
    let address = soon(coordinator.stop()).await;
    world.lock().unwrap().held.clear();
    let coordinator = Fake::start_at(&address, Role::Coordinator, world).await;
    coordinator.until(|world| world.held.len() == 2).await;
    assert_eq!((coordinator.saw("reclaim a"), coordinator.saw("reclaim c")), (1, 0));
    assert_eq!(soon(b.request("echo", "hello")).await.unwrap(), "hello");
}

#[tokio::test]
async fn the_next_coordinator_takes_over_from_a_lost_one() {
    let (first, second) =
        (Fake::start(Role::Coordinator).await, Fake::start(Role::Coordinator).await);
    first.place("a", None, 1);
    second.place("a", None, 1);
    let client = client(&[&first, &second]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    assert_eq!(first.saw("get"), 1);
    soon(first.stop()).await;
    second.until(|world| world.held.len() == 1).await;
    assert_eq!(soon(echo.request("echo", "hello")).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_connection_receives_what_its_container_broadcasts() {
    let (coordinator, agent) =
        (Fake::start(Role::Coordinator).await, Fake::start(Role::Agent).await);
    coordinator.place("a", Some(&agent), 1);
    agent.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    let mut connection = soon(echo.connect()).await.unwrap();
    agent.broadcast(9, "of another activation");
    agent.broadcast(1, "hello");
    assert_eq!(next(&mut connection).await, ConnectionEvent::Message("hello".into()));
    drop(connection);
    agent.until(|world| world.connections.is_empty()).await;
}

#[tokio::test]
async fn a_connection_follows_its_container_and_says_so() {
    let coordinator = Fake::start(Role::Coordinator).await;
    let (old, new) = (Fake::start(Role::Agent).await, Fake::start(Role::Agent).await);
    coordinator.place("a", Some(&old), 1);
    old.place("a", None, 1);
    new.place("a", None, 2);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    let mut connection = soon(echo.connect()).await.unwrap();
    coordinator.place("a", Some(&new), 2);
    soon(old.stop()).await;
    let reconnected = ConnectionEvent::Reconnected { epoch: epoch(2) };
    loop {
        // Before the loss is known everywhere, the connection may find the
        // container through the coordinator first.
        if next(&mut connection).await == reconnected && new.saw("agent connect") > 0 {
            break;
        }
    }
    new.broadcast(2, "hello");
    assert_eq!(next(&mut connection).await, ConnectionEvent::Message("hello".into()));
}

#[tokio::test]
async fn a_proxied_connection_survives_a_restart_of_the_coordinator() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    let mut connection = soon(echo.connect()).await.unwrap();
    let world = Arc::clone(&coordinator.world);
    let address = soon(coordinator.stop()).await;
    world.lock().unwrap().connections.clear();
    let coordinator = Fake::start_at(&address, Role::Coordinator, world).await;
    let reconnected = ConnectionEvent::Reconnected { epoch: epoch(1) };
    assert_eq!(next(&mut connection).await, reconnected);
    coordinator.broadcast(1, "hello");
    assert_eq!(next(&mut connection).await, ConnectionEvent::Message("hello".into()));
}

#[tokio::test]
async fn what_a_client_had_in_a_session_that_somebody_else_took_is_made_again() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    let mut connection = soon(echo.connect()).await.unwrap();
    coordinator.cut(client.id()).await;
    let reconnected = ConnectionEvent::Reconnected { epoch: epoch(1) };
    assert_eq!(next(&mut connection).await, reconnected);
    coordinator.until(|world| world.seen.iter().any(|seen| seen == "reclaim a")).await;
}

#[tokio::test]
async fn an_asker_that_goes_away_leaves_neither_connection_nor_watch() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    coordinator.with(|world| world.slow = true);
    tokio::select! {
        biased;
        _ = echo.connect() => panic!("nobody answers"),
        _ = client.watch() => panic!("nobody answers"),
        () = coordinator.until(|world| world.unanswered.len() == 2) => {}
    }
    coordinator.with(|world| world.slow = false);
    coordinator
        .until(|world| {
            ["disconnect", "unwatch"].iter().all(|word| world.seen.iter().any(|seen| seen == word))
        })
        .await;
}

#[tokio::test]
async fn a_refused_connection_is_told() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.place("a", None, 1);
    let client = client(&[&coordinator]).await;
    let echo = soon(client.get("echo", by_uuid("a"))).await.unwrap();
    let refused = NetworkError::refused(ErrorKind::PermissionDenied, "no");
    coordinator.with(|world| world.failures = vec![refused.clone()]);
    assert_eq!(soon(echo.connect()).await.unwrap_err(), refused);
}

#[tokio::test]
async fn a_watch_begins_with_a_snapshot_and_asks_for_another_after_a_gap() {
    let coordinator = Fake::start(Role::Coordinator).await;
    coordinator.with(|world| world.revision = 4);
    let client = client(&[&coordinator]).await;
    let mut watch = soon(client.watch()).await.unwrap();
    let snapshot = |revision| WatchEvent::Snapshot(Snapshot { revision, ..Snapshot::default() });
    assert_eq!(soon(watch.next()).await, Some(snapshot(4)));
    let tell = |events| {
        coordinator.server.event(client.id(), Event::Network(events), bytes::Bytes::new()).unwrap();
    };
    tell(vec![change(4), change(5)]);
    assert_eq!(soon(watch.next()).await, Some(WatchEvent::Change(change(5))));
    coordinator.with(|world| world.revision = 7);
    tell(vec![change(7)]);
    assert_eq!(soon(watch.next()).await, Some(snapshot(7)));
    drop(watch);
    coordinator.until(|world| world.seen.last().is_some_and(|seen| seen == "unwatch")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_begins_as_the_client_joins_gets_one_snapshot() {
    let coordinator = Fake::start(Role::Coordinator).await;
    for _ in 0..50 {
        let client = client(&[&coordinator]).await;
        let mut watch = soon(client.watch()).await.unwrap();
        assert!(matches!(soon(watch.next()).await, Some(WatchEvent::Snapshot(_))));
        let (id, events) = (client.id(), Event::Network(vec![change(1)]));
        coordinator.server.event(id, events, bytes::Bytes::new()).unwrap();
        assert_eq!(soon(watch.next()).await, Some(WatchEvent::Change(change(1))));
    }
}

#[tokio::test]
async fn a_watch_survives_a_restart_of_the_coordinator() {
    let coordinator = Fake::start(Role::Coordinator).await;
    let client = client(&[&coordinator]).await;
    let mut watch = soon(client.watch()).await.unwrap();
    assert!(matches!(soon(watch.next()).await, Some(WatchEvent::Snapshot(_))));
    let world = Arc::clone(&coordinator.world);
    let address = soon(coordinator.stop()).await;
    world.lock().unwrap().revision = 2;
    let _coordinator = Fake::start_at(&address, Role::Coordinator, world).await;
    let fresh = Snapshot { revision: 2, ..Snapshot::default() };
    assert_eq!(soon(watch.next()).await, Some(WatchEvent::Snapshot(fresh)));
}
