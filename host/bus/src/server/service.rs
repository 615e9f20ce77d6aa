//! The task that owns a ROUTER.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, channel::mpsc as monitoring};
use hulynet_protocol::{
    ClientId, ErrorKind, Frame, FrameError, Hello, NetworkError, Welcome,
    frame::{VERSION, feature},
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
    time::{Instant, sleep_until},
};
use zeromq::{RouterRecvHalf, RouterSendHalf, SocketEvent, SocketRecv, SocketSend, ZmqMessage};

use super::{
    Counters, Directory, Incoming,
    sessions::{Greeted, Sessions},
};
use crate::{
    config::ServerConfig,
    door::{Door, Link, Links},
    exchange::{Exchange, Outcome, Pending, busy},
    lane::{Command, Lane},
    outbox::Outbox,
    wire::{Language, Outgoing, foreign, read},
};

/// Messages or commands that are handled in a row.
pub(crate) const BATCH: usize = 64;

/// How often a closing server looks whether all has left.
const LOOK: Duration = Duration::from_millis(2);

/// Alive timeouts that peers may choose.
const ALIVE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(600));

/// A connection with a session.
#[derive(Debug)]
struct Connection {
    client: ClientId,
    link: Arc<Link>,
    exchange: Exchange,
}

/// Which way a closing server takes.
#[derive(Debug)]
struct Closing {
    deadline: Instant,
    done: Vec<oneshot::Sender<()>>,
}

/// See the module.
pub(crate) struct Service {
    pub(crate) config: ServerConfig,
    pub(crate) door: Door,
    pub(crate) sender: RouterSendHalf,
    pub(crate) receiver: RouterRecvHalf,
    pub(crate) monitor: monitoring::Receiver<SocketEvent>,
    pub(crate) lane: Lane,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) outbox: Outbox<Incoming>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) counters: Arc<Counters>,
    /// The private directory of the ROUTER's unix socket.
    pub(crate) home: TempDir,
}

struct State {
    config: ServerConfig,
    door: Door,
    sender: RouterSendHalf,
    lane: Lane,
    outbox: Outbox<Incoming>,
    directory: Arc<Directory>,
    counters: Arc<Counters>,
    sessions: Sessions,
    connections: HashMap<u64, Connection>,
    closing: Option<Closing>,
}

impl Service {
    /// Runs until closed, or until the last handle is gone.
    pub(crate) async fn run(self) {
        let Self { config, door, sender, mut receiver, mut monitor, lane, mut commands, .. } = self;
        let Self { outbox, directory, counters, home, .. } = self;
        let mut state = State {
            config,
            door,
            sender,
            lane,
            outbox,
            directory,
            counters,
            sessions: Sessions::default(),
            connections: HashMap::new(),
            closing: None,
        };
        let mut batch = Vec::with_capacity(BATCH);
        while !state.is_closed() {
            let timeout = state.next_timeout();
            tokio::select! {
                message = receiver.recv() => {
                    let now = Instant::now();
                    let mut next = Some(message);
                    let mut left = BATCH;
                    while let Some(message) = next {
                        match message {
                            Ok(message) => state.message(now, message),
                            Err(error) => tracing::debug!(%error, "a message was lost"),
                        }
                        left -= 1;
                        next = if left == 0 { None } else { receiver.recv().now_or_never() };
                    }
                    // After the messages that came before the end.
                    while let Ok(event) = monitor.try_recv() {
                        state.monitored(event);
                    }
                    if left == 0 {
                        yield_now().await;
                    }
                }
                count = commands.recv_many(&mut batch, BATCH) => {
                    for command in batch.drain(..) {
                        if state.command(command).is_break() {
                            return state.end().await;
                        }
                    }
                    if count == BATCH {
                        yield_now().await;
                    }
                }
                Some(event) = monitor.next() => state.monitored(event),
                () = state.outbox.flush() => {}
                () = sleep_until(timeout.unwrap_or_else(Instant::now)), if timeout.is_some() => {
                    state.expire(Instant::now());
                }
            }
        }
        // The socket first, so that the address is free when the end is told.
        drop(receiver);
        let done = state.closing.take();
        state.end().await;
        drop(home);
        for done in done.into_iter().flat_map(|closing| closing.done) {
            // Nobody may be waiting any more.
            let _gone = done.send(());
        }
    }
}

