//! What comes through the door, and what does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::{LONG, call, client, echo, join, joined, payload, serve_with, soon};
use hulynet_bus::{Bus, DoorConfig, Incoming, Peer, Server};
use hulynet_protocol::{
    ConnectionId, Epoch, ErrorKind, Event, Frame, Hello, Role,
    frame::{VERSION, feature},
    limits::PAYLOAD_BYTES,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tracing::{Level, Metadata, span};

const READY: &[u8] = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER";

fn impatient() -> DoorConfig {
    DoorConfig {
        handshake: Duration::from_millis(200),
        stall: Duration::from_millis(300),
        ..DoorConfig::default()
    }
}

/// An echo server and a peer that must go on working.
async fn house(door: DoorConfig) -> (Bus, Server, Peer) {
    let bus = Bus::start("test").unwrap();
    let (server, incoming) = serve_with(&bus, "127.0.0.1:0", door).await;
    tokio::spawn(echo(incoming));
    let (peer, mut events) = join(&bus, &server, "ann").await;
    joined(&mut events).await;
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    (bus, server, peer)
}

async fn works(peer: &Peer) {
    let body = Bytes::from_static(b"still here");
    assert_eq!(payload(peer.call(call("echo"), body.clone(), LONG).await), body);
}

fn greeting() -> Vec<u8> {
    let mut greeting = vec![0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

async fn connect(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Reads until the server closes, which it must.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _end = soon(stream.read_to_end(&mut rest)).await;
}

/// Reads the server's greeting and READY.
async fn admitted(stream: &mut TcpStream) {
    let mut greeting = [0; 64];
    soon(stream.read_exact(&mut greeting)).await.unwrap();
    let mut header = [0; 2];
    soon(stream.read_exact(&mut header)).await.unwrap();
    let mut ready = vec![0; header[1].into()];
    soon(stream.read_exact(&mut ready)).await.unwrap();
    assert!(ready.starts_with(b"\x05READY"));
}

fn message(header: &[u8]) -> Vec<u8> {
    [&[0, u8::try_from(header.len()).unwrap()], header].concat()
}

fn hello(name: &str) -> Vec<u8> {
    let (client, role) = (client(name), Role::Client);
    let (version, features) = (VERSION, feature::ALL);
    let (run, alive_timeout_ms, nonce, proof) = (1, 10_000, None, None);
    let hello = Hello { version, features, client, run, role, alive_timeout_ms, nonce, proof };
    message(&Frame::Hello(hello).encode().unwrap())
}

/// A connection whose peer said hello and was welcomed.
async fn guest(server: &Server, name: &str) -> TcpStream {
    let mut stream = connect(server, &[&greeting()[..], READY, &hello(name)].concat()).await;
    admitted(&mut stream).await;
    let mut header = [0; 2];
    soon(stream.read_exact(&mut header)).await.unwrap();
    let mut welcome = vec![0; header[1].into()];
    soon(stream.read_exact(&mut welcome)).await.unwrap();
    assert!(matches!(Frame::decode(&welcome), Ok(Frame::Welcome(_))));
    stream
}

#[tokio::test]
async fn a_frame_header_that_announces_64_gib_costs_only_its_connection() {
    let (_bus, server, peer) = house(DoorConfig::default()).await;
    let giant = [&[2][..], &(64u64 << 30).to_be_bytes()].concat();
    let before_ready = [&greeting()[..], &giant].concat();
    assert_eq!(before_ready.len(), 73);
    closed(connect(&server, &before_ready).await).await;
    closed(connect(&server, &[&greeting()[..], READY, &giant].concat()).await).await;
    // Whoever said hello may send larger ones, and not of any length or number.
    for beyond in [giant, [1, 0].repeat(100), [&[1, 1, 0][..], &giant_payload()].concat()] {
        let mut guest = guest(&server, "guest").await;
        guest.write_all(&beyond).await.unwrap();
        closed(guest).await;
    }
    works(&peer).await;
    assert_eq!(server.dropped().connections, 5);
}

/// One byte more than a payload may have.
fn giant_payload() -> Vec<u8> {
    [&[2][..], &(PAYLOAD_BYTES as u64 + 1).to_be_bytes()].concat()
}

#[tokio::test]
async fn silent_and_foreign_connections_are_closed() {
    let (_bus, server, peer) = house(impatient()).await;
    let mut curve = greeting();
    curve[12..17].copy_from_slice(b"CURVE");
    let curve = connect(&server, &curve).await;
    let silent = connect(&server, b"").await;
    let half = connect(&server, &greeting()[..20]).await;
    let unready = connect(&server, &greeting()).await;
    let foreign = connect(&server, b"GET / HTTP/1.1\r\n\r\n").await;
    let router = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER";
    let router = connect(&server, &[&greeting()[..], router].concat()).await;
    for connection in [curve, silent, half, unready, foreign, router] {
        closed(connection).await;
    }
    works(&peer).await;
    assert_eq!(server.dropped().connections, 6);
}

/// Counts the lines of a log, warnings and worse.
struct Lines(Arc<AtomicU64>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("hulynet")
    }

    fn event(&self, _event: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}
    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}
    fn enter(&self, _span: &span::Id) {}
    fn exit(&self, _span: &span::Id) {}
}

#[tokio::test]
async fn every_refused_connection_is_counted_and_few_are_logged() {
    const MANY: u64 = 200;
    let lines = Arc::default();
    let _log = tracing::subscriber::set_default(Lines(Arc::clone(&lines)));
    // On the thread whose log this is.
    let (server, _incoming) =
        serve_with(&Bus::current(), "127.0.0.1:0", DoorConfig::default()).await;
    for _ in 0..MANY {
        closed(connect(&server, b"GET / HTTP/1.1\r\n\r\n").await).await;
    }
    assert_eq!(server.dropped().connections, MANY);
    let lines = lines.load(Ordering::Relaxed);
    assert!((1..MANY / 10).contains(&lines), "{lines} lines");
}

#[tokio::test]
async fn random_bytes_harm_nobody() {
    let (_bus, server, peer) = house(impatient()).await;
    // A generator with a fixed seed, so that a failure can be repeated.
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    for round in 0..60 {
        let mut bytes = match round % 3 {
            0 => Vec::new(),
            1 => greeting(),
            _ => [&greeting()[..], READY].concat(),
        };
        bytes.extend((0..200).map(|_| random()));
        let stream = connect(&server, &bytes).await;
        drop(stream);
    }
    works(&peer).await;
}

#[tokio::test]
async fn a_connection_over_the_limit_is_closed() {
    let (_bus, server, peer) = house(DoorConfig { connections: 2, ..impatient() }).await;
    let mut second = connect(&server, &[&greeting()[..], READY].concat()).await;
    admitted(&mut second).await;
    closed(connect(&server, b"").await).await;
    works(&peer).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let door = DoorConfig { idle: Duration::from_millis(100), ..DoorConfig::default() };
    let bus = Bus::start("test").unwrap();
    let (server, _incoming) = serve_with(&bus, "127.0.0.1:0", door).await;
    let mut idle = connect(&server, &[&greeting()[..], READY].concat()).await;
    admitted(&mut idle).await;
    closed(idle).await;
}

#[tokio::test]
async fn a_zmtp_ping_is_answered_by_the_door() {
    let (_bus, server, _peer) = house(DoorConfig::default()).await;
    let ping = b"\x04\x09\x04PING\x00\x10hi";
    let mut stream = connect(&server, &[&greeting()[..], READY, ping].concat()).await;
    admitted(&mut stream).await;
    let mut pong = [0; 9];
    soon(stream.read_exact(&mut pong)).await.unwrap();
    assert_eq!(&pong, b"\x04\x07\x04PONGhi");
}

#[tokio::test]
async fn malformed_messages_of_either_language_are_counted() {
    let (_bus, server, peer) = house(DoorConfig::default()).await;
    let bytes = [&greeting()[..], READY, &message(b"55"), &message(b"\xa1\xff"), &message(b"x")];
    let mut stream = connect(&server, &bytes.concat()).await;
    admitted(&mut stream).await;
    let ping = Frame::Ping { acknowledged: 0 }.encode().unwrap();
    stream.write_all(&message(&ping)).await.unwrap();
    let ask = message(&Frame::AskHello.encode().unwrap());
    let mut answer = vec![0; ask.len()];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, ask);
    let dropped = server.dropped();
    assert_eq!(dropped.malformed, 3);
    works(&peer).await;
}

