//! The task that owns a ROUTER.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, channel::mpsc as monitoring};
use hulynet_protocol::{ClientId, Frame};
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
    time::Instant,
};
use zeromq::{RouterRecvHalf, RouterSendHalf, SocketEvent, SocketRecv, SocketSend, ZmqMessage};

use super::{Contact, Directory, Incoming, original::Originals, sessions::Sessions};
use crate::{
    alarm::Alarm,
    bucket::Quiet,
    config::ServerConfig,
    counters::Counters,
    door::{Door, Link},
    exchange::{Exchange, Totals},
    home::Home,
    lane::{Command, Lane},
    outbox::Outbox,
    wire::Outgoing,
};

/// Messages or commands that are handled in a row.
pub(crate) const BATCH: usize = 64;

/// How often a closing server looks whether all has left.
const LOOK: Duration = Duration::from_millis(2);

/// A session, with or without a connection.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) client: ClientId,
    pub(super) link: Option<Arc<Link>>,
    pub(super) exchange: Exchange,
}

/// Which way a closing server takes.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) deadline: Instant,
    pub(super) done: Vec<oneshot::Sender<()>>,
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
    pub(crate) directory: Arc<Directory<Contact>>,
    pub(crate) originals: Arc<Directory<Link>>,
    pub(crate) counters: Arc<Counters>,
    /// The private directory of the ROUTER's unix socket.
    pub(crate) home: Home,
}

/// What the task owns. `frames` handles what peers send, `commands` what the
/// handles of this server want.
pub(super) struct State {
    pub(super) config: ServerConfig,
    pub(super) door: Door,
    sender: RouterSendHalf,
    pub(super) lane: Lane,
    pub(super) outbox: Outbox<Incoming>,
    pub(super) directory: Arc<Directory<Contact>>,
    pub(super) counters: Arc<Counters>,
    pub(super) sessions: Sessions,
    pub(super) members: HashMap<u64, Member>,
    pub(super) originals: Originals,
    pub(super) closing: Option<Closing>,
    /// What all sessions hold.
    pub(super) totals: Totals,
    pub(super) log: Quiet,
}

impl Service {
    /// Runs until closed, or until the last handle is gone.
    pub(crate) async fn run(self) {
        let Self { config, door, sender, mut receiver, mut monitor, lane, mut commands, .. } = self;
        let Self { outbox, directory, originals, counters, home, .. } = self;
        let mut state = State {
            config,
            door,
            sender,
            lane,
            outbox,
            directory,
            counters,
            sessions: Sessions::default(),
            members: HashMap::new(),
            originals: Originals::new(originals),
            closing: None,
            totals: Totals::default(),
            log: Quiet::default(),
        };
        let mut batch = Vec::with_capacity(BATCH);
        let mut alarm = Alarm::new(Instant::now());
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
                () = alarm.at(timeout.unwrap_or_else(Instant::now)), if timeout.is_some() => {
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
        let renewal = self.originals.next_timeout();
        [look, self.sessions.next_timeout(), renewal].into_iter().flatten().min()
    }

    fn is_closed(&self) -> bool {
        let Some(closing) = &self.closing else { return false };
        // Who is away cannot be answered any more: nobody is let in.
        let is_done = |member: &Member| member.link.is_none() || member.exchange.is_idle();
        let is_idle = || self.members.values().all(is_done) && self.originals.is_idle();
        Instant::now() >= closing.deadline || is_idle() && self.door.links().are_drained()
    }

    async fn end(mut self) {
        self.directory.lock().clear();
        self.originals.end();
        for member in self.members.values_mut() {
            member.exchange.end(&crate::ask::closed());
        }
        drop(self.sender);
        self.door.end().await;
    }

    /// Sends a small frame of our own.
    pub(super) fn reply(&mut self, number: u64, frame: &Frame) {
        let Some(link) = self.door.links().get(number) else { return };
        self.reply_on(&link, frame);
    }

    pub(super) fn reply_on(&mut self, link: &Link, frame: &Frame) {
        match Outgoing::new(frame, Bytes::new()) {
            Ok(message) => self.send(link, message),
            Err(error) => tracing::error!(%error, "a frame cannot be encoded"),
        }
    }

    /// Counts a message and hands it to the socket.
    pub(super) fn send(&mut self, link: &Link, message: Outgoing) {
        link.account.add(message.cost());
        self.post(link, message);
    }

    /// Hands a message, whose cost is counted, to the socket.
    pub(super) fn post(&mut self, link: &Link, message: Outgoing) {
        self.push(link, message.into_message(link.route.clone()));
    }

    /// Hands a message of either language, whose cost is counted, to the socket.
    pub(super) fn push(&mut self, link: &Link, message: ZmqMessage) {
        // A send that would wait holds a lock of the crate while it does; so
        // it is given up, and the peer with it.
        let sent = self.sender.send(message).now_or_never();
        if sent.is_none() || link.account.is_overdrawn() {
            link.kick("it takes too little of what is sent to it");
        }
        if let Some(Err(error)) = sent {
            tracing::debug!(from = %link.from, %error, "the connection is gone");
        }
    }
}
