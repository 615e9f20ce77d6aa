//! What waits for a container: orders to terminate, clients that left, a ping,
//! and messages.
//!
//! All of it lies behind one lock and takes hardly any memory while nothing
//! waits: an agent has tens of thousands of containers, and most of them are
//! idle.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use hulynet_agent_kinds::ContainerLimits;
use hulynet_protocol::{Caller, ConnectionId, NetworkError};
use tokio::sync::oneshot;

use super::{
    executor::Letters,
    handle::Incoming,
    reply::{Asker, Reply},
};

/// Orders to terminate that wait: there is hardly ever more than one.
const ORDERS: usize = 16;

/// Places that a container keeps when it has read all: more than an idle one
/// needs.
const KEPT: usize = 16;

/// What somebody waits for.
pub(crate) enum Message {
    Request {
        incoming: Incoming,
        weight: Weight,
        reply: Reply,
    },
    Connect {
        connection: ConnectionId,
        caller: Caller,
        deadline: Instant,
        reply: oneshot::Sender<Result<(), NetworkError>>,
    },
}

impl Message {
    /// Who asked, if it is a request: it was not taken.
    pub(super) fn asker(self) -> Option<Box<dyn Asker>> {
        match self {
            Self::Request { reply, .. } => reply.withdraw(),
            Self::Connect { .. } => None,
        }
    }
}

/// An order to terminate; the answer is whether it ended.
pub(crate) struct Order {
    pub(super) force: bool,
    pub(super) reply: oneshot::Sender<bool>,
}

/// What a container is to do next.
pub(crate) enum Letter {
    Terminate(Order),
    /// This client is gone.
    Disconnect(ConnectionId),
    Ping,
    Message(Box<Message>),
    /// Nobody holds a handle any more, so nobody can ask.
    Abandoned,
}

/// Why something is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

/// The mailbox of one container.
pub(crate) struct Mailbox {
    messages: usize,
    bytes: usize,
    connections: usize,
    /// Bytes of the requests that wait or are worked on.
    weight: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Box<Message>>,
    orders: VecDeque<Order>,
    farewells: VecDeque<ConnectionId>,
    /// Connections whose end is told here one day, or waits here.
    connections: usize,
    ping: bool,
    abandoned: bool,
    closed: bool,
    /// Who waits for something to come.
    reader: Option<Waker>,
}

impl Waiting {
    /// What is next for a container that has room for more calls, or only hears
    /// orders and pings.
    fn next(&mut self, room: bool) -> Option<Letter> {
        if let Some(order) = self.orders.pop_front() {
            return Some(Letter::Terminate(order));
        }
        if room && let Some(connection) = self.farewells.pop_front() {
            self.connections -= 1;
            return Some(Letter::Disconnect(connection));
        }
        if std::mem::take(&mut self.ping) {
            return Some(Letter::Ping);
        }
        if !room {
            return None;
        }
        let message = self.messages.pop_front().map(Letter::Message);
        message.or_else(|| self.abandoned.then_some(Letter::Abandoned))
    }

    /// Whether there is something for such a container.
    fn has_next(&self, room: bool) -> bool {
        let calls = || !self.messages.is_empty() || !self.farewells.is_empty() || self.abandoned;
        !self.orders.is_empty() || self.ping || room && calls()
    }

    /// Gives back what a burst took.
    fn shrink(&mut self) {
        if self.messages.is_empty() {
            self.messages.shrink_to(KEPT);
        }
        if self.farewells.is_empty() {
            self.farewells.shrink_to(KEPT);
        }
    }
}

impl Mailbox {
    /// An empty one, with the bounds of its container.
    pub(crate) fn new(limits: &ContainerLimits) -> Self {
        Self {
            messages: limits.mailbox,
            bytes: limits.mailbox_bytes,
            connections: limits.connections,
            weight: AtomicUsize::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Puts a message in, behind the others.
    ///
    /// # Errors
    /// There are too many, or the container ended: here is the message.
    pub(super) fn put(&self, message: Box<Message>) -> Result<(), (Refused, Box<Message>)> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err((Refused::Closed, message));
        }
        if waiting.messages.len() >= self.messages {
            return Err((Refused::Full, message));
        }
        waiting.messages.push_back(message);
        Self::tell(waiting);
        Ok(())
    }

