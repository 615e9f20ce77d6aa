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

/// How often the rates with and without one that does not read are compared,
/// and over how many events.
const ROUNDS: usize = 9;
const ROUND: usize = 1_500;

/// Requests under way at once.
const IN_FLIGHT: usize = 16;

/// What may wait for one listener, here and there, in bytes.
const WAITING: usize = 20 << 20;

/// That, and as much for what the system and the allocator keep.
const BOUND: u64 = 2 * WAITING as u64;

async fn member(network: &Network) -> Client {
    Client::connect([&*network.address]).await.unwrap()
}

async fn hold(client: &Client, uuid: &str) -> Reference {
    let options = GetOptions { uuid: Uuid::new(uuid).ok(), ..GetOptions::default() };
    client.get("echo", options).await.unwrap()
}

async fn listen(reference: &Reference, policy: Policy) -> Connection {
    reference.subscribe(Subscription::new().policy(policy)).await.unwrap()
}

/// The number of an event of the flood; nothing for the greeting.
fn number(event: &Bytes) -> Option<usize> {
    std::str::from_utf8(event.get(..8)?).ok()?.parse().ok()
}

/// A container and those who take all that it broadcasts.
struct Stage {
    container: Reference,
    readers: Vec<Connection>,
    /// All events so far, in the order in which they came.
    order: Vec<usize>,
}

impl Stage {
    async fn new(audience: &[Client], uuid: &str) -> Self {
        let container = hold(&audience[0], uuid).await;
        let listen = async |client| listen(&hold(client, uuid).await, Policy::Disconnect).await;
        let readers = join_all(audience.iter().map(listen)).await;
        Self { container, readers, order: Vec::new() }
    }

    /// Broadcasts so many, and waits until all have them, each once. Requests
    /// that are under way at once may overtake one another, but for all
    /// listeners alike: the order.
    async fn flood(&mut self, count: usize) -> Duration {
        let began = Instant::now();
        let container = &self.container;
        let first = self.order.len();
        let tell = |number| {
            let payload = format!("{number:08}{}", "x".repeat(SIZE));
            async move { container.request("broadcast", payload).await.unwrap() }
        };
        let numbers = stream::iter(first..first + count);
        let telling = numbers.map(tell).buffered(IN_FLIGHT).for_each(async |_| {});
        let taking = join_all(self.readers.iter_mut().map(|reader| take(reader, count)));
        let both = async { tokio::join!(telling, taking).1 };
        let orders = tokio::time::timeout(PATIENCE, both).await.expect("they were held up");
        let took = began.elapsed();
        assert!(orders.iter().all(|other| *other == orders[0]));
        let all: BTreeSet<_> = orders[0].iter().copied().collect();
        assert_eq!(all, (first..first + count).collect(), "each once");
        self.order.extend(&orders[0]);
        took
    }
}

/// Takes so many events; in which order they came.
async fn take(connection: &mut Connection, count: usize) -> Vec<usize> {
    let mut order = Vec::new();
    while order.len() < count {
        match connection.next().await.unwrap().unwrap() {
            ConnectionEvent::Message(event) => order.extend(number(&event)),
            other => panic!("{other:?}"),
        }
    }
    order
}

/// The rates are compared in turns, because all share a machine that has other
/// work too: what slows one round down mostly slows its neighbour down as well.
#[tokio::test]
async fn one_stopped_listener_among_fifty_costs_its_own_queue_and_nothing_else() {
    let network = Network::start(1, &["echo"]);
    let agent = &network.agents[0].process;
    let audience = join_all((0..READERS).map(|_| member(&network))).await;
    let mut alone = Stage::new(&audience, "alone").await;
    let mut beside = Stage::new(&audience, "beside").await;
    alone.flood(EVENTS).await;
    let before = agent.memory();

    let lazy = member(&network).await;
    let mut newest = listen(&hold(&lazy, "beside").await, Policy::DropOldest).await;
    beside.flood(EVENTS).await;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let (alone, beside) = (alone.flood(ROUND).await, beside.flood(ROUND).await);
        ratios.push(beside.as_secs_f64() / alone.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    eprintln!("how much longer 49 take beside one that does not read: {ratios:.2?}");
    let usual = ratios[ROUNDS / 2];
    assert!(usual < 1.5, "it costs the others {usual:.2} times their time");
    if let (Some(before), Some(after)) = (before, agent.memory()) {
        eprintln!("the agent had {} KiB and has {} KiB", before >> 10, after >> 10);
        assert!(after < before + BOUND, "{after} bytes instead of {before}");
    }

    // It gets what there was room for, and is told what it missed.
    let (order, mut took, mut missed) = (beside.order, 0, 0);
    while took + missed < order.len() {
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
    assert!(took * SIZE <= WAITING, "{took} events waited for it");
}

#[tokio::test]
async fn a_listener_that_needs_every_event_gets_all_up_to_its_end() {
    let network = Network::start(1, &["echo"]);
    let reader = [member(&network).await];
    let mut stage = Stage::new(&reader, "a").await;
    let mut every = listen(&stage.container, Policy::Disconnect).await;
    stage.flood(EVENTS).await;
    let order = stage.order;
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
}
