//! From which addresses the door lets peers in, whatever language they speak.
//! On Linux, where all of 127.0.0.0/8 is on loopback.

#![cfg(target_os = "linux")]
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
use common::{
    LONG, call, client, echo, join, joined, original::Original, payload, serve_with, soon,
};
use hulynet_bus::{Bus, DoorConfig, Peer, Server};
use hulynet_protocol::{ErrorKind, Retry};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
};

const HERE: &str = "127.0.0.1";
const ELSEWHERE: &str = "127.0.0.2";
const ALIVE: Duration = Duration::from_secs(30);

/// An echo server that accepts connections from an address alone.
async fn house(accept: &str) -> (Bus, Server) {
    let bus = Bus::start("test").unwrap();
    let door = DoorConfig { accept: accept.parse().unwrap(), ..DoorConfig::default() };
    let (server, incoming) = serve_with(&bus, "127.0.0.1:0", door).await;
    tokio::spawn(echo(incoming));
    (bus, server)
}

async fn connect(from: &str, server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(server.local_addr()).await.unwrap()
}

async fn works(peer: &Peer) {
    let body = Bytes::from_static(b"still here");
    assert_eq!(payload(peer.call(call("echo"), body.clone(), LONG).await), body);
}

#[tokio::test]
async fn who_comes_from_elsewhere_is_closed_unheard_and_disturbs_nobody() {
    let (bus, server) = house(HERE).await;
    let (peer, mut events) = join(&bus, &server, "ann").await;
    joined(&mut events).await;
    let mut original = Original::join(&server, "ts", ALIVE).await;
    for refused in 1..=20 {
        let mut stranger = connect(ELSEWHERE, &server).await;
        let mut heard = Vec::new();
        soon(stranger.read_to_end(&mut heard)).await.unwrap();
        assert!(heard.is_empty(), "{heard:?}");
        assert_eq!(server.dropped().connections, refused);
    }
    works(&peer).await;
    original.send(&["5", "", "", ""]).await;
    assert_eq!(original.receive().await[0], "6");
    let (late, mut events) = join(&bus, &server, "bob").await;
    joined(&mut events).await;
    works(&late).await;
}

#[tokio::test]
async fn a_native_peer_from_elsewhere_is_told_that_nobody_lets_it_in() {
    let (bus, server) = house(ELSEWHERE).await;
    let (peer, _events) = join(&bus, &server, "ann").await;
    // It takes a moment to find out, and tries again and again.
    let told = async {
        loop {
            let error = peer.call_joined(call("echo"), Bytes::new(), LONG).await.unwrap_err();
            assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
            if error.message.contains("accepts none from here") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(told).await;
    assert!(server.dropped().connections > 0);
}

#[tokio::test]
async fn a_peer_of_the_original_is_let_in_from_where_native_ones_are() {
    let (_bus, server) = house(ELSEWHERE).await;
    let stranger = connect(HERE, &server).await;
    assert!(Original::over(stranger, "ts").await.is_none());
    let error = server.ask_original(&client("ts"), Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(server.dropped().connections, 1);

    let mut peer = Original::over(connect(ELSEWHERE, &server).await, "ts").await.unwrap();
    peer.hello(ALIVE).await;
    assert_eq!(peer.receive().await[0], "0");
    assert_eq!(server.dropped().connections, 1);
}
