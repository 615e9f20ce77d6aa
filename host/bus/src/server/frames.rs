//! What peers send to a server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hulynet_protocol::{
    ClientId, ErrorKind, Frame, FrameError, Hello, NetworkError, Welcome,
    frame::{Proof, VERSION, feature, nonce},
};
use tokio::time::Instant;
use zeromq::{SocketEvent, ZmqMessage};

use super::{
    Contact, Incoming,
    service::{Member, State},
    sessions::{Greeted, Greeting},
};
use crate::{
    calls::Calls,
    door::{Link, Links},
    exchange::{Exchange, Outcome, busy},
    proof::{Verdict, judge},
    wire::{Language, foreign, read},
};

/// Alive timeouts that peers may choose.
const ALIVE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(600));

impl State {
    /// A message from a connection that the door let in.
    pub(super) fn message(&mut self, now: Instant, message: ZmqMessage) {
        let mut frames = message.into_vecdeque().into_iter();
        let Some(number) = frames.next().and_then(|route| Links::number(&route)) else { return };
        match read(frames) {
            Ok(Language::Native(frame, payload)) => self.frame(now, number, frame, payload),
            Ok(Language::Original(message)) => self.original(now, number, message),
            Err(error) => {
                self.counters.malformed();
                self.strike(now, number);
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
            FrameError::Request { id, .. } if self.sessions.is_attached(number) => {
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
        let heard = self.sessions.heard(now, number);
        let Some((session, member)) =
            heard.and_then(|session| Some((session, self.members.get_mut(&session)?)))
        else {
            return self.stranger(now, number, &frame);
        };
        match frame {
            Frame::Ping { acknowledged } => {
                member.exchange.acknowledge(acknowledged);
                let acknowledged = member.exchange.acknowledged();
                // An owner that is too slow hears the next one.
                let _full = self.outbox.offer(Incoming::Alive(member.client.clone()));
                self.reply(number, &Frame::Pong { acknowledged });
            }
            Frame::Close => {
                self.reply(number, &Frame::Closed);
                self.leave(session, false);
            }
            Frame::Event(event) => {
                let peer = member.client.clone();
                if self.outbox.offer(Incoming::Event { peer, event, payload }).is_err()
                    && let Some(link) = &member.link
                {
                    link.kick("its events came faster than they were taken");
                }
            }
            frame => match member.exchange.receive(frame, payload, now) {
                Outcome::Nothing => {}
                Outcome::Send(frame) => self.reply(number, &frame),
                Outcome::Again(answer) => {
                    if let Some(link) = self.door.links().get(number) {
                        self.send(&link, answer);
                    }
                }
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
                    self.counters.misplaced();
                    self.strike(now, number);
                }
            },
        }
    }

    /// A connection sent a frame without effect.
    pub(super) fn strike(&self, now: Instant, number: u64) {
        if let Some(link) = self.door.links().get(number) {
            link.strike(now);
        }
    }

    /// A frame from a connection without session: nothing is processed.
    fn stranger(&mut self, now: Instant, number: u64, frame: &Frame) {
        // A peer whose session ended meanwhile may have sent many.
        if let Some(link) = self.door.links().get(number).filter(|link| !link.is_greeted()) {
            if link.is_shut() {
                return;
            }
            link.strike(now);
        }
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
        let Some(link) = self.door.links().get(number).filter(|link| !link.is_shut()) else {
            return;
        };
        if hello.version != VERSION {
            link.strike(now);
            return self.refuse_version(number, hello.version, None);
        }
        let challenge = link.challenge(None);
        let secret = self.door.config().secret.as_ref();
        let proof = match judge(secret, &self.config.id, challenge, &hello) {
            Verdict::Joins(proof) => proof,
            Verdict::Challenged => {
                if challenge.is_some() {
                    link.strike(now);
                }
                let nonce = nonce();
                link.challenge(Some(nonce));
                return self.reply_on(&link, &Frame::Challenge(nonce));
            }
            Verdict::Refused(why) => return self.turn_away(now, &link, why),
        };
        let alive_timeout = Duration::from_millis(u64::from(hello.alive_timeout_ms));
        let alive_timeout = clamp(alive_timeout);
        let (client, run) = (hello.client, hello.run);
        let run = Some(run);
        let greeting = Greeting { connection: number, client: &client, run, alive_timeout };
        let (session, resumed) = match self.sessions.hello(now, greeting) {
            Greeted::Taken => {
                return self.refuse(
                    &link,
                    ErrorKind::Protocol,
                    "this connection has another client",
                );
            }
            Greeted::Full => {
                return self.refuse(&link, ErrorKind::Protocol, "there are too many sessions");
            }
            Greeted::Repeated(session) => {
                link.strike(now);
                return self.welcome(&link, session, true, proof);
            }
            Greeted::Moved(session) => (session, true),
            Greeted::New(session) => (session, false),
            Greeted::Replaced { session, ended } => {
                self.end_member(ended, "it began anew");
                (session, true)
            }
        };
        self.door.links().greet(&link);
        tracing::debug!(%client, from = %link.from, resumed, "a peer joined");
        self.welcome(&link, session, resumed, proof);
        self.attach(session, &client, link);
        let role = hello.role;
        let (peer, language) = (client, super::Language::Native);
        self.outbox.deliver(Incoming::Joined { peer, role, language, alive_timeout, resumed });
    }

    fn welcome(&mut self, link: &Link, session: u64, resumed: bool, proof: Option<Proof>) {
        let server = self.config.id.clone();
        let (version, features) = (VERSION, feature::ALL);
        let welcome = Welcome { version, features, server, resumed, session, proof };
        self.reply_on(link, &Frame::Welcome(welcome));
    }

    /// A session goes on, or begins, over a connection.
    fn attach(&mut self, session: u64, client: &ClientId, link: Arc<Link>) {
        let member = self.members.entry(session).or_insert_with(|| {
            let (lane, calls) = (self.lane.clone(), Arc::<Calls>::default());
            let mut exchange = Exchange::new(session, client.clone(), lane, calls);
            exchange.share(&self.totals);
            Member { client: client.clone(), link: None, exchange }
        });
        if let Some(before) = member.link.replace(Arc::clone(&link)) {
            member.exchange.detach();
            before.kick("its client came back on another one");
        }
        let unanswered = member.exchange.attach(Arc::clone(&link.account));
        let calls = member.exchange.calls();
        let contact = Contact { session, link: Arc::clone(&link), calls };
        self.directory.lock().insert(client.clone(), Arc::new(contact));
        for message in unanswered {
            self.send(&link, message);
        }
    }

    fn refuse(&mut self, link: &Link, kind: ErrorKind, why: &str) {
        let why = format!("the {} refuses hello: {why}", self.config.role.as_str());
        self.reply_on(link, &Frame::Refused(NetworkError::refused(kind, why)));
    }

    /// A peer did not prove to have the secret: it is told why, and gets
    /// nothing else.
    fn turn_away(&mut self, now: Instant, link: &Link, why: &str) {
        link.shut();
        self.counters.misplaced();
        if let Some(unsaid) = self.log.line(now) {
            tracing::warn!(from = %link.from, why, unsaid, "the hello of a peer is refused");
        }
        self.refuse(link, ErrorKind::PermissionDenied, why);
    }

    fn refuse_version(&mut self, number: u64, version: u16, problem: Option<&str>) {
        let Some(link) = self.door.links().get(number) else { return };
        let ours = format!("the {}", self.config.role.as_str());
        let error = foreign(&ours, "this program", version, problem);
        if let Some(unsaid) = self.log.line(Instant::now()) {
            tracing::warn!(from = %link.from, version, unsaid, "a peer of another version is refused");
        }
        self.reply_on(&link, &Frame::Refused(error));
    }

    /// A session ends, and its owner is told.
    pub(super) fn leave(&mut self, session: u64, lost: bool) {
        let Some(client) = self.sessions.remove(session) else { return };
        if lost {
            self.originals.lose(session);
        }
        // Told before its calls end, so that nobody asks it again in between.
        self.outbox.deliver(Incoming::Left { peer: client, lost });
        self.end_member(session, "its session ended");
    }

    /// What belongs to a session that is over ends.
    pub(super) fn end_member(&mut self, session: u64, why: &str) {
        if let Some(mut member) = self.members.remove(&session) {
            self.directory.lock().remove(&member.client);
            member.exchange.end(&lost(&member.client, why));
        }
        self.end_original(session, why);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.renew_originals(now);
        while let Some(session) = self.sessions.silent(now) {
            tracing::debug!(session, "a peer was silent for too long");
            self.leave(session, true);
        }
    }

    pub(super) fn monitored(&mut self, event: SocketEvent) {
        if let SocketEvent::Disconnected(route) = event
            && let Some(number) = Links::number(&route)
        {
            let session = self.sessions.disconnected(number);
            if let Some(member) = session.and_then(|session| self.members.get_mut(&session)) {
                self.directory.lock().remove(&member.client);
                member.link = None;
                member.exchange.detach();
            }
            self.original_disconnected(number, session);
        }
    }
}

/// The alive timeout that a peer gets.
pub(super) fn clamp(alive_timeout: Duration) -> Duration {
    alive_timeout.clamp(ALIVE.0, ALIVE.1)
}

pub(super) fn lost(client: &ClientId, why: &str) -> NetworkError {
    NetworkError::maybe_processed(ErrorKind::Unavailable, format!("{client} was lost: {why}"))
}
