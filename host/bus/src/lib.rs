//! ZeroMQ sockets to frames: [`Server`] (ROUTER) and [`Peer`] (DEALER).

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use hulynet_protocol::{Call, ClientId, Event, NetworkError, Reply, Role, ServerId};
use tokio::sync::mpsc;

/// One thread with its own current-thread runtime that owns all sockets of a process part (coordinator, agent, client).
/// Cheap to clone; the thread ends when the last clone, server and peer are gone.
#[derive(Clone, Debug)]
pub struct Bus {}

/// Why the bus cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The address is in use, not local, or malformed; the message names it and the remedy.
    #[error("{0}")]
    Bind(String),
}

/// How a server treats its peers.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What it is.
    pub role: Role,
    /// Names this run.
    pub id: ServerId,
}

/// How a peer behaves.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Who it is.
    pub client: ClientId,
    /// What it is.
    pub role: Role,
    /// Announced in hello: lost after this long without a message. Default 3 s.
    pub alive_timeout: Duration,
    /// Default 1 s.
    pub ping_interval: Duration,
}

impl Bus {
    /// Starts the thread.
    pub fn start(_name: &str) -> Result<Self, BusError> { todo!() }
    /// Binds a ROUTER behind its door at `HOST:PORT` (port 0 = any free one).
    pub async fn bind(&self, _address: &str, _config: ServerConfig) -> Result<(Server, mpsc::Receiver<Incoming>), BusError> { todo!() }
    /// A supervised connection to `HOST:PORT`: connects, says hello, pings, reconnects with jittered back-off until closed.
    pub fn connect(&self, _address: &str, _config: PeerConfig) -> (Peer, mpsc::Receiver<PeerEvent>) { todo!() }
}

/// A listening ROUTER. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {}

impl Server {
    /// Where it listens.
    #[must_use] pub fn local_addr(&self) -> SocketAddr { todo!() }
    /// Asks a peer that said hello; ends with the answer, its loss, or the timeout. Dropping the future cancels.
    pub async fn call(&self, _peer: &ClientId, _call: Call, _payload: Bytes, _timeout: Duration) -> Result<Response, NetworkError> { todo!() }
    /// Sends an event; never waits. `Busy` when the peer's bounded queue is full, `Unavailable` when it is unknown.
    pub fn event(&self, _peer: &ClientId, _event: Event, _payload: Bytes) -> Result<(), NetworkError> { todo!() }
    /// Forgets a peer: its pending calls end, its next frame gets ask-hello.
    pub fn forget(&self, _peer: &ClientId) { todo!() }
    /// Stops accepting, lets answers leave, closes. Ends within the deadline.
    pub async fn close(&self, _deadline: Duration) { todo!() }
}

/// What a server hands to its service.
#[derive(Debug)]
pub enum Incoming {
    /// A peer said hello. `resumed`: its session went on (same client id, new connection).
    Joined { /** Who. */ peer: ClientId, /** What it is. */ role: Role, /** Its lease. */ alive_timeout: Duration, /** Session went on. */ resumed: bool },
    /// A ping arrived: the peer's leases are renewed.
    Alive(ClientId),
    /// A peer asks something.
    Request(Request),
    /// The peer said goodbye (`lost` false) or was silent for its alive timeout (`lost` true). Comes once per Joined session.
    Left { /** Who. */ peer: ClientId, /** Silent rather than closed. */ lost: bool },
}

/// What a peer hands to its owner.
#[derive(Debug)]
pub enum PeerEvent {
    /// Hello was answered. `resumed` false: the server does not know us (first time, restart, or lease expired): register and reclaim again.
    Joined { /** The run of the server. */ server: ServerId, /** It still knew us. */ resumed: bool },
    /// The server asks something.
    Request(Request),
    /// The server tells something.
    Event { /** What. */ event: Event, /** Its payload. */ payload: Bytes },
    /// The connection is lost; pending calls ended; the supervisor tries again.
    Lost { /** Why, for people. */ reason: String },
}

/// A supervised DEALER. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer {}

impl Peer {
    /// Asks the server; waits for a connection within the timeout. Never connected in time: `Unavailable`/NotProcessed naming the address.
    /// Connection lost after sending: `Unavailable`/MaybeProcessed. Ask-hello answers are NotProcessed and are sent again by the peer itself after re-hello.
    pub async fn call(&self, _call: Call, _payload: Bytes, _timeout: Duration) -> Result<Response, NetworkError> { todo!() }
    /// The server's address.
    #[must_use] pub fn address(&self) -> &str { todo!() }
    /// Says goodbye, waits for its answer or the deadline, and closes.
    pub async fn close(&self, _deadline: Duration) { todo!() }
}

/// A request that arrived. Dropping the responder unanswered answers with an `Internal` error, so every request ends.
#[derive(Debug)]
pub struct Request {
    /// Who asks (the server's id as client id on a [`Peer`]).
    pub peer: ClientId,
    /// What.
    pub call: Call,
    /// Its payload.
    pub payload: Bytes,
    /// Answers it.
    pub responder: Responder,
}

/// Answers one request, once.
#[derive(Debug)]
pub struct Responder {}

impl Responder {
    /// Sends the answer (`Reply::Payload` with its bytes, other replies with an empty payload).
    pub fn reply(self, _result: Result<(Reply, Bytes), NetworkError>) { todo!() }
    /// Begins a streamed answer (`Reply::Stream`).
    #[must_use] pub fn stream(self) -> ChunkSender { todo!() }
    /// Time left until the caller's deadline.
    #[must_use] pub fn remaining(&self) -> Duration { todo!() }
    /// Ends when the caller cancelled, was lost, or its deadline passed. Work may be stopped then.
    pub async fn cancelled(&mut self) { todo!() }
}

/// The sending end of a streamed answer. Dropping it unfinished ends the stream with an error.
#[derive(Debug)]
pub struct ChunkSender {}

impl ChunkSender {
    /// Sends a chunk (larger ones are split); waits for credit. Error: the receiver is gone.
    pub async fn send(&mut self, _chunk: Bytes) -> Result<(), NetworkError> { todo!() }
    /// Ends the stream.
    pub fn finish(self, _end: Result<(), NetworkError>) { todo!() }
}

/// The answer to a call.
#[derive(Debug)]
pub struct Response {
    /// Its header.
    pub reply: Reply,
    /// Its body.
    pub body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// One payload; empty for replies without one.
    Payload(Bytes),
    /// Chunks follow.
    Stream(ChunkReceiver),
}

/// The receiving end of a streamed answer. Dropping it cancels the stream.
#[derive(Debug)]
pub struct ChunkReceiver {}

impl ChunkReceiver {
    /// The next chunk; `None` after a clean end; an error ends the stream.
    pub async fn next(&mut self) -> Option<Result<Bytes, NetworkError>> { todo!() }
}
