//! What comes through the door, and what does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{LONG, call, client, echo, join, joined, payload, serve_with, soon};
use hulynet_bus::{Bus, DoorConfig, Peer, Server};
use hulynet_protocol::{
    ConnectionId, Epoch, ErrorKind, Event, Frame, Hello, Role,
    frame::{VERSION, feature},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

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

#[tokio::test]
async fn a_frame_header_that_announces_64_gib_costs_only_its_connection() {
    let (_bus, server, peer) = house(DoorConfig::default()).await;
    let giant = [&[2][..], &(64u64 << 30).to_be_bytes()].concat();
    let before_ready = [&greeting()[..], &giant].concat();
    assert_eq!(before_ready.len(), 73);
    closed(connect(&server, &before_ready).await).await;
    closed(connect(&server, &[&greeting()[..], READY, &giant].concat()).await).await;
    works(&peer).await;
}

#[tokio::test]
async fn silent_and_foreign_connections_are_closed() {
    let (_bus, server, peer) = house(impatient()).await;
    let silent = connect(&server, b"").await;
    let half = connect(&server, &greeting()[..20]).await;
    let unready = connect(&server, &greeting()).await;
    let foreign = connect(&server, b"GET / HTTP/1.1\r\n\r\n").await;
    let router = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER";
    let router = connect(&server, &[&greeting()[..], router].concat()).await;
    for connection in [silent, half, unready, foreign, router] {
        closed(connection).await;
    }
    works(&peer).await;
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
async fn the_originals_language_and_malformed_messages_are_counted() {
    let (_bus, server, peer) = house(DoorConfig::default()).await;
    let bytes = [&greeting()[..], READY, &message(b"5"), &message(b"\xa1\xff"), &message(b"x")];
    let mut stream = connect(&server, &bytes.concat()).await;
    admitted(&mut stream).await;
    let ping = Frame::Ping.encode().unwrap();
    stream.write_all(&message(&ping)).await.unwrap();
    let ask = message(&Frame::AskHello.encode().unwrap());
    let mut answer = vec![0; ask.len()];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, ask);
    let dropped = server.dropped();
    assert_eq!((dropped.original, dropped.malformed), (1, 2));
    works(&peer).await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_gets_busy_then_is_disconnected_while_others_work() {
    let (_bus, server, peer) = house(impatient()).await;
    let (client, role) = (client("slow"), Role::Client);
    let features = feature::ALL;
    let hello = Hello { version: VERSION, features, client, role, alive_timeout_ms: 10_000 };
    let hello = message(&Frame::Hello(hello).encode().unwrap());
    let mut slow = connect(&server, &[&greeting()[..], READY, &hello].concat()).await;
    admitted(&mut slow).await;
    let mut welcome = [0; 2];
    soon(slow.read_exact(&mut welcome)).await.unwrap();

    let slow_client = common::client("slow");
    let send = || {
        let connection = ConnectionId::new("c").unwrap();
        let event = Event::Container { connection, epoch: Epoch::default() };
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
    let gone = async {
        while send().is_ok_and(|()| true) || send().is_err_and(|e| e.kind == ErrorKind::Busy) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(gone).await;
    assert_eq!(send().unwrap_err().kind, ErrorKind::Unavailable);
    works(&peer).await;
}
