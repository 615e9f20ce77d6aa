//! What the tests of the bus share: an echo server, a peer, patience.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, and each uses a part of this"
)]

pub mod line;
pub mod original;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use hulynet_bus::{
    Body, Bus, DoorConfig, Incoming, Peer, PeerConfig, PeerEvent, Request, Response, Server,
    ServerConfig,
};
use hulynet_protocol::{
    Call, Caller, ClientId, ContainerCall, ContainerId, Kind, NetworkError, Reply, Role, ServerId,
    Target, Uuid,
};
use tokio::sync::mpsc::Receiver;

/// Longer than any step takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(10);

/// Fails instead of waiting for ever.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, what).await.expect("it did not happen in time")
}

pub fn client(name: &str) -> ClientId {
    ClientId::new(name).unwrap()
}

/// A request that names an operation.
pub fn call(operation: &str) -> Call {
    Call::Container(ContainerCall {
        target: Target {
            id: ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("1").unwrap() },
            epoch: None,
        },
        operation: operation.to_owned(),
        caller: Caller::default(),
        idempotency: None,
        trace: 0,
        send: false,
    })
}

pub fn operation(call: &Call) -> &str {
    match call {
        Call::Container(call) => &call.operation,
        other => panic!("not a request to a container: {other:?}"),
    }
}

pub async fn serve(bus: &Bus, address: &str) -> (Server, Receiver<Incoming>) {
    serve_with(bus, address, DoorConfig::default()).await
}

pub async fn serve_with(
    bus: &Bus,
    address: &str,
    door: DoorConfig,
) -> (Server, Receiver<Incoming>) {
    let config = ServerConfig { role: Role::Coordinator, id: ServerId::random() };
    bus.bind_with(address, config, door).await.unwrap()
}

/// A bus, a server on a free port, and a peer that has joined it.
pub struct Pair {
    pub bus: Bus,
    pub server: Server,
    pub incoming: Receiver<Incoming>,
    pub peer: Peer,
    pub events: Receiver<PeerEvent>,
}

impl Pair {
    pub async fn new() -> Self {
        Self::with_lease(Duration::from_secs(3)).await
    }

    pub async fn with_lease(alive_timeout: Duration) -> Self {
        let bus = Bus::start("test").unwrap();
        let (server, mut incoming) = serve(&bus, "127.0.0.1:0").await;
        let mut config = PeerConfig::new(client("ann"), Role::Client);
        (config.alive_timeout, config.ping_interval) = (alive_timeout, alive_timeout / 3);
        let (peer, mut events) = bus.connect(&server.local_addr().to_string(), config);
        assert!(!joined(&mut events).await);
        assert!(matches!(soon(incoming.recv()).await, Some(Incoming::Joined { .. })));
        Self { bus, server, incoming, peer, events }
    }

    /// The next request that the server gets.
    pub async fn asked(&mut self) -> Request {
        asked(&mut self.incoming).await
    }
}

pub async fn join(bus: &Bus, server: &Server, name: &str) -> (Peer, Receiver<PeerEvent>) {
    let config = PeerConfig::new(client(name), Role::Client);
    bus.connect(&server.local_addr().to_string(), config)
}

/// Waits for the next joining; whether it was resumed.
pub async fn joined(events: &mut Receiver<PeerEvent>) -> bool {
    next(events, |event| match event {
        PeerEvent::Joined { resumed, .. } => Some(resumed),
        _ => None,
    })
    .await
}

/// Waits for the next request at a server.
pub async fn asked(incoming: &mut Receiver<Incoming>) -> Request {
    next(incoming, |incoming| match incoming {
        Incoming::Request(request) => Some(request),
        _ => None,
    })
    .await
}

/// Waits for the next leaving at a server; whether the peer was lost.
pub async fn left(incoming: &mut Receiver<Incoming>) -> bool {
    next(incoming, |incoming| match incoming {
        Incoming::Left { lost, .. } => Some(lost),
        _ => None,
    })
    .await
}

/// Waits for the next message of one sort, all in all not for long.
async fn next<T, U>(messages: &mut Receiver<T>, sort: impl Fn(T) -> Option<U>) -> U {
    soon(async {
        loop {
            if let Some(found) = sort(messages.recv().await.expect("the end came first")) {
                return found;
            }
        }
    })
    .await
}

/// Answers with the payload until the server ends.
pub async fn echo(mut incoming: Receiver<Incoming>) {
    while let Some(incoming) = incoming.recv().await {
        if let Incoming::Request(request) = incoming {
            request.responder.reply(Ok((Reply::Payload, request.payload)));
        }
    }
}

pub fn payload(result: Result<Response, NetworkError>) -> Bytes {
    match result.unwrap().body {
        Body::Payload(payload) => payload,
        Body::Stream(_) => panic!("a stream came"),
    }
}
