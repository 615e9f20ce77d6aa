//! What a program that listens takes, and what it is told.

use crate::fake::{Fake, by_uuid, client, epoch, soon};
use bytes::Bytes;
use futures::StreamExt;
use hulynet_client::{
    CONNECTION_EVENTS, Connection, ConnectionEvent, ConnectionId, ErrorKind, NetworkError, Policy,
    Subscription,
};
use hulynet_protocol::{Call, Event, Flow, Role, flow::join};

/// How many events share a message.
const TOGETHER: usize = 128;

struct World {
    // Both live as long as the test.
    _coordinator: Fake,
    agent: Fake,
    client: hulynet_client::Client,
}

impl World {
    async fn new() -> Self {
        let (coordinator, agent) =
            (Fake::start(Role::Coordinator).await, Fake::start(Role::Agent).await);
        coordinator.place("a", Some(&agent), 1);
        agent.place("a", None, 1);
        let client = client(&[&coordinator]).await;
        Self { _coordinator: coordinator, agent, client }
    }

    async fn connect(&self, policy: Policy) -> Connection {
        let echo = soon(self.client.get("echo", by_uuid("a"))).await.unwrap();
        soon(echo.subscribe(Subscription::new().policy(policy))).await.unwrap()
    }

    fn flow(&self, connection: &Connection) -> Flow {
        self.agent.with(|world| world.flows[connection.id()])
    }

    /// Sends events, some in each message.
    fn send(&self, id: &ConnectionId, missed: u64, count: usize) {
        let event = Bytes::from_static(b"event");
        let (lengths, payload) = join(&vec![event; TOGETHER]);
        for _ in 0..count / TOGETHER {
            let (connections, lengths) = (vec![id.clone()], lengths.clone());
            let event = Event::Container { connections, epoch: epoch(1), missed, lengths };
            self.agent.server.event(self.client.id(), event, payload.clone()).unwrap();
        }
    }
}

async fn take(connection: &mut Connection, count: usize) {
    for _ in 0..count {
        let event = soon(connection.next()).await.unwrap();
        assert_eq!(event, Ok(ConnectionEvent::Message("event".into())));
    }
}

#[tokio::test]
async fn a_program_grants_as_much_as_it_takes() {
    let world = World::new().await;
    let mut connection = world.connect(Policy::Disconnect).await;
    let Flow { policy, heard, credit } = world.flow(&connection);
    assert_eq!((policy, heard.events), (Policy::Disconnect, 0));
    assert_eq!(credit.events, CONNECTION_EVENTS as u64);
    let half = CONNECTION_EVENTS / 2;
    world.send(connection.id(), 0, CONNECTION_EVENTS);
    take(&mut connection, half - 1).await;
    assert!(world.agent.with(|world| world.credits.is_empty()));
    take(&mut connection, 1).await;
    let expected = (CONNECTION_EVENTS + half) as u64;
    world
        .agent
        .until(|world| {
            world.credits.get(connection.id()).is_some_and(|credit| credit.events == expected)
        })
        .await;
}

#[tokio::test]
async fn a_program_is_told_of_each_gap_in_its_place() {
    let world = World::new().await;
    let mut connection = world.connect(Policy::DropOldest).await;
    assert_eq!(world.flow(&connection).policy, Policy::DropOldest);
    world.send(connection.id(), 0, TOGETHER);
    world.send(connection.id(), 7, TOGETHER);
    take(&mut connection, TOGETHER).await;
    assert_eq!(soon(connection.next()).await, Some(Ok(ConnectionEvent::Missed(7))));
    take(&mut connection, TOGETHER).await;
}

#[tokio::test]
async fn a_connection_that_ended_for_want_of_room_ends_with_the_reason() {
    let world = World::new().await;
    let mut connection = world.connect(Policy::Disconnect).await;
    world.send(connection.id(), 0, TOGETHER);
    take(&mut connection, TOGETHER).await;
    let error = NetworkError::refused(ErrorKind::Busy, "there was no room");
    let ended =
        Call::Disconnected { connection: connection.id().clone(), error: Some(error.clone()) };
    let limit = crate::fake::LIMIT;
    world.agent.server.call(world.client.id(), ended, Bytes::new(), limit).await.unwrap();
    assert_eq!(soon(connection.next()).await, Some(Err(error)));
    assert_eq!(soon(connection.next()).await, None);
    assert_eq!(world.agent.saw("agent connect"), 1);
}

#[tokio::test]
async fn a_connection_that_the_agent_forgot_is_made_again_and_goes_on_counting() {
    let world = World::new().await;
    let mut connection = world.connect(Policy::Disconnect).await;
    world.send(connection.id(), 0, CONNECTION_EVENTS);
    world.agent.with(|world| world.connections.clear());
    // The grant after the first half finds nobody; the rest is on its way.
    let (mut messages, mut reconnected) = (0, false);
    while messages < CONNECTION_EVENTS || !reconnected {
        match soon(connection.next()).await.unwrap().unwrap() {
            ConnectionEvent::Message(_) => messages += 1,
            other => {
                assert_eq!(other, ConnectionEvent::Reconnected { epoch: epoch(1) });
                reconnected = true;
            }
        }
    }
    let Flow { heard, credit, .. } = world.flow(&connection);
    let half = CONNECTION_EVENTS as u64 / 2;
    assert!(heard.events >= half, "{heard:?}");
    assert!(credit.events >= 3 * half && credit.events <= 4 * half, "{credit:?}");
}

#[tokio::test]
async fn events_that_cannot_be_told_apart_are_a_gap() {
    let world = World::new().await;
    let mut connection = world.connect(Policy::Disconnect).await;
    let (connections, lengths) = (vec![connection.id().clone()], vec![1, 300]);
    let event = Event::Container { connections, epoch: epoch(1), missed: 0, lengths };
    world.agent.server.event(world.client.id(), event, Bytes::from_static(b"short")).unwrap();
    let reconnected = ConnectionEvent::Reconnected { epoch: epoch(1) };
    assert_eq!(soon(connection.next()).await, Some(Ok(reconnected)));
}