impl State {
    fn next_timeout(&self) -> Option<Instant> {
        let look = self.closing.as_ref().map(|_| Instant::now() + LOOK);
        [look, self.sessions.next_timeout()].into_iter().flatten().min()
    }

    fn is_closed(&self) -> bool {
        let Some(closing) = &self.closing else { return false };
        let is_idle = || self.connections.values().all(|each| each.exchange.is_idle());
        Instant::now() >= closing.deadline || is_idle() && self.door.links().are_drained()
    }

    async fn end(mut self) {
        self.directory.lock().clear();
        for connection in self.connections.values_mut() {
            connection.exchange.end(&crate::ask::closed());
        }
        drop(self.sender);
        self.door.end().await;
    }

    /// A message from a connection that the door let in.
    fn message(&mut self, now: Instant, message: ZmqMessage) {
        let mut frames = message.into_vecdeque().into_iter();
        let Some(number) = frames.next().and_then(|route| Links::number(&route)) else { return };
        match read(frames) {
            Ok(Language::Native(frame, payload)) => self.frame(now, number, frame, payload),
            Ok(Language::Original) => {
                self.counters.original.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.counters.malformed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(connection = number, %error, "a message was dropped");
                self.unreadable(number, error);
            }
        }
    }

    /// Who waits for an answer is told why there is none.
    fn unreadable(&mut self, number: u64, error: FrameError) {
        match error {
            FrameError::Introduction { version, problem } => {
                self.refuse_version(number, version, Some(&problem));
            }
            FrameError::Request { id, .. } if self.connections.contains_key(&number) => {
                let result = Err(NetworkError::refused(ErrorKind::Protocol, error.to_string()));
                self.reply(number, &Frame::Response { id, result });
            }
            _ => {}
        }
    }

    fn frame(&mut self, now: Instant, number: u64, frame: Frame, payload: Bytes) {
        if let Frame::Hello(hello) = frame {
            return self.hello(now, number, hello);
        }
        let (Some(client), Some(connection)) =
            (self.sessions.heard(now, number), self.connections.get_mut(&number))
        else {
            return self.stranger(number, &frame);
        };
        match frame {
            Frame::Ping => {
                // An owner that is too slow hears the next one.
                let _full = self.outbox.offer(Incoming::Alive(client.clone()));
                self.reply(number, &Frame::Pong);
            }
            Frame::Close => {
                let client = client.clone();
                self.reply(number, &Frame::Closed);
                self.leave(&client, false);
            }
            Frame::Event(event) => {
                let peer = client.clone();
                if self.outbox.offer(Incoming::Event { peer, event, payload }).is_err() {
                    tracing::warn!(%client, "its events came faster than they were taken");
                    connection.link.kick();
                }
            }
            frame => match connection.exchange.receive(frame, payload, now) {
                Outcome::Nothing => {}
                Outcome::Send(frame) => self.reply(number, &frame),
                Outcome::Request(request) if self.closing.is_some() => {
                    request.responder.reply(Err(NetworkError::not_processed(
                        ErrorKind::Unavailable,
                        "the server is closing",
                    )));
                }
                Outcome::Request(request) => {
                    if let Err(Incoming::Request(request)) =
                        self.outbox.offer(Incoming::Request(request))
                    {
                        request.responder.reply(Err(busy("the server is too busy; try again")));
                    }
                }
                Outcome::Misplaced => {
                    self.counters.misplaced.fetch_add(1, Ordering::Relaxed);
                }
            },
        }
    }

