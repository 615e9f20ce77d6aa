//! The events of real containers: within credit, by the policy of who listens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use bytes::Bytes;
use hulynet_bus::PeerEvent;
use hulynet_protocol::{Amount, Call, ConnectionId, ErrorKind, Event, Flow, Policy, Reply};
use support::{PATIENCE, World, split};

/// More than may wait for one connection.
const FLOOD: usize = 5_000;

fn named(name: &str) -> ConnectionId {
    ConnectionId::new(name).unwrap()
}

/// So many events, of any length.
fn credit(events: u64) -> Amount {
    Amount { events, bytes: u64::MAX }
}

fn taking(policy: Policy, events: u64) -> Flow {
    Flow { policy, heard: Amount::default(), credit: credit(events) }
}

async fn grant(world: &World, connection: &str, events: u64) -> Result<Reply, ErrorKind> {
    let call = Call::Credit { connection: named(connection), credit: credit(events) };
    let answer = world.client.call(call, Bytes::new(), PATIENCE).await;
    answer.map(|answer| answer.reply).map_err(|error| error.kind)
}

/// What comes next: how many events were dropped before, and the events.
async fn next(world: &mut World) -> (u64, Vec<Bytes>) {
    match world.heard().await {
        PeerEvent::Event { event, payload } => {
            let Event::Container { missed, .. } = &event else { panic!("{event:?}") };
            (*missed, split(&event, &payload))
        }
        other => panic!("expected events, heard {other:?}"),
    }
}

async fn flood(world: &World) {
    for number in 0..FLOOD {
        world.request("a", "broadcast", &number.to_string()).await.unwrap();
    }
}

#[tokio::test]
async fn no_more_events_come_than_their_listener_takes() {
    let mut world = World::new().await;
    world.start("a").await;
    // The container greets it first.
    world.connect_on("a", "c", taking(Policy::Disconnect, 3)).await.unwrap();
    for number in ["1", "2", "3", "4"] {
        world.request("a", "broadcast", number).await.unwrap();
    }
    let heard = [world.event().await, world.event().await, world.event().await];
    assert_eq!(heard, ["\"welcome\"", "1", "2"]);
    // What comes next is the answer to the grant, and not an event before it.
    assert_eq!(grant(&world, "c", 5).await, Ok(Reply::Done));
    assert_eq!([world.event().await, world.event().await], ["3", "4"]);
    assert_eq!(grant(&world, "nobody's", 5).await, Err(ErrorKind::UnknownContainer));
}

#[tokio::test]
async fn a_listener_that_needs_every_event_ends_with_an_error_when_it_takes_none() {
    let mut world = World::new().await;
    world.start("a").await;
    world.connect_on("a", "c", taking(Policy::Disconnect, 1)).await.unwrap();
    assert_eq!(next(&mut world).await, (0, vec!["\"welcome\"".into()]));
    flood(&world).await;
    match world.heard().await {
        PeerEvent::Request(request) => {
            let Call::Disconnected { connection, error: Some(error) } = &request.call else {
                panic!("{request:?}")
            };
            assert_eq!((connection, error.kind), (&named("c"), ErrorKind::Busy));
            assert!(error.message.contains("drop-oldest"), "{error}");
            request.responder.reply(Ok((Reply::Done, Bytes::new())));
        }
        other => panic!("expected the end of the connection, heard {other:?}"),
    }
    assert_eq!(grant(&world, "c", 9).await, Err(ErrorKind::UnknownContainer));
}

#[tokio::test]
async fn a_listener_that_needs_the_newest_events_is_told_of_each_that_it_missed() {
    let mut world = World::new().await;
    world.start("a").await;
    world.connect_on("a", "c", taking(Policy::DropOldest, 1)).await.unwrap();
    assert_eq!(next(&mut world).await, (0, vec!["\"welcome\"".into()]));
    flood(&world).await;
    assert_eq!(grant(&world, "c", u64::MAX).await, Ok(Reply::Done));
    let (missed, mut events) = next(&mut world).await;
    assert!(missed > 0, "nothing was dropped");
    while events.last().is_none_or(|last| last != (FLOOD - 1).to_string().as_str()) {
        let (more, rest) = next(&mut world).await;
        assert_eq!(more, 0);
        events.extend(rest);
    }
    assert_eq!(missed + events.len() as u64, FLOOD as u64);
    let first = usize::try_from(missed).unwrap();
    let expected: Vec<_> = (first..FLOOD).map(|number| number.to_string()).collect();
    assert_eq!(events, expected);
}
