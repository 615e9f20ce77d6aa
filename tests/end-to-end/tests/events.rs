//! Who does not read costs its own queue and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use end_to_end::{Network, PATIENCE};
use futures::{StreamExt, future::join_all, stream};
use hulynet_client::{
    Client, Connection, ConnectionEvent, ErrorKind, GetOptions, Policy, Reference, Subscription,
    Uuid,
};

/// Those that read.
const READERS: usize = 49;

/// Together much more than may wait for anybody.
const EVENTS: usize = 6_000;
const SIZE: usize = 4 << 10;

/// Requests under way at once.
const IN_FLIGHT: usize = 16;

/// What may wait for one listener, here and there, and as much for what the
/// system and the allocator keep.
const BOUND: u64 = 2 * (20 << 20);

async fn member(network: &Network) -> (Client, Reference) {
    let client = Client::connect([&*network.address]).await.unwrap();
    let options = GetOptions { uuid: Uuid::new("a").ok(), ..GetOptions::default() };
    let reference = client.get("echo", options).await.unwrap();
    (client, reference)
}

async fn listen(reference: &Reference, policy: Policy) -> Connection {
    reference.subscribe(Subscription::new().policy(policy)).await.unwrap()
}

/// The number of an event of the flood; nothing for the greeting.
fn number(event: &Bytes) -> Option<usize> {
    std::str::from_utf8(event.get(..8)?).ok()?.parse().ok()
}

/// Takes the whole flood; in which order it came.
async fn take_all(mut connection: Connection) -> (Connection, Vec<usize>) {
    let mut order = Vec::new();
    while order.len() < EVENTS {
        match connection.next().await.unwrap().unwrap() {
            ConnectionEvent::Message(event) => order.extend(number(&event)),
            other => panic!("{other:?}"),
        }
    }
    (connection, order)
}

/// Broadcasts all, and waits until all have it. Requests that are under way at
/// once may overtake one another, but for all listeners alike: the order.
async fn flood(
    container: &Reference,
    readers: Vec<Connection>,
) -> (Vec<Connection>, Vec<usize>, Duration) {
    let began = Instant::now();
    let tell = |number| {
        let payload = format!("{number:08}{}", "x".repeat(SIZE));
        async move { container.request("broadcast", payload).await.unwrap() }
    };
    let telling = stream::iter(0..EVENTS).map(tell).buffered(IN_FLIGHT).for_each(async |_| {});
    let taking = join_all(readers.into_iter().map(take_all));
    let both = async { tokio::join!(telling, taking).1 };
    let taken = tokio::time::timeout(PATIENCE, both).await.expect("they were held up");
    let (readers, orders): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
    let order = orders[0].clone();
    assert!(orders.iter().all(|other| *other == order));
    assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), EVENTS, "each once");
    (readers, order, began.elapsed())
}

#[tokio::test]
async fn one_stopped_listener_among_fifty_costs_its_own_queue_and_nothing_else() {
    let network = Network::start(1, &["echo"]);
    let agent = &network.agents[0].process;
    let (client, container) = member(&network).await;
    let members = join_all((0..READERS).map(|_| member(&network))).await;
    let readers = members.iter().map(|(_, reference)| listen(reference, Policy::Disconnect));
    let readers = join_all(readers).await;
    let (readers, _, alone) = flood(&container, readers).await;
    let before = agent.memory();

    let (_lazy_client, lazy) = member(&network).await;
    let mut newest = listen(&lazy, Policy::DropOldest).await;
    let (readers, order, beside) = flood(&container, readers).await;
    eprintln!("49 readers took {alone:.1?} alone and {beside:.1?} beside one that does not read");
    assert!(beside < 3 * alone, "{beside:?} instead of {alone:?}");
    if let (Some(before), Some(after)) = (before, agent.memory()) {
        eprintln!("the agent had {} KiB and has {} KiB", before >> 10, after >> 10);
        assert!(after < before + BOUND, "{after} bytes instead of {before}");
    }

    // It gets what there was room for, and is told what it missed.
    let (mut took, mut missed) = (0, 0);
    while took + missed < EVENTS {
        match newest.next().await.unwrap().unwrap() {
            ConnectionEvent::Message(event) => {
                if let Some(number) = number(&event) {
                    assert_eq!(number, order[took + missed]);
                    took += 1;
                }
            }
            ConnectionEvent::Missed(count) => missed += usize::try_from(count).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    assert!(took > 0 && missed > 0, "{took} taken, {missed} missed");
    drop(readers);
    client.close(PATIENCE).await;
}

#[tokio::test]
async fn a_listener_that_needs_every_event_gets_all_up_to_its_end() {
    let network = Network::start(1, &["echo"]);
    let (client, container) = member(&network).await;
    let mut every = listen(&container, Policy::Disconnect).await;
    let reader = listen(&container, Policy::Disconnect).await;
    let (_reader, order, _) = flood(&container, vec![reader]).await;
    let mut expected = 0;
    let error = loop {
        match every.next().await.unwrap() {
            Ok(ConnectionEvent::Message(event)) => {
                if let Some(number) = number(&event) {
                    assert_eq!(number, order[expected]);
                    expected += 1;
                }
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(expected > 0 && expected < EVENTS, "{expected}");
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.message.contains("drop-oldest"), "{error}");
    assert!(every.next().await.is_none());
    client.close(PATIENCE).await;
}
