//! A server is no more trusted than a client: what it sends costs its own
//! connection and nothing else.

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
use common::{LONG, call, client, echo, joined, payload, serve, soon};
use hulynet_bus::{Bus, PeerConfig};
use hulynet_protocol::{ErrorKind, Retry, Role};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const READY: &[u8] = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER";

fn greeting() -> Vec<u8> {
    let mut greeting = vec![0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

/// Answers each connection with these bytes, and counts those that came.
async fn hostile(bytes: Vec<u8>) -> (String, tokio::sync::watch::Receiver<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (count, counted) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.send_modify(|count| *count += 1);
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let _gone = stream.write_all(&bytes).await;
                let mut heard = vec![0; 1024];
                while matches!(stream.read(&mut heard).await, Ok(1..)) {}
            });
        }
    });
    (address, counted)
}

async fn is_survived(bytes: Vec<u8>) {
    let bus = Bus::start("test").unwrap();
    let (address, mut counted) = hostile(bytes).await;
    let (peer, _events) = bus.connect(&address, PeerConfig::new(client("ann"), Role::Client));
    // It comes back again and again, so it was closed and not stuck.
    soon(counted.wait_for(|&count| count >= 2)).await.unwrap();
    let error = peer.call(call("x"), Bytes::new(), Duration::from_millis(10)).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
    assert!(error.message.contains(&address), "{error}");
    // Others on the same thread go on.
    let (server, incoming) = serve(&bus, "127.0.0.1:0").await;
    tokio::spawn(echo(incoming));
    let (other, mut events) = common::join(&bus, &server, "bob").await;
    joined(&mut events).await;
    let body = Bytes::from_static(b"x");
    assert_eq!(payload(other.call(call("x"), body.clone(), LONG).await), body);
}

#[tokio::test]
async fn a_server_that_announces_64_gib_costs_only_its_connection() {
    let giant = [&[2][..], &(64u64 << 30).to_be_bytes()].concat();
    is_survived([&greeting()[..], &giant].concat()).await;
    is_survived([&greeting()[..], READY, &giant].concat()).await;
}

#[tokio::test]
async fn a_server_of_another_protocol_or_socket_is_left() {
    is_survived(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await;
    let publisher = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB";
    is_survived([&greeting()[..], publisher].concat()).await;
}

#[tokio::test]
async fn a_server_that_sends_nonsense_is_left() {
    is_survived([&greeting()[..], READY, b"\x00\x02\xa1\xff"].concat()).await;
    is_survived([&greeting()[..], READY, b"\x01\x00\x01\x00\x01\x00\x01\x00\x01\x00"].concat())
        .await;
    is_survived([&greeting()[..], READY, &[0xff; 64]].concat()).await;
}
