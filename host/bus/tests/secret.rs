//! A network with a secret: who proves to have it is served, and nobody else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod common;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use common::{
    LONG, call, client, echo, joined, line::Line, original::Original, payload, serve_with, soon,
};
use hulynet_bus::{Bus, DoorConfig, Peer, PeerConfig, PeerEvent, Secret, Server};
use hulynet_protocol::{
    ErrorKind, Frame, Hello, NetworkError, Retry, Role, ServerId, Welcome,
    frame::{Nonce, Proof, VERSION, feature},
};
use tokio::sync::mpsc::Receiver;
use zeromq::{DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

const OURS: &str = "correct horse battery";
const THEIRS: &str = "correct horse battery staple";
const ALIVE: Duration = Duration::from_secs(30);

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes()).unwrap()
}

fn door(text: Option<&str>) -> DoorConfig {
    DoorConfig { secret: text.map(secret), ..DoorConfig::default() }
}

/// An echo server.
async fn house(door: DoorConfig) -> (Bus, Server) {
    let bus = Bus::start("test").unwrap();
    let (server, incoming) = serve_with(&bus, "127.0.0.1:0", door).await;
    tokio::spawn(echo(incoming));
    (bus, server)
}

fn join(bus: &Bus, address: &str, name: &str, text: Option<&str>) -> (Peer, Receiver<PeerEvent>) {
    let config = PeerConfig::new(client(name), Role::Client);
    bus.connect(address, PeerConfig { secret: text.map(secret), ..config })
}

async fn works(peer: &Peer) {
    let body = Bytes::from_static(b"still here");
    assert_eq!(payload(peer.call(call("echo"), body.clone(), LONG).await), body);
}