    /// A frame from a connection without session: nothing is processed.
    fn stranger(&mut self, number: u64, frame: &Frame) {
        match frame {
            Frame::Close => return self.reply(number, &Frame::Closed),
            // The answers to what an ended session was asked.
            Frame::Response { .. } | Frame::Chunk { .. } | Frame::Cancel { .. } => return,
            _ => self.reply(number, &Frame::AskHello),
        }
        if let &Frame::Request { id, .. } = frame {
            let result =
                Err(NetworkError::not_processed(ErrorKind::Unavailable, "say hello first"));
            self.reply(number, &Frame::Response { id, result });
        }
    }

    fn hello(&mut self, now: Instant, number: u64, hello: Hello) {
        let Some(link) = self.door.links().get(number) else { return };
        if hello.version != VERSION {
            return self.refuse_version(number, hello.version, None);
        }
        let alive_timeout = Duration::from_millis(u64::from(hello.alive_timeout_ms));
        let alive_timeout = alive_timeout.clamp(ALIVE.0, ALIVE.1);
        let client = hello.client;
        let greeted = self.sessions.hello(now, number, &client, alive_timeout);
        match greeted {
            Greeted::Taken => return self.refuse(number, "this connection has another client"),
            Greeted::Full => return self.refuse(number, "there are too many sessions"),
            Greeted::Moved(Some(before)) => {
                if let Some(mut connection) = self.connections.remove(&before) {
                    connection.exchange.end(&lost(&client, "moved to a new connection"));
                    connection.link.kick();
                }
            }
            Greeted::New | Greeted::Repeated | Greeted::Moved(None) => {}
        }
        let resumed = greeted != Greeted::New;
        if greeted != Greeted::Repeated {
            tracing::debug!(%client, from = %link.from, resumed, "a peer joined");
            self.directory.lock().insert(client.clone(), Arc::clone(&link));
            let (lane, account) = (self.lane.clone(), Arc::clone(&link.account));
            let exchange = Exchange::new(number, client.clone(), lane, account);
            self.connections.insert(number, Connection { client: client.clone(), link, exchange });
        }
        let server = self.config.id.clone();
        let features = feature::ALL;
        self.reply(
            number,
            &Frame::Welcome(Welcome { version: VERSION, features, server, resumed }),
        );
        if greeted != Greeted::Repeated {
            let role = hello.role;
            self.outbox.deliver(Incoming::Joined { peer: client, role, alive_timeout, resumed });
        }
    }

    fn refuse(&mut self, number: u64, why: &str) {
        let why = format!("the {} refuses hello: {why}", self.config.role.as_str());
        self.reply(number, &Frame::Refused(NetworkError::refused(ErrorKind::Protocol, why)));
    }

    fn refuse_version(&mut self, number: u64, version: u16, problem: Option<&str>) {
        let Some(link) = self.door.links().get(number) else { return };
        let ours = format!("the {}", self.config.role.as_str());
        let error = foreign(&ours, "this program", version, problem);
        tracing::warn!(from = %link.from, version, "a peer of another version is refused");
        self.reply(number, &Frame::Refused(error));
    }

    /// A session ends.
    fn leave(&mut self, client: &ClientId, lost: bool) {
        let Some(connection) = self.sessions.remove(client) else { return };
        // Told before its calls end, so that nobody asks it again in between.
        self.outbox.deliver(Incoming::Left { peer: client.clone(), lost });
        if let Some(number) = connection {
            self.unbind(number, "its session ended");
        }
    }