    /// Takes the bytes of a request into account; `None` when there are too
    /// many already.
    pub(super) fn weigh(self: &Arc<Self>, bytes: usize) -> Option<Weight> {
        let more = |all: usize| all.checked_add(bytes).filter(|all| *all <= self.bytes);
        self.weight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Weight { mailbox: self.clone(), bytes })
    }

    /// Orders the container to terminate.
    ///
    /// # Errors
    /// There are too many orders, or the container ended.
    pub(super) fn order(&self, order: Order) -> Result<(), Refused> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Refused::Closed);
        }
        if waiting.orders.len() >= ORDERS {
            return Err(Refused::Full);
        }
        waiting.orders.push_back(order);
        Self::tell(waiting);
        Ok(())
    }

    /// A place for the farewell of a connection; `None` when there are as many
    /// as there may be, or the container ended.
    pub(crate) fn farewell(self: &Arc<Self>) -> Option<Farewell> {
        let mut waiting = self.lock();
        if waiting.closed || waiting.connections >= self.connections {
            return None;
        }
        waiting.connections += 1;
        Some(Farewell { mailbox: self.clone(), said: false })
    }

    /// Asks the container for a sign of life.
    pub(super) fn ping(&self) {
        let mut waiting = self.lock();
        waiting.ping = true;
        Self::tell(waiting);
    }

    /// Nobody holds a handle of the container any more.
    pub(super) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.abandoned = true;
        Self::tell(waiting);
    }

    /// Messages that wait, and the bytes of the requests among them with those
    /// that are worked on.
    pub(super) fn used(&self) -> (usize, usize) {
        (self.lock().messages.len(), self.weight.load(Ordering::Relaxed))
    }

    /// Something came.
    fn tell(mut waiting: MutexGuard<'_, Waiting>) {
        let reader = waiting.reader.take();
        drop(waiting);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a request that waits or is worked on, until this is dropped.
pub(crate) struct Weight {
    mailbox: Arc<Mailbox>,
    bytes: usize,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.mailbox.weight.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The place that a connection has for its farewell; dropped unsaid, it is
/// free again.
pub(crate) struct Farewell {
    mailbox: Arc<Mailbox>,
    said: bool,
}

impl Farewell {
    /// The container is told that this client is gone. One that ended needs to
    /// hear nothing.
    pub(crate) fn say(mut self, connection: ConnectionId) {
        let mut waiting = self.mailbox.lock();
        self.said = !waiting.closed;
        if self.said {
            waiting.farewells.push_back(connection);
            Mailbox::tell(waiting);
        }
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if !self.said {
            self.mailbox.lock().connections -= 1;
        }
    }
}

/// The container's end of its mailbox. Dropping it closes the mailbox.
pub(crate) struct Inbox {
    mailbox: Arc<Mailbox>,
    letters: Letters,
    gives_way: bool,
}

impl Inbox {
    /// Of a container that counts its letters so.
    pub(crate) fn new(mailbox: Arc<Mailbox>, letters: Letters) -> Self {
        Self { mailbox, letters, gives_way: false }
    }

    /// What is next: orders and pings, and the rest only for a container that
    /// has room for more calls. Gives way to others on its thread when they
    /// are enough for a run.
    pub(crate) fn poll(&mut self, room: bool, cx: &mut Context<'_>) -> Poll<Letter> {
        let mut waiting = self.mailbox.lock();
        let may_take = self.letters.left() > 0;
        self.gives_way = !may_take && waiting.has_next(room);
        if self.gives_way {
            drop(waiting);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(letter) = waiting.next(room) else {
            waiting.shrink();
            waiting.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        self.letters.taken();
        Poll::Ready(letter)
    }

    /// Whether it gave way at the last look, and left something for its next run.
    pub(super) fn gives_way(&self) -> bool {
        self.gives_way
    }

    /// Takes nothing any more; answers the messages that waited.
    pub(super) fn close(&mut self) -> VecDeque<Box<Message>> {
        let mut waiting = self.mailbox.lock();
        waiting.closed = true;
        waiting.connections -= waiting.farewells.len();
        let left = Waiting {
            messages: std::mem::take(&mut waiting.messages),
            orders: std::mem::take(&mut waiting.orders),
            farewells: std::mem::take(&mut waiting.farewells),
            reader: waiting.reader.take(),
            ..Waiting::default()
        };
        drop(waiting);
        // Those who ordered it to end see that their orders are dropped.
        left.messages
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        drop(self.close());
    }
}

#[cfg(test)]
mod tests;