/// Why a peer is refused; it must not join.
async fn refused(events: &mut Receiver<PeerEvent>) -> NetworkError {
    match soon(events.recv()).await {
        Some(PeerEvent::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// A peer of ours, frame by frame.
struct Raw(DealerSocket);

impl Raw {
    async fn connect(server: &Server) -> Self {
        let mut socket = DealerSocket::new();
        socket.connect(&format!("tcp://{}", server.local_addr())).await.unwrap();
        Self(socket)
    }

    async fn send(&mut self, frame: &Frame) {
        let message = ZmqMessage::from(frame.encode().unwrap());
        // Whether it arrives shows in the answer.
        let _gone = soon(self.0.send(message)).await;
    }

    async fn receive(&mut self) -> Frame {
        Frame::decode(soon(self.0.recv()).await.unwrap().get(0).unwrap()).unwrap()
    }

    async fn hello(&mut self, proof: Option<Proof>) -> Frame {
        self.send(&Frame::Hello(hello(Some([7; 16]), proof))).await;
        self.receive().await
    }

    async fn challenged(&mut self) -> Nonce {
        match self.hello(None).await {
            Frame::Challenge(nonce) => nonce,
            other => panic!("{other:?}"),
        }
    }
}

fn hello(nonce: Option<Nonce>, proof: Option<Proof>) -> Hello {
    let (version, features, role) = (VERSION, feature::ALL, Role::Client);
    let (client, run, alive_timeout_ms) = (client("raw"), 1, 10_000);
    Hello { version, features, client, run, role, alive_timeout_ms, nonce, proof }
}

/// Waits until the first connection was closed.
async fn closes(server: &Server) {
    soon(async {
        while server.dropped().connections == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.dropped().connections, 1);
}

/// What is wrong with a hello is final and names the setting.
fn is_refusal(frame: &Frame) -> bool {
    matches!(frame, Frame::Refused(error) if is_final(error))
}

fn is_final(error: &NetworkError) -> bool {
    (error.kind, error.retry) == (ErrorKind::PermissionDenied, Retry::Final)
        && error.message.contains("secret-file")
}

#[tokio::test]
async fn who_has_the_secret_joins_and_who_has_another_or_none_is_told_and_disturbs_nobody() {
    let (bus, server) = house(door(Some(OURS))).await;
    let address = server.local_addr().to_string();
    let (peer, mut events) = join(&bus, &address, "ann", Some(OURS));
    assert!(!joined(&mut events).await);
    works(&peer).await;
    for (name, wrong) in [("eve", None), ("mal", Some(THEIRS)), ("ann", Some(THEIRS))] {
        let (stranger, mut told) = join(&bus, &address, name, wrong);
        let error = stranger.call(call("echo"), Bytes::new(), LONG).await.unwrap_err();
        assert!(is_final(&error), "{name}: {error:?}");
        assert_eq!(refused(&mut told).await, error);
    }
    assert!(server.dropped().misplaced >= 3, "{:?}", server.dropped());
    works(&peer).await;
    assert!(events.try_recv().is_err(), "the peer that has it was disturbed");
}

#[tokio::test]
async fn who_comes_back_proves_it_anew() {
    let (bus, server) = house(door(Some(OURS))).await;
    let line = Line::to(server.local_addr()).await;
    let (peer, mut events) = join(&bus, &line.address.to_string(), "ann", Some(OURS));
    assert!(!joined(&mut events).await);
    for _ in 0..3 {
        line.cut();
        assert!(joined(&mut events).await);
        works(&peer).await;
    }
    // A peer that the server forgot says hello on the connection that it has.
    server.forget(&client("ann"));
    works(&peer).await;
    assert_eq!(server.dropped().misplaced, 0);
}

#[tokio::test]
async fn an_overheard_proof_is_worth_nothing() {
    let (bus, server) = house(door(Some(OURS))).await;
    // What goes by on the way to the server is kept.
    let heard = Overheard::default();
    let proxy = heard.listen(server.local_addr()).await;
    let (peer, mut events) = join(&bus, &proxy, "raw", Some(OURS));
    joined(&mut events).await;
    peer.close(LONG).await;
    let (nonce, proof) = heard.proof();

    // As it was, on another connection that was challenged or not.
    for challenged in [false, true] {
        let mut thief = Raw::connect(&server).await;
        if challenged {
            thief.send(&Frame::Hello(hello(Some(nonce), None))).await;
            assert!(matches!(thief.receive().await, Frame::Challenge(_)));
        }
        thief.send(&Frame::Hello(hello(Some(nonce), Some(proof)))).await;
        assert!(is_refusal(&thief.receive().await), "challenged: {challenged}");
    }
}

/// Hellos that went by.
#[derive(Clone, Default)]
struct Overheard(Arc<Mutex<Vec<u8>>>);

impl Overheard {
    async fn listen(&self, server: std::net::SocketAddr) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::clone(&self.0);
        tokio::spawn(async move {
            let (near, _) = listener.accept().await.unwrap();
            let far = tokio::net::TcpStream::connect(server).await.unwrap();
            let (near_read, mut near_write) = near.into_split();
            let (mut far_read, mut far_write) = far.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut far_read, &mut near_write).await });
            let mut buffer = [0; 4096];
            loop {
                near_read.readable().await.unwrap();
                match near_read.try_read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => {
                        heard.lock().unwrap().extend_from_slice(&buffer[..read]);
                        let mut wrote = &buffer[..read];
                        tokio::io::copy(&mut wrote, &mut far_write).await.unwrap();
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
        });
        address
    }

    /// The nonce and the proof of the hello with one.
    fn proof(&self) -> (Nonce, Proof) {
        let heard = self.0.lock().unwrap();
        assert!(!String::from_utf8_lossy(&heard).contains(OURS), "the secret went by");
        let mut found = Vec::new();
        for at in 0..heard.len() {
            for length in 1..=heard.len() - at {
                if let Ok(Frame::Hello(hello)) = Frame::decode(&heard[at..at + length]) {
                    found.extend(hello.nonce.zip(hello.proof));
                }
            }
        }
        assert_eq!(found.len(), 1, "one hello of two has a proof");
        found[0]
    }
}

#[tokio::test]
async fn each_connection_gets_its_own_challenge_and_one_try() {
    let (_bus, server) = house(door(Some(OURS))).await;
    let (mut one, mut other) = (Raw::connect(&server).await, Raw::connect(&server).await);
    let (first, second) = (one.challenged().await, one.challenged().await);
    assert!(first != second && second != other.challenged().await);
    assert!(is_refusal(&one.hello(Some([1; 32])).await));
    // Whatever follows ends it, also what would have been right before.
    one.send(&Frame::Hello(hello(Some([7; 16]), None))).await;
    closes(&server).await;
    // The other one may still try.
    assert!(is_refusal(&other.hello(Some([1; 32])).await));
}

#[tokio::test]
async fn many_hellos_without_a_proof_end_their_connection() {
    let (_bus, server) = house(door(Some(OURS))).await;
    let mut flood = Raw::connect(&server).await;
    for _ in 0..200 {
        flood.send(&Frame::Hello(hello(Some([7; 16]), None))).await;
    }
    closes(&server).await;
}

#[tokio::test]
async fn a_peer_with_a_secret_joins_no_server_without_it() {
    let (bus, server) = house(door(None)).await;
    let (_peer, mut events) = join(&bus, &server.local_addr().to_string(), "ann", Some(OURS));
    let error = refused(&mut events).await;
    assert!(is_final(&error) && error.message.contains("there is none here"), "{error:?}");
    let (peer, mut events) = join(&bus, &server.local_addr().to_string(), "ann", None);
    joined(&mut events).await;
    works(&peer).await;
}

#[tokio::test]
async fn a_peer_does_not_believe_a_server_that_only_says_welcome() {
    for challenges in [false, true] {
        let mut router = RouterSocket::new();
        let address = router.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
        let bus = Bus::start("test").unwrap();
        let address = address.trim_start_matches("tcp://");
        let (_peer, mut events) = join(&bus, address, "ann", Some(OURS));
        let welcome = Frame::Welcome(Welcome {
            version: VERSION,
            features: feature::ALL,
            server: ServerId::random(),
            resumed: false,
            session: 1,
            proof: challenges.then_some([9; 32]),
        });
        let challenge = challenges.then_some(Frame::Challenge([8; 16]));
        for answer in challenge.iter().chain([&welcome]) {
            let said = soon(router.recv()).await.unwrap();
            let mut message = ZmqMessage::from(answer.encode().unwrap());
            message.push_front(said.get(0).unwrap().clone());
            router.send(message).await.unwrap();
        }
        let error = refused(&mut events).await;
        assert!(is_final(&error) && error.message.contains(address), "{error:?}");
    }
}

#[tokio::test]
async fn a_peer_of_the_original_is_let_in_from_where_the_setting_says_and_else_nowhere() {
    for (networks, enters) in
        [(None, false), (Some("127.0.0.1"), true), (Some("10.0.0.0/8"), false)]
    {
        let accept_original = networks.map(|networks: &str| networks.parse().unwrap());
        let (bus, server) = house(DoorConfig { accept_original, ..door(Some(OURS)) }).await;
        let (peer, mut events) = join(&bus, &server.local_addr().to_string(), "ann", Some(OURS));
        joined(&mut events).await;
        let mut original = Original::connect(&server, "ts").await;
        original.hello(ALIVE).await;
        if enters {
            assert_eq!(original.receive().await[0], "0");
        } else {
            assert!(original.ends().await.is_empty(), "it was answered");
            closes(&server).await;
        }
        // It lets no native peer in.
        let (_eve, mut told) = join(&bus, &server.local_addr().to_string(), "eve", None);
        assert!(is_final(&refused(&mut told).await));
        works(&peer).await;
    }
}

#[tokio::test]
async fn a_connection_of_the_original_must_prove_what_every_native_one_must() {
    let accept_original = Some("127.0.0.1".parse().unwrap());
    let (_bus, server) = house(DoorConfig { accept_original, ..door(Some(OURS)) }).await;
    let mut socket = Raw::connect(&server).await;
    let mut message = ZmqMessage::from("0");
    for frame in ["raw", "{\"aliveTimeout\":30}", ""] {
        message.push_back(frame.into());
    }
    socket.0.send(message).await.unwrap();
    assert_eq!(soon(socket.0.recv()).await.unwrap().get(0).unwrap()[..], b"0"[..]);
    socket.send(&Frame::Hello(hello(None, None))).await;
    assert!(is_refusal(&socket.receive().await));
}
