//! One connection of a peer, from hello to its end.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use hulynet_protocol::{
    ErrorKind, Frame, FrameError, Hello, NetworkError, Welcome,
    frame::{VERSION, feature},
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};
use zeromq::{DealerSendHalf, SocketEvent, SocketRecv, SocketSend, ZmqMessage};

use super::{PeerEvent, confirm::Unconfirmed, dial::Dialed, supervisor::Supervisor};
use crate::{
    account::Account,
    exchange::{Exchange, Outcome, Pending, busy},
    lane::{ANY, Command},
    server::BATCH,
    wire::{Language, Outgoing, foreign, read},
};

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The owner wanted it.
    Closed,
    /// To be made again.
    Lost,
}

/// Why the loop is left.
enum Leave {
    Closed,
    Lost(String),
    /// The server does not want us, or we do not understand it.
    Refused(NetworkError),
}

/// How far a connection is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Hello was sent. `again`: the server had forgotten us.
    Greeting {
        again: bool,
    },
    Joined,
    /// Close was sent.
    Leaving,
}

/// The state of one connection.
struct Online<'supervisor> {
    supervisor: &'supervisor mut Supervisor,
    sender: DealerSendHalf,
    exchange: Exchange,
    stage: Stage,
    heard: Instant,
    next_ping: Instant,
    close_by: Option<Instant>,
    /// What waits to be sent in answers.
    answers: Arc<Account>,
    events: Unconfirmed,
    /// Whether the owner was told that it joined.
    was_joined: bool,
}

impl Supervisor {
    /// Says hello and works until the connection ends.
    pub(super) async fn online(&mut self, dialed: Dialed) -> End {
        let Dialed { socket, mut monitor } = dialed;
        let (sender, mut receiver) = socket.split();
        let now = Instant::now();
        let answers = Arc::<Account>::default();
        // The server names itself in its welcome.
        let (client, lane) = (self.config.client.clone(), self.lane.clone());
        let exchange = Exchange::new(self.connection, client, lane, Arc::clone(&answers));
        let mut online = Online {
            supervisor: self,
            sender,
            exchange,
            stage: Stage::Greeting { again: false },
            heard: now,
            next_ping: now,
            close_by: None,
            answers,
            events: Unconfirmed::default(),
            was_joined: false,
        };
        let mut batch = Vec::with_capacity(BATCH);
        let mut step = online.greet();
        while step.is_continue() {
            let timeout = online.next_timeout();
            step = tokio::select! {
                message = receiver.recv() => {
                    let now = Instant::now();
                    let (mut next, mut left) = (Some(message), BATCH);
                    let mut step = ControlFlow::Continue(());
                    while let Some(message) = next.take() {
                        step = match message {
                            Ok(message) => online.message(now, message),
                            Err(error) => lost(format!("the connection broke: {error}")),
                        };
                        left -= 1;
                        if step.is_continue() && left > 0 {
                            next = receiver.recv().now_or_never();
                        }
                    }
                    if left == 0 {
                        yield_now().await;
                    }
                    step
                }
                count = online.supervisor.commands.recv_many(&mut batch, BATCH) => {
                    let step = online.commands(batch.drain(..));
                    if count == BATCH {
                        yield_now().await;
                    }
                    step
                }
                Some(event) = monitor.next() => match event {
                    SocketEvent::Disconnected(_) => lost("the connection was closed"),
                    _ => ControlFlow::Continue(()),
                },
                () = online.supervisor.outbox.flush() => ControlFlow::Continue(()),
                () = sleep_until(timeout) => online.timeout(Instant::now()),
            };
        }
        online.end(step)
    }
}

fn lost(why: impl Into<String>) -> ControlFlow<Leave> {
    ControlFlow::Break(Leave::Lost(why.into()))
}

