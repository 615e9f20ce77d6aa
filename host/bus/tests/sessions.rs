//! Sessions: hello, moving, losing, forgetting, coming back.

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
use common::{LONG, Pair, asked, call, client, echo, join, joined, left, payload, serve, soon};
use hulynet_bus::{Bus, BusError, Incoming, PeerConfig, PeerEvent, Server, ServerConfig};
use hulynet_protocol::{
    Call, ErrorKind, Frame, Hello, Retry, Role, ServerId, Welcome,
    frame::{MAGIC, VERSION, feature},
};
use zeromq::{DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

/// A DEALER that does what the test says.
struct Raw(DealerSocket);

impl Raw {
    async fn new(server: &Server) -> Self {
        let mut socket = DealerSocket::new();
        socket.connect(&format!("tcp://{}", server.local_addr())).await.unwrap();
        Self(socket)
    }

    async fn send(&mut self, frame: &Frame) {
        self.0.send(ZmqMessage::from(frame.encode().unwrap())).await.unwrap();
    }

    async fn send_bytes(&mut self, header: &[u8]) {
        self.0.send(ZmqMessage::from(Bytes::copy_from_slice(header))).await.unwrap();
    }

    async fn receive(&mut self) -> Frame {
        Frame::decode(soon(self.0.recv()).await.unwrap().get(0).unwrap()).unwrap()
    }

    async fn hello(&mut self, version: u16, alive_timeout_ms: u32) -> Frame {
        let (client, role) = (client("raw"), Role::Client);
        let features = feature::ALL;
        let (run, nonce, proof) = (1, None, None);
        let hello = Hello { version, features, client, run, role, alive_timeout_ms, nonce, proof };
        self.send(&Frame::Hello(hello)).await;
        self.receive().await
    }
}

fn request(id: u64) -> Frame {
    Frame::Request { id, acknowledged: 0, deadline_ms: 10_000, call: Call::Kinds }
}

#[tokio::test]
async fn a_goodbye_is_answered_and_ends_the_session() {
    let mut pair = Pair::new().await;
    soon(pair.peer.close(LONG)).await;
    assert!(!left(&mut pair.incoming).await);
    let error = pair.peer.call(call("late"), Bytes::new(), LONG).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
}

#[tokio::test]
async fn a_silent_peer_is_lost_and_its_calls_end() {
    let bus = Bus::start("test").unwrap();
    let (server, mut incoming) = serve(&bus, "127.0.0.1:0").await;
    let mut raw = Raw::new(&server).await;
    assert!(matches!(raw.hello(VERSION, 100).await, Frame::Welcome(_)));
    assert!(matches!(soon(incoming.recv()).await, Some(Incoming::Joined { .. })));
    let raws = client("raw");
    let lost = soon(server.call(&raws, call("x"), Bytes::new(), LONG)).await;
    let error = lost.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
    assert!(error.message.starts_with("raw was lost"), "{error}");
    assert!(left(&mut incoming).await);
    assert!(matches!(raw.receive().await, Frame::Request { .. }));
    raw.send(&Frame::Ping { acknowledged: 0 }).await;
    assert_eq!(raw.receive().await, Frame::AskHello);
}

#[tokio::test]
async fn a_lost_server_ends_pending_requests_and_a_restarted_one_is_joined_again() {
    let mut pair = Pair::new().await;
    let address = pair.server.local_addr().to_string();
    let asking = tokio::spawn({
        let peer = pair.peer.clone();
        async move { peer.call(call("never"), Bytes::new(), LONG).await }
    });
    let _unanswered = pair.asked().await;
    soon(pair.server.close(Duration::ZERO)).await;
    let error = soon(asking).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
    assert!(matches!(soon(pair.events.recv()).await, Some(PeerEvent::Lost { .. })));

    let (_server, incoming) = serve(&pair.bus, &address).await;
    tokio::spawn(echo(incoming));
    assert!(!joined(&mut pair.events).await);
    let body = Bytes::from_static(b"again");
    assert_eq!(payload(pair.peer.call(call("echo"), body.clone(), LONG).await), body);
}

#[tokio::test]
async fn a_peer_that_went_away_cannot_be_asked_and_its_end_ends_what_it_was_asked() {
    let mut pair = Pair::with_lease(Duration::from_millis(300)).await;
    let asking = tokio::spawn({
        let server = pair.server.clone();
        async move { server.call(&client("ann"), call("x"), Bytes::new(), LONG).await }
    });
    let Some(PeerEvent::Request(mut request)) = soon(pair.events.recv()).await else { panic!() };
    drop(pair.peer);
    soon(request.responder.cancelled()).await;
    // Its session outlives the connection, until the lease ends.
    let error = soon(async {
        loop {
            let time = Duration::from_millis(1);
            let asked = pair.server.call(&client("ann"), call("y"), Bytes::new(), time).await;
            match asked.unwrap_err() {
                late if late.kind == ErrorKind::DeadlineExceeded => {}
                error => break error,
            }
        }
    })
    .await;
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
    assert!(left(&mut pair.incoming).await);
    let error = soon(asking).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
}

#[tokio::test]
async fn a_forgotten_peer_says_hello_again_and_its_request_is_answered() {
    let mut pair = Pair::new().await;
    pair.server.forget(&client("ann"));
    let asking = tokio::spawn({
        let peer = pair.peer.clone();
        async move { peer.call(call("echo"), Bytes::from_static(b"x"), LONG).await }
    });
    assert!(!joined(&mut pair.events).await);
    let request = pair.asked().await;
    assert_eq!(common::operation(&request.call), "echo");
    request.responder.reply(Ok((hulynet_protocol::Reply::Payload, request.payload)));
    assert_eq!(payload(soon(asking).await.unwrap()), "x");
}

#[tokio::test]
async fn a_stranger_is_asked_for_hello_and_not_served() {
    let bus = Bus::start("test").unwrap();
    let (server, mut incoming) = serve(&bus, "127.0.0.1:0").await;
    let mut raw = Raw::new(&server).await;
    raw.send(&request(1)).await;
    assert_eq!(raw.receive().await, Frame::AskHello);
    let Frame::Response { id: 1, result: Err(error) } = raw.receive().await else { panic!() };
    assert_eq!(error.retry, Retry::NotProcessed);
    assert!(matches!(raw.hello(VERSION, 3000).await, Frame::Welcome(_)));
    assert!(matches!(soon(incoming.recv()).await, Some(Incoming::Joined { .. })));
    assert!(incoming.try_recv().is_err());
}

#[tokio::test]
async fn another_version_is_refused_with_both_versions_and_the_remedy() {
    let bus = Bus::start("test").unwrap();
    let (server, _incoming) = serve(&bus, "127.0.0.1:0").await;
    let mut raw = Raw::new(&server).await;
    let refused = |frame| match frame {
        Frame::Refused(error) => {
            assert_eq!((error.kind, error.retry), (ErrorKind::Protocol, Retry::Final));
            error.message
        }
        other => panic!("{other:?}"),
    };
    let message = format!(
        "the coordinator speaks version {VERSION} of the protocol and this program version 9; run \
         the same release of hulynet on both sides"
    );
    assert_eq!(refused(raw.hello(9, 3000).await), message);
    // What a hello of another version holds beside its version is anybody's guess.
    raw.send_bytes(&[MAGIC, 0, 9, 0xff, 0xff]).await;
    assert_eq!(refused(raw.receive().await), message);
    raw.send_bytes(&[MAGIC, 0, u8::try_from(VERSION).unwrap(), 0xff]).await;
    let same = refused(raw.receive().await);
    assert!(same.contains("mean different ones"), "{same}");
}

#[tokio::test]
async fn a_server_of_another_version_ends_calls_at_once_and_is_told_once() {
    let bus = Bus::start("test").unwrap();
    let mut router = RouterSocket::new();
    let address = router.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    let address = address.trim_start_matches("tcp://").to_owned();
    let config = PeerConfig::new(client("ann"), Role::Client);
    let (peer, mut events) = bus.connect(&address, config);
    tokio::spawn(async move {
        while let Ok(hello) = router.recv().await {
            let mut welcome = ZmqMessage::from(Bytes::from_static(&[MAGIC, 1, 9, 0xff]));
            welcome.push_front(hello.get(0).unwrap().clone());
            router.send(welcome).await.unwrap();
        }
    });
    let message = format!(
        "this program speaks version {VERSION} of the protocol and {address} version 9; run the \
         same release of hulynet on both sides"
    );
    for _ in 0..3 {
        let error = soon(peer.call(call("x"), Bytes::new(), 10 * LONG)).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::Protocol, Retry::Final));
        assert_eq!(error.message, message);
    }
    match soon(events.recv()).await {
        Some(PeerEvent::Refused(error)) => assert_eq!(error.message, message),
        other => panic!("{other:?}"),
    }
    assert!(events.try_recv().is_err(), "once is enough");
}