    /// A connection has no session any more.
    fn unbind(&mut self, number: u64, why: &str) {
        if let Some(mut connection) = self.connections.remove(&number) {
            self.directory.lock().remove(&connection.client);
            connection.exchange.end(&lost(&connection.client, why));
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(client) = self.sessions.silent(now) {
            tracing::debug!(%client, "a peer was silent for too long");
            self.leave(&client, true);
        }
    }

    fn monitored(&mut self, event: SocketEvent) {
        if let SocketEvent::Disconnected(route) = event
            && let Some(number) = Links::number(&route)
            && self.sessions.disconnected(number).is_some()
        {
            self.unbind(number, "the connection was lost");
        }
    }

    /// Breaks when the server ends at once.
    fn command(&mut self, command: Command) -> std::ops::ControlFlow<()> {
        match command {
            Command::Call { connection, id, message, asker } => {
                match self.connections.get_mut(&connection) {
                    Some(known) => {
                        known.exchange.expect(id, Pending { asker, message: None });
                        let link = Arc::clone(&known.link);
                        self.post(&link, message);
                    }
                    None => {
                        self.unsent(connection, &message);
                        let error = "the connection was lost before the request was sent";
                        let error = NetworkError::not_processed(ErrorKind::Unavailable, error);
                        // The caller may have left.
                        let _gone = asker.send(Err(error));
                    }
                }
            }
            Command::Cancel { connection, id } => {
                let known = self.connections.get_mut(&connection);
                if let Some(frame) = known.and_then(|known| known.exchange.cancel(id)) {
                    self.reply(connection, &frame);
                }
            }
            Command::Credit { connection, id, chunks } => {
                let known = self.connections.get_mut(&connection);
                if let Some(frame) = known.and_then(|known| known.exchange.consumed(id, chunks)) {
                    self.reply(connection, &frame);
                }
            }
            Command::Answer { connection, id, message, last } => {
                if let Some(known) = self.connections.get_mut(&connection) {
                    let link = Arc::clone(&known.link);
                    if known.exchange.answer(id, last) {
                        self.post(&link, message);
                    } else {
                        link.account.sub(message.cost());
                    }
                } else {
                    self.unsent(connection, &message);
                }
            }
            Command::Event { connection, message } => {
                if let Some(known) = self.connections.get(&connection) {
                    let link = Arc::clone(&known.link);
                    self.post(&link, message);
                } else {
                    self.unsent(connection, &message);
                }
            }
            Command::Forget(client) => {
                if let Some(Some(number)) = self.sessions.remove(&client) {
                    self.unbind(number, "the server forgot it");
                }
            }
            Command::Close { deadline, done } => {
                self.door.stop();
                let deadline = Instant::now() + deadline;
                let closing =
                    self.closing.get_or_insert_with(|| Closing { deadline, done: Vec::new() });
                closing.done.push(done);
            }
            Command::End => return std::ops::ControlFlow::Break(()),
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Sends a small frame of our own.
    fn reply(&mut self, number: u64, frame: &Frame) {
        let Some(link) = self.door.links().get(number) else { return };
        match Outgoing::new(frame, Bytes::new()) {
            Ok(message) => {
                link.account.add(message.cost());
                self.post(&link, message);
            }
            Err(error) => tracing::error!(%error, "a frame cannot be encoded"),
        }
    }

    /// Gives back the cost of a message that its session did not outlive: the
    /// connection may have another session yet.
    fn unsent(&self, number: u64, message: &Outgoing) {
        if let Some(link) = self.door.links().get(number) {
            link.account.sub(message.cost());
        }
    }

    /// Hands a message, whose cost is counted, to the socket.
    fn post(&mut self, link: &Link, message: Outgoing) {
        let message = message.into_message(Some(link.route.clone()));
        // A send that would wait holds a lock of the crate while it does; so
        // it is given up, and the peer with it.
        let sent = self.sender.send(message).now_or_never();
        if sent.is_none() || link.account.is_overdrawn() {
            tracing::warn!(from = %link.from, "a peer takes too little and is disconnected");
            link.kick();
        }
        if let Some(Err(error)) = sent {
            tracing::debug!(from = %link.from, %error, "the connection is gone");
        }
    }
}

fn lost(client: &ClientId, why: &str) -> NetworkError {
    NetworkError::maybe_processed(ErrorKind::Unavailable, format!("{client} was lost: {why}"))
}