impl Online<'_> {
    fn greet(&mut self) -> ControlFlow<Leave> {
        let config = &self.supervisor.config;
        let alive_timeout_ms = u32::try_from(config.alive_timeout.as_millis()).unwrap_or(u32::MAX);
        let (client, role) = (config.client.clone(), config.role);
        let (version, features) = (VERSION, feature::ALL);
        self.send(&Frame::Hello(Hello { version, features, client, role, alive_timeout_ms }))
    }

    fn next_timeout(&self) -> Instant {
        let silent = self.heard + self.supervisor.config.alive_timeout;
        let ping = (self.stage == Stage::Joined).then_some(self.next_ping);
        [ping, self.close_by].into_iter().flatten().fold(silent, Instant::min)
    }

    fn timeout(&mut self, now: Instant) -> ControlFlow<Leave> {
        if self.close_by.is_some_and(|by| by <= now) {
            return ControlFlow::Break(Leave::Closed);
        }
        let config = &self.supervisor.config;
        if self.heard + config.alive_timeout <= now {
            return lost(format!("it was silent for {:?}", config.alive_timeout));
        }
        if self.stage == Stage::Joined && self.next_ping <= now {
            self.next_ping = now + config.ping_interval;
            return self.ping();
        }
        ControlFlow::Continue(())
    }

    fn ping(&mut self) -> ControlFlow<Leave> {
        self.events.ping();
        self.send(&Frame::Ping)
    }

    fn message(&mut self, now: Instant, message: ZmqMessage) -> ControlFlow<Leave> {
        self.heard = now;
        match read(message.into_vecdeque().into_iter()) {
            Ok(Language::Native(frame, payload)) => self.frame(now, frame, payload),
            Ok(Language::Original) => {
                lost("it answers in the language of the original, which is not spoken here")
            }
            Err(FrameError::Introduction { version, problem }) => {
                self.foreign(version, Some(&problem))
            }
            Err(error @ FrameError::Request { id, .. }) => {
                let result = Err(NetworkError::refused(ErrorKind::Protocol, error.to_string()));
                self.send(&Frame::Response { id, result })
            }
            Err(error) => lost(format!("it sent a message that cannot be read: {error}")),
        }
    }

    fn frame(&mut self, now: Instant, frame: Frame, payload: Bytes) -> ControlFlow<Leave> {
        match (frame, &self.stage) {
            (Frame::Pong, _) => self.supervisor.shared.account.sub(self.events.pong()),
            (Frame::Welcome(welcome), Stage::Greeting { .. }) => return self.join(now, welcome),
            (Frame::Refused(error), _) => return ControlFlow::Break(Leave::Refused(error)),
            (Frame::AskHello, Stage::Joined) => {
                self.stage = Stage::Greeting { again: true };
                return self.greet();
            }
            (Frame::Closed, _) => return ControlFlow::Break(Leave::Closed),
            // Between being asked for hello and the welcome every answer is a
            // refusal: it was not processed, so it is kept and sent again.
            (Frame::Response { id, result: Err(_) }, Stage::Greeting { again: true }) => {
                if let Some(pending) = self.exchange.take(id) {
                    self.supervisor.kept.insert(id, pending);
                }
            }
            (Frame::Event(event), Stage::Joined) => {
                let told = self.supervisor.outbox.offer(PeerEvent::Event { event, payload });
                if told.is_err() {
                    return lost("events came faster than they were taken");
                }
            }
            (frame, Stage::Joined | Stage::Leaving) => {
                match self.exchange.receive(frame, payload, now) {
                    Outcome::Nothing => {}
                    Outcome::Send(frame) => return self.send(&frame),
                    Outcome::Request(request) => self.request(PeerEvent::Request(request)),
                    Outcome::Misplaced => tracing::debug!("a frame without place was dropped"),
                }
            }
            (frame, _) => tracing::debug!(?frame, "a frame before the welcome was dropped"),
        }
        ControlFlow::Continue(())
    }

    fn foreign(&self, version: u16, problem: Option<&str>) -> ControlFlow<Leave> {
        let theirs = &self.supervisor.shared.address;
        ControlFlow::Break(Leave::Refused(foreign("this program", theirs, version, problem)))
    }

    fn request(&mut self, request: PeerEvent) {
        if let Err(PeerEvent::Request(request)) = self.supervisor.outbox.offer(request) {
            request.responder.reply(Err(busy("this peer is too busy; try again")));
        }
    }

    fn join(&mut self, now: Instant, welcome: Welcome) -> ControlFlow<Leave> {
        let Welcome { version, server, resumed, .. } = welcome;
        if version != VERSION {
            return self.foreign(version, None);
        }
        // What is left was sent in a session that the server forgot.
        self.exchange.end(&NetworkError::maybe_processed(
            ErrorKind::Unavailable,
            format!("{} forgot this session", self.supervisor.shared.address),
        ));
        if let Ok(peer) = hulynet_protocol::ClientId::new(server.as_str()) {
            self.exchange.rename(peer);
        }
        self.supervisor.shared.joined(self.supervisor.connection);
        self.supervisor.backoff.reset();
        self.supervisor.refusal = None;
        self.stage = Stage::Joined;
        self.next_ping = now + self.supervisor.config.ping_interval;
        self.was_joined = true;
        self.supervisor.outbox.deliver(PeerEvent::Joined { server, resumed });
        while let Some((id, pending)) = self.supervisor.kept.pop_first() {
            self.call(id, pending)?;
        }
        ControlFlow::Continue(())
    }

    /// Sends a request and keeps it, in case that the server forgot us.
    fn call(&mut self, id: u64, pending: Pending) -> ControlFlow<Leave> {
        let Some(message) = pending.message.clone() else { return ControlFlow::Continue(()) };
        self.exchange.expect(id, pending);
        self.post(message)
    }

    /// Commands after one that ended the connection are for the next.
    fn commands(&mut self, mut commands: impl Iterator<Item = Command>) -> ControlFlow<Leave> {
        let step = commands.try_for_each(|command| self.command(command));
        if step.is_break() && commands.try_for_each(|left| self.supervisor.keep(left)).is_break() {
            return ControlFlow::Break(Leave::Closed);
        }
        step
    }

    fn command(&mut self, command: Command) -> ControlFlow<Leave> {
        match command {
            Command::Call { connection, id, message, asker } => {
                let pending = Pending { asker, message: Some(message) };
                if self.stage == Stage::Joined && (connection == ANY || self.is(connection)) {
                    return self.call(id, pending);
                }
                self.supervisor.keep_call(connection, id, pending);
            }
            Command::Cancel { id, .. } => {
                self.supervisor.kept.remove(&id);
                if let Some(frame) = self.exchange.cancel(id) {
                    return self.send(&frame);
                }
            }
            Command::Credit { connection, id, chunks } if self.is(connection) => {
                if let Some(frame) = self.exchange.consumed(id, chunks) {
                    return self.send(&frame);
                }
            }
            Command::Answer { connection, id, message, last } if self.is(connection) => {
                self.answers.sub(message.cost());
                if self.exchange.answer(id, last) {
                    return self.post(message);
                }
            }
            Command::Close { deadline, done } => {
                self.supervisor.closing.push(done);
                if self.stage == Stage::Leaving {
                    return ControlFlow::Continue(());
                }
                if self.stage != Stage::Joined {
                    return ControlFlow::Break(Leave::Closed);
                }
                self.stage = Stage::Leaving;
                self.close_by = Some(Instant::now() + deadline);
                return self.send(&Frame::Close);
            }
            Command::End => return ControlFlow::Break(Leave::Closed),
            Command::Event { message, .. } if self.stage == Stage::Joined => {
                let is_due = self.events.sent(message.cost());
                self.post(message)?;
                if is_due {
                    return self.ping();
                }
            }
            // An event without session is lost like the session.
            Command::Event { message, .. } => self.supervisor.shared.account.sub(message.cost()),
            // About a former connection, or not for peers.
            Command::Answer { .. } | Command::Credit { .. } | Command::Forget(_) => {}
        }
        ControlFlow::Continue(())
    }

    fn is(&self, connection: u64) -> bool {
        self.supervisor.connection == connection
    }

    fn send(&mut self, frame: &Frame) -> ControlFlow<Leave> {
        match Outgoing::new(frame, Bytes::new()) {
            Ok(message) => self.post(message),
            Err(error) => lost(format!("a frame cannot be encoded: {error}")),
        }
    }

    fn post(&mut self, message: Outgoing) -> ControlFlow<Leave> {
        // A send that would wait means that the server takes nothing.
        match self.sender.send(message.into_message(None)).now_or_never() {
            Some(Ok(())) => ControlFlow::Continue(()),
            Some(Err(error)) => lost(format!("the connection broke: {error}")),
            None => lost("it takes nothing any more"),
        }
    }

    fn end(mut self, step: ControlFlow<Leave>) -> End {
        let address = &self.supervisor.shared.address;
        self.supervisor.shared.account.sub(self.events.rest());
        let (reason, refusal) = match step {
            ControlFlow::Break(Leave::Lost(reason)) if self.stage != Stage::Leaving => {
                (reason, None)
            }
            ControlFlow::Break(Leave::Refused(error)) if self.stage != Stage::Leaving => {
                (error.message.clone(), Some(error))
            }
            _ => {
                self.exchange.end(&crate::ask::closed());
                return End::Closed;
            }
        };
        let error = format!("the connection to {address} was lost: {reason}");
        tracing::debug!("{error}");
        self.exchange.end(&NetworkError::maybe_processed(ErrorKind::Unavailable, error));
        self.supervisor.shared.apart(&*reason);
        if self.was_joined {
            self.supervisor.outbox.deliver(PeerEvent::Lost { reason });
        }
        if let Some(error) = refusal {
            self.supervisor.refused(error);
        }
        End::Lost
    }
}