#[tokio::test]
async fn a_request_that_cannot_be_decoded_is_answered() {
    let bus = Bus::start("test").unwrap();
    let (server, _incoming) = serve(&bus, "127.0.0.1:0").await;
    let mut raw = Raw::new(&server).await;
    assert!(matches!(raw.hello(VERSION, 3000).await, Frame::Welcome(_)));
    let mut bytes = request(7).encode().unwrap().to_vec();
    *bytes.last_mut().unwrap() = 0x7f;
    raw.send_bytes(&bytes).await;
    let Frame::Response { id: 7, result: Err(error) } = raw.receive().await else { panic!() };
    assert_eq!((error.kind, error.retry), (ErrorKind::Protocol, Retry::Final));
}

#[tokio::test]
async fn a_second_hello_changes_nothing_and_a_duplicate_does_not_run_twice() {
    let bus = Bus::start("test").unwrap();
    let (server, mut incoming) = serve(&bus, "127.0.0.1:0").await;
    let mut raw = Raw::new(&server).await;
    let resumed = |frame| matches!(frame, Frame::Welcome(welcome) if welcome.resumed);
    assert!(!resumed(raw.hello(VERSION, 3000).await));
    raw.send(&request(1)).await;
    let first = asked(&mut incoming).await;
    assert!(resumed(raw.hello(VERSION, 3000).await));
    raw.send(&request(1)).await;
    raw.send(&request(2)).await;
    let second = asked(&mut incoming).await;
    assert!(matches!(second.responder.remaining(), left if left > Duration::ZERO));
    assert!(incoming.try_recv().is_err());
    first.responder.reply(Ok((hulynet_protocol::Reply::Done, Bytes::new())));
    assert!(matches!(raw.receive().await, Frame::Response { id: 1, result: Ok(_) }));
    drop(second);
}

