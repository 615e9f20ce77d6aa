//! One connection of a peer, from hello to its end.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use hulynet_protocol::{
    ErrorKind, Frame, FrameError, Hello, NetworkError, Welcome,
    frame::{Proof, VERSION, feature},
};
use tokio::{task::yield_now, time::Instant};

use super::{PeerEvent, confirm::Unconfirmed, line::Line, supervisor::Supervisor};
use crate::{
    alarm::Alarm,
    exchange::{Outcome, Pending, busy},
    lane::{ANY, Command},
    proof::Introduction,
    server::BATCH,
    wire::{Language, Outgoing, foreign, read},
    zmtp::Frames,
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
    line: Line,
    stage: Stage,
    /// What the two sides asked each other to prove.
    introduction: Introduction,
    heard: Instant,
    next_ping: Instant,
    close_by: Option<Instant>,
    events: Unconfirmed,
    /// Whether the owner was told that it joined.
    was_joined: bool,
}

impl Supervisor {
    /// Says hello and works until the connection ends.
    pub(super) async fn online(&mut self, line: Line) -> End {
        let now = Instant::now();
        let mut online = Online {
            supervisor: self,
            line,
            stage: Stage::Greeting { again: false },
            introduction: Introduction::default(),
            heard: now,
            next_ping: now,
            close_by: None,
            events: Unconfirmed::default(),
            was_joined: false,
        };
        let mut batch = Vec::with_capacity(BATCH);
        let mut step = online.greet();
        // What came together with the end of the handshake was read already.
        if step.is_continue() {
            step = online.messages();
        }
        let mut alarm = Alarm::new(now);
        while step.is_continue() {
            // What a round made leaves together.
            if let Err(error) = online.line.flush() {
                step = lost(error.to_string());
                break;
            }
            let timeout = online.next_timeout();
            step = tokio::select! {
                received = online.line.receive() => match received {
                    Ok(()) => online.messages(),
                    Err(error) => lost(error.to_string()),
                },
                count = online.supervisor.commands.recv_many(&mut batch, BATCH) => {
                    let step = online.commands(batch.drain(..));
                    if count == BATCH {
                        yield_now().await;
                    }
                    step
                }
                () = online.supervisor.outbox.flush() => ControlFlow::Continue(()),
                () = alarm.at(timeout) => online.timeout(Instant::now()),
            };
        }
        // The goodbye, if it is one; what does not fit is lost with the
        // connection.
        let _gone = online.line.flush();
        online.end(step)
    }
}

fn lost(why: impl Into<String>) -> ControlFlow<Leave> {
    ControlFlow::Break(Leave::Lost(why.into()))
}