#[tokio::test]
async fn who_does_not_say_hello_in_time_is_closed() {
    let door = DoorConfig { hello: Duration::from_millis(100), ..DoorConfig::default() };
    let (_bus, server, peer) = house(door).await;
    let mut stranger = connect(&server, &[&greeting()[..], READY].concat()).await;
    admitted(&mut stranger).await;
    closed(stranger).await;
    works(&peer).await;
}

#[tokio::test]
async fn many_silent_connections_keep_nobody_out_and_only_some_are_kept() {
    const KEPT: usize = 16;
    let (bus, server, peer) = house(DoorConfig { strangers: KEPT, ..DoorConfig::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(connect(&server, b"").await);
    }
    let (other, mut events) = join(&bus, &server, "bob").await;
    joined(&mut events).await;
    works(&other).await;
    works(&peer).await;
    let early = silent.drain(..200 - KEPT);
    for connection in early {
        closed(connection).await;
    }
    // One made room for the peer that joined.
    assert_eq!(server.dropped().connections, 200 - KEPT as u64 + 1);
}

#[tokio::test]
async fn a_large_frame_before_hello_costs_its_connection() {
    let (_bus, server, peer) = house(DoorConfig::default()).await;
    let large = [&[2][..], &(65_537u64).to_be_bytes()].concat();
    closed(connect(&server, &[&greeting()[..], READY, &large].concat()).await).await;
    let mut guest = guest(&server, "carl").await;
    guest.write_all(&large).await.unwrap();
    guest.write_all(&vec![0; 65_537]).await.unwrap();
    // It is malformed, and no more than that.
    soon(async {
        while server.dropped().malformed == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    works(&peer).await;
}

#[tokio::test]
async fn messages_that_never_end_are_bounded_together() {
    let door = DoorConfig { unfinished: 1 << 20, ..DoorConfig::default() };
    let (_bus, server, peer) = house(door).await;
    let begun = [&[2][..], &(16u64 << 20).to_be_bytes()].concat();
    let mut guests = Vec::new();
    for name in ["a", "b", "c"] {
        let mut guest = guest(&server, name).await;
        guest.write_all(&begun).await.unwrap();
        // The door may close it in the middle.
        let _closed = guest.write_all(&vec![0; 600_000]).await;
        guests.push(guest);
    }
    soon(async {
        while server.dropped().connections == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    works(&peer).await;
}

#[tokio::test]
async fn a_flood_of_hellos_ends_its_connection_and_disturbs_nobody() {
    let (_bus, server, peer) = house(DoorConfig::default()).await;
    let mut flood = guest(&server, "flood").await;
    let hellos = hello("flood").repeat(1000);
    let _closed = flood.write_all(&hellos).await;
    works(&peer).await;
    closed(flood).await;
    assert_eq!(server.dropped().connections, 1);
}

#[tokio::test]
async fn a_flood_of_malformed_messages_ends_its_connection() {
    let (_bus, server, peer) = house(DoorConfig::default()).await;
    let mut flood = guest(&server, "flood").await;
    let _closed = flood.write_all(&message(b"\xa1\xff").repeat(1000)).await;
    closed(flood).await;
    works(&peer).await;
    assert!(server.dropped().malformed >= 128);
}

#[tokio::test]
async fn a_quiet_peer_is_served_beside_a_flooder() {
    let (_bus, server, peer) = house(DoorConfig::default()).await;
    let mut flood = guest(&server, "flood").await;
    let flooding = tokio::spawn(async move {
        let pings = message(&Frame::Ping { acknowledged: 0 }.encode().unwrap()).repeat(500);
        let mut pongs = vec![0; 64 * 1024];
        let (mut read, mut write) = flood.split();
        let answers = async { while matches!(read.read(&mut pongs).await, Ok(1..)) {} };
        let asks = async { while write.write_all(&pings).await.is_ok() {} };
        tokio::join!(answers, asks);
    });
    for _ in 0..20 {
        works(&peer).await;
    }
    assert!(!flooding.is_finished());
    flooding.abort();
}

#[tokio::test]
async fn a_peer_that_takes_nothing_gets_busy_then_is_disconnected_while_others_work() {
    let bus = Bus::start("test").unwrap();
    let (server, mut incoming) = serve_with(&bus, "127.0.0.1:0", impatient()).await;
    let (hears, heard) = mpsc::channel(64);
    tokio::spawn(echo(heard));
    let (left, gone) = oneshot::channel();
    tokio::spawn(async move {
        let mut left = Some(left);
        while let Some(incoming) = incoming.recv().await {
            if matches!(&incoming, Incoming::Left { peer, .. } if *peer == client("slow")) {
                left.take().unwrap().send(()).unwrap();
            }
            hears.send(incoming).await.unwrap();
        }
    });
    let (peer, mut events) = join(&bus, &server, "ann").await;
    joined(&mut events).await;
    let _slow = guest(&server, "slow").await;

    let slow_client = client("slow");
    let send = || {
        let connection = ConnectionId::new("c").unwrap();
        let event = Event::single(connection, Epoch::default());
        server.event(&slow_client, event, Bytes::from(vec![0; 1 << 20]))
    };
    let error = loop {
        match send() {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::Busy);
    works(&peer).await;
    soon(gone).await.unwrap();
    assert_eq!(send().unwrap_err().kind, ErrorKind::Unavailable);
    works(&peer).await;
}