#[tokio::test]
async fn a_session_moves_to_the_newest_connection_of_its_client_with_its_requests() {
    let bus = Bus::start("test").unwrap();
    let (server, mut incoming) = serve(&bus, "127.0.0.1:0").await;
    let (mut old, mut new) = (Raw::new(&server).await, Raw::new(&server).await);
    old.hello(VERSION, 10_000).await;
    old.send(&request(1)).await;
    let first = asked(&mut incoming).await;
    let asking = tokio::spawn({
        let server = server.clone();
        async move { server.call(&client("raw"), call("x"), Bytes::new(), LONG).await }
    });
    let Frame::Request { id: asked_on_old, .. } = old.receive().await else { panic!("none") };
    // Another routing id, the same client.
    let Frame::Welcome(welcome) = new.hello(VERSION, 10_000).await else { panic!("refused") };
    assert!(welcome.resumed);
    let Frame::Request { id, .. } = new.receive().await else { panic!("it was not asked again") };
    assert_eq!(id, asked_on_old);
    new.send(&Frame::Response { id, result: Ok(hulynet_protocol::Reply::Done) }).await;
    soon(asking).await.unwrap().unwrap();
    new.send(&request(1)).await;
    first.responder.reply(Ok((hulynet_protocol::Reply::Done, Bytes::new())));
    assert!(matches!(new.receive().await, Frame::Response { id: 1, result: Ok(_) }));
    assert!(!matches!(incoming.try_recv(), Ok(Incoming::Request(_))));
}