impl Online<'_> {
    fn greet(&mut self) -> ControlFlow<Leave> {
        self.introduction = Introduction::begin(self.supervisor.config.secret.as_ref());
        self.hello(None)
    }

    fn hello(&mut self, proof: Option<Proof>) -> ControlFlow<Leave> {
        let config = &self.supervisor.config;
        let alive_timeout_ms = u32::try_from(config.alive_timeout.as_millis()).unwrap_or(u32::MAX);
        let (client, role) = (config.client.clone(), config.role);
        let (version, features, run) = (VERSION, feature::ALL, self.supervisor.run);
        let nonce = self.introduction.nonce();
        self.send(&Frame::Hello(Hello {
            version,
            features,
            client,
            run,
            role,
            alive_timeout_ms,
            nonce,
            proof,
        }))
    }

    /// How long the server may be silent: not quite the alive timeout, so that
    /// a half-open connection is replaced while its session still lives.
    fn patience(&self) -> Duration {
        self.supervisor.config.alive_timeout * 2 / 3
    }

    fn next_timeout(&self) -> Instant {
        let silent = self.heard + self.patience();
        let ping = (self.stage == Stage::Joined).then_some(self.next_ping);
        [ping, self.close_by].into_iter().flatten().fold(silent, Instant::min)
    }

    fn timeout(&mut self, now: Instant) -> ControlFlow<Leave> {
        if self.close_by.is_some_and(|by| by <= now) {
            return ControlFlow::Break(Leave::Closed);
        }
        if self.heard + self.patience() <= now {
            return lost(format!("it was silent for {:?}", self.patience()));
        }
        if self.stage == Stage::Joined && self.next_ping <= now {
            self.next_ping = now + self.supervisor.config.ping_interval;
            return self.ping();
        }
        ControlFlow::Continue(())
    }

    fn ping(&mut self) -> ControlFlow<Leave> {
        self.events.ping();
        let acknowledged = self.supervisor.exchange.acknowledged();
        self.send(&Frame::Ping { acknowledged })
    }

    /// Takes what has come.
    fn messages(&mut self) -> ControlFlow<Leave> {
        let now = Instant::now();
        loop {
            match self.line.next() {
                Ok(Some(frames)) => self.message(now, frames)?,
                Ok(None) => return ControlFlow::Continue(()),
                Err(error) => return lost(error.to_string()),
            }
        }
    }

    fn message(&mut self, now: Instant, frames: Frames) -> ControlFlow<Leave> {
        self.heard = now;
        match read(frames.into_iter()) {
            Ok(Language::Native(frame, payload)) => self.frame(now, frame, payload),
            Ok(Language::Original(_)) => {
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
            (Frame::Pong { acknowledged }, _) => {
                self.supervisor.exchange.acknowledge(acknowledged);
                self.supervisor.shared.account.sub(self.events.pong());
            }
            (Frame::Welcome(welcome), Stage::Greeting { .. }) => return self.join(now, welcome),
            (Frame::Challenge(theirs), Stage::Greeting { .. }) => {
                return match self.introduction.answer(&self.supervisor.config, theirs) {
                    Some(proof) => self.hello(Some(proof)),
                    None => lost("it asks for a proof that it has no reason to ask for"),
                };
            }
            (Frame::Refused(error), _) => return ControlFlow::Break(Leave::Refused(error)),
            (Frame::AskHello, Stage::Joined) => {
                self.stage = Stage::Greeting { again: true };
                return self.greet();
            }
            (Frame::Closed, _) => return ControlFlow::Break(Leave::Closed),
            // Between being asked for hello and the welcome every answer is a
            // refusal: it was not processed, so it is kept and sent again.
            (Frame::Response { id, result: Err(_) }, Stage::Greeting { again: true }) => {
                if let Some(pending) = self.supervisor.exchange.take(id) {
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
                match self.supervisor.exchange.receive(frame, payload, now) {
                    Outcome::Nothing => {}
                    Outcome::Send(frame) => return self.send(&frame),
                    Outcome::Again(answer) => return self.post(answer),
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
        if welcome.version != VERSION {
            return self.foreign(welcome.version, None);
        }
        if !self.introduction.is_answered(&self.supervisor.config, &welcome) {
            let why = format!(
                "{} does not prove to have this program's secret; name the same file there with \
                 the setting secret-file, or check the address",
                self.supervisor.shared.address
            );
            let error = NetworkError::refused(ErrorKind::PermissionDenied, why);
            return ControlFlow::Break(Leave::Refused(error));
        }
        let Welcome { server, session, .. } = welcome;
        let resumed = self.supervisor.welcomed(&server, session);
        self.supervisor.shared.joined(self.supervisor.connection);
        self.supervisor.backoff.reset();
        self.supervisor.refusal = None;
        self.stage = Stage::Joined;
        self.next_ping = now + self.supervisor.config.ping_interval;
        self.was_joined = true;
        self.supervisor.outbox.deliver(PeerEvent::Joined { server, resumed });
        for message in self.supervisor.exchange.attach(Arc::default()) {
            self.post(message)?;
        }
        while let Some((id, pending)) = self.supervisor.kept.pop_first() {
            self.call(id, pending)?;
        }
        ControlFlow::Continue(())
    }

    /// Sends a request and keeps it, to be sent again.
    fn call(&mut self, id: u64, pending: Pending) -> ControlFlow<Leave> {
        let message = pending.message.clone();
        self.supervisor.exchange.expect(id, pending);
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
            Command::Call { to, id, message, asker, .. } => {
                let pending = Pending { asker, message };
                if self.stage == Stage::Joined && (to == ANY || to == self.supervisor.connection) {
                    return self.call(id, pending);
                }
                self.supervisor.keep_call(to, id, pending);
            }
            Command::Cancel { id, .. } => {
                self.supervisor.kept.remove(&id);
                let frame = self.supervisor.exchange.cancel(id);
                return self.tell(frame);
            }
            Command::Expire { id, time, .. } => {
                let frame = self.supervisor.expire(id, time);
                return self.tell(frame);
            }
            Command::Credit { id, chunks, .. } => {
                let frame = self.supervisor.exchange.consumed(id, chunks);
                return self.tell(frame);
            }
            Command::Answer { session, id, message, streams } if self.is(session) => {
                if let Some(message) = self.supervisor.exchange.answer(id, message, streams) {
                    return self.post(message);
                }
            }
            Command::Chunk { session, id, message, last } if self.is(session) => {
                if self.supervisor.exchange.answer_chunk(id, last) {
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
            // About a former session, or not for peers.
            Command::Answer { .. }
            | Command::Chunk { .. }
            | Command::Forget(_)
            | Command::Original(_) => {}
        }
        ControlFlow::Continue(())
    }

    fn is(&self, session: u64) -> bool {
        self.supervisor.exchange.session() == session
    }

    /// Sends a frame about a request, unless nobody knows of it there.
    fn tell(&mut self, frame: Option<Frame>) -> ControlFlow<Leave> {
        match frame {
            Some(frame) if self.stage == Stage::Joined => self.send(&frame),
            _ => ControlFlow::Continue(()),
        }
    }

    fn send(&mut self, frame: &Frame) -> ControlFlow<Leave> {
        match Outgoing::new(frame, Bytes::new()) {
            Ok(message) => self.post(message),
            Err(error) => lost(format!("a frame cannot be encoded: {error}")),
        }
    }

    fn post(&mut self, message: Outgoing) -> ControlFlow<Leave> {
        match self.line.post(message) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => lost(error.to_string()),
        }
    }

    fn end(self, step: ControlFlow<Leave>) -> End {
        let supervisor = self.supervisor;
        supervisor.shared.account.sub(self.events.rest());
        supervisor.exchange.detach();
        let (reason, refusal) = match step {
            ControlFlow::Break(Leave::Lost(reason)) if self.stage != Stage::Leaving => {
                (reason, None)
            }
            ControlFlow::Break(Leave::Refused(error)) if self.stage != Stage::Leaving => {
                (error.message.clone(), Some(error))
            }
            _ => {
                supervisor.exchange.end(&crate::ask::closed());
                return End::Closed;
            }
        };
        tracing::debug!(address = %supervisor.shared.address, %reason, "connection lost");
        supervisor.shared.apart(&*reason);
        if self.was_joined {
            // By then the server has forgotten the session: it cannot have
            // heard of us after this moment.
            supervisor.give_up_at = Some(Instant::now() + supervisor.config.alive_timeout);
            supervisor.outbox.deliver(PeerEvent::Lost { reason });
        }
        if let Some(error) = refusal {
            supervisor.refused(error);
        }
        End::Lost
    }
}
