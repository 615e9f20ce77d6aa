//! Flow control: a peer that stops reading costs its own bounded queue and
//! nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod common;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use common::{client, join, joined, line::Line, serve_with};
use hulynet_bus::{Bus, DoorConfig, PeerEvent};
use hulynet_protocol::{ConnectionId, Epoch, ErrorKind, Event};
use tokio::sync::Notify;

/// Those that read, and how much each is told.
const READERS: usize = 49;
const EVENTS: u64 = 480;
const SIZE: usize = 64 << 10;

/// Everything has ended by then, or hangs.
const PATIENCE: Duration = Duration::from_secs(120);

fn event(number: u64) -> Event {
    let epoch = Epoch { term: 0, counter: number };
    Event::single(ConnectionId::new("c").unwrap(), epoch)
}

#[tokio::test]
async fn one_stopped_subscriber_among_fifty_costs_its_own_queue_and_nothing_else() {
    // It is never closed, so what waited for it would wait for ever.
    let (stall, idle) = (Duration::MAX, Duration::MAX);
    let door = DoorConfig { stall, idle, ..DoorConfig::default() };
    let (near, far) = (Bus::start("near").unwrap(), Bus::start("far").unwrap());
    let (server, _incoming) = serve_with(&near, "127.0.0.1:0", door).await;

    let line = Line::to(server.local_addr()).await;
    let (_stopped, mut events) = line.join(&far, "stopped", Duration::from_secs(600));
    assert!(!joined(&mut events).await);
    line.stop();

    // Whoever reads makes room.
    let read = Arc::new(Notify::new());
    let mut reading = Vec::new();
    let mut peers = Vec::new();
    for number in 0..READERS {
        let (peer, mut events) = join(&far, &server, &format!("r{number}")).await;
        assert!(!joined(&mut events).await);
        peers.push(peer);
        let read = read.clone();
        reading.push(tokio::spawn(async move {
            let mut next = 0;
            while next < EVENTS {
                match events.recv().await {
                    Some(PeerEvent::Event { event: told, payload }) => {
                        assert_eq!((told, payload.len()), (event(next), SIZE));
                        next += 1;
                        read.notify_one();
                    }
                    other => panic!("{other:?}"),
                }
            }
        }));
    }

    let payload = Bytes::from(vec![7; SIZE]);
    let names: Vec<_> = (0..READERS).map(|number| client(&format!("r{number}"))).collect();
    let mut accepted = 0;
    let telling = async {
        for number in 0..EVENTS {
            for name in &names {
                while let Err(error) = server.event(name, event(number), payload.clone()) {
                    assert_eq!(error.kind, ErrorKind::Busy);
                    read.notified().await;
                }
            }
            match server.event(&client("stopped"), event(number), payload.clone()) {
                Ok(()) => accepted += SIZE,
                Err(error) => assert_eq!(error.kind, ErrorKind::Busy),
            }
        }
    };
    tokio::time::timeout(PATIENCE, telling).await.expect("the stopped one held the others up");
    for reader in reading {
        tokio::time::timeout(PATIENCE, reader).await.expect("it did not get all").unwrap();
    }
    // Its queue, and what the system keeps for two connections.
    assert!(accepted < EVENTS as usize * SIZE, "nothing was refused");
    assert!(accepted >= 16 << 20, "it was refused before its queue was full: {accepted}");
}