#[tokio::test]
async fn a_duplicate_is_answered_from_memory_until_it_is_acknowledged() {
    let bus = Bus::start("test").unwrap();
    let (server, mut incoming) = serve(&bus, "127.0.0.1:0").await;
    let mut raw = Raw::new(&server).await;
    raw.hello(VERSION, 10_000).await;
    raw.send(&request(1)).await;
    let first = asked(&mut incoming).await;
    first.responder.reply(Ok((hulynet_protocol::Reply::Done, Bytes::new())));
    let answer = raw.receive().await;
    raw.send(&request(1)).await;
    assert_eq!(raw.receive().await, answer);
    raw.send(&Frame::Ping { acknowledged: 1 }).await;
    assert!(matches!(raw.receive().await, Frame::Pong { .. }));
    raw.send(&request(1)).await;
    let Frame::Response { id: 1, result: Err(error) } = raw.receive().await else { panic!() };
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
    let again = |incoming| matches!(incoming, Incoming::Request(_));
    assert!(!std::iter::from_fn(|| incoming.try_recv().ok()).any(again));
}

#[tokio::test]
async fn a_closing_server_lets_its_answers_leave() {
    let mut pair = Pair::new().await;
    let asking = tokio::spawn({
        let peer = pair.peer.clone();
        async move { peer.call(call("echo"), Bytes::from(vec![1; 5_000_000]), LONG).await }
    });
    let request = pair.asked().await;
    let closing = tokio::spawn({
        let server = pair.server.clone();
        async move { server.close(LONG).await }
    });
    request.responder.reply(Ok((hulynet_protocol::Reply::Payload, request.payload)));
    soon(closing).await.unwrap();
    assert_eq!(payload(soon(asking).await.unwrap()).len(), 5_000_000);
    assert!(soon(pair.incoming.recv()).await.is_none());
}

#[tokio::test]
async fn an_address_in_use_or_malformed_is_named_with_the_remedy() {
    let bus = Bus::start("test").unwrap();
    let (server, _incoming) = serve(&bus, "127.0.0.1:0").await;
    let bind = async |address: &str| {
        let config = ServerConfig { role: Role::Agent, id: ServerId::random() };
        match bus.bind(address, config).await {
            Err(BusError::Bind(why)) => why,
            other => panic!("bound: {other:?}"),
        }
    };
    let used = server.local_addr().to_string();
    let why = bind(&used).await;
    assert!(why.contains(&used) && why.contains("choose another port"), "{why}");
    assert!(bind("nonsense").await.contains("HOST:PORT"));
    assert!(bind("192.0.2.1:0").await.contains("an address of this machine"));
}

#[tokio::test]
async fn the_private_directory_and_the_thread_end_with_the_last_handle() {
    let bus = Bus::start("ends").unwrap();
    let (server, mut incoming) = serve(&bus, "127.0.0.1:0").await;
    let address = server.local_addr();
    let (peer, _events) = join(&bus, &server, "ann").await;
    drop((bus, server, peer));
    while soon(incoming.recv()).await.is_some() {}
    assert!(std::net::TcpListener::bind(address).is_ok());
}

#[tokio::test]
async fn a_call_for_the_connection_of_now_fails_at_once_without_one() {
    let mut pair = Pair::new().await;
    let address = pair.server.local_addr().to_string();
    let peer = pair.peer.clone();
    let pending = tokio::spawn({
        let peer = peer.clone();
        async move { peer.call_joined(call("never"), Bytes::new(), LONG).await }
    });
    let request = pair.asked().await;
    pair.server.close(Duration::ZERO).await;
    let lost = soon(pending).await.unwrap().unwrap_err();
    assert_eq!((lost.kind, lost.retry), (ErrorKind::Unavailable, Retry::MaybeProcessed));
    drop(request);

    let apart = soon(peer.call_joined(call("never"), Bytes::new(), LONG)).await.unwrap_err();
    assert_eq!((apart.kind, apart.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
    assert!(apart.message.contains(&address), "{apart}");
}

#[tokio::test]
async fn a_request_that_is_given_up_at_its_deadline_says_so() {
    let bus = Bus::start("test").unwrap();
    let (server, mut incoming) = serve(&bus, "127.0.0.1:0").await;
    let mut raw = Raw::new(&server).await;
    raw.hello(VERSION, 10_000).await;
    raw.send(&Frame::Request { id: 1, acknowledged: 0, deadline_ms: 1, call: Call::Kinds }).await;
    let mut request = asked(&mut incoming).await;
    soon(request.responder.cancelled()).await;
    drop(request);
    let Frame::Response { id: 1, result: Err(error) } = raw.receive().await else { panic!() };
    assert_eq!((error.kind, error.retry), (ErrorKind::DeadlineExceeded, Retry::MaybeProcessed));
}

#[tokio::test]
async fn a_server_closes_at_once_after_many_calls_and_a_forgotten_peer() {
    let Pair { bus: _bus, server, mut incoming, peer, mut events } = Pair::new().await;
    let (again, mut joined_again) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            match event {
                PeerEvent::Request(request) => {
                    request.responder.reply(Ok((hulynet_protocol::Reply::Done, Bytes::new())));
                }
                PeerEvent::Joined { .. } => again.send(()).await.unwrap(),
                _ => {}
            }
        }
    });
    for _ in 0..500 {
        server.call(&client("ann"), call("x"), Bytes::new(), LONG).await.unwrap();
    }
    // Its answers are for a session that is over when they reach the socket.
    let ask = tokio::spawn({
        let peer = peer.clone();
        async move { peer.call(call("y"), Bytes::new(), LONG).await }
    });
    let request = asked(&mut incoming).await;
    server.forget(&client("ann"));
    request.responder.reply(Ok((hulynet_protocol::Reply::Done, Bytes::new())));
    soon(joined_again.recv()).await.unwrap();
    ask.abort();
    let began = std::time::Instant::now();
    soon(server.close(LONG / 2)).await;
    assert!(began.elapsed() < LONG / 4, "it waited for what is not there");
}

#[tokio::test]
async fn a_session_whose_welcome_was_lost_is_not_resumed() {
    let bus = Bus::start("test").unwrap();
    let mut router = RouterSocket::new();
    let address = router.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    let config = PeerConfig::new(client("ann"), Role::Client);
    let (_peer, mut events) = bus.connect(address.trim_start_matches("tcp://"), config);
    let server = ServerId::random();
    let mut hello = async |session| {
        let hello = soon(router.recv()).await.unwrap();
        assert!(matches!(Frame::decode(hello.get(1).unwrap()).unwrap(), Frame::Hello(_)));
        let welcome = Welcome {
            version: VERSION,
            features: feature::ALL,
            server: server.clone(),
            resumed: true,
            session,
            proof: None,
        };
        let mut answer = ZmqMessage::from(Frame::Welcome(welcome).encode().unwrap());
        answer.push_front(hello.get(0).unwrap().clone());
        router.send(answer).await.unwrap();
        let mut ask = ZmqMessage::from(Frame::AskHello.encode().unwrap());
        ask.push_front(hello.get(0).unwrap().clone());
        router.send(ask).await.unwrap();
    };
    // The server knows it from a hello whose welcome never came.
    hello(1).await;
    assert!(!joined(&mut events).await);
    // It answered the welcome of this one.
    hello(1).await;
    assert!(joined(&mut events).await);
    // Another one began, and its first welcome was lost.
    hello(2).await;
    assert!(!joined(&mut events).await);
}
