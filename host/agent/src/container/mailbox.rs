//! What waits for a container: orders to terminate, clients that left, a ping,
//! and messages.
//!
//! All of it lies behind one lock and takes no memory while nothing waits: an
//! agent has tens of thousands of containers, and most of them are idle.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use hulynet_agent_kinds::ContainerLimits;
use hulynet_protocol::{Caller, ConnectionId, NetworkError};
use tokio::{sync::oneshot, task::coop};

use super::{
    handle::Incoming,
    reply::{Asker, Reply},
};

/// Orders to terminate that wait: there is hardly ever more than one.
const ORDERS: usize = 16;

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
    /// What is next for a container that hears orders and pings, and has room
    /// for more calls.
    fn next(&mut self, hears: bool, room: bool) -> Option<Letter> {
        if hears && let Some(order) = self.orders.pop_front() {
            return Some(Letter::Terminate(order));
        }
        if room && let Some(connection) = self.farewells.pop_front() {
            self.connections -= 1;
            return Some(Letter::Disconnect(connection));
        }
        if hears && std::mem::take(&mut self.ping) {
            return Some(Letter::Ping);
        }
        if !room {
            return None;
        }
        let message = self.messages.pop_front().map(Letter::Message);
        message.or_else(|| self.abandoned.then_some(Letter::Abandoned))
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
        let all = self.weight.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        // Dropped, it takes them back.
        let weight = Weight { mailbox: self.clone(), bytes };
        (all <= self.bytes).then_some(weight)
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
pub(crate) struct Inbox(Arc<Mailbox>);

impl Inbox {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self(mailbox)
    }

    /// What is next; orders and pings only for a container that hears them, the
    /// rest only for one that has room for more calls. Gives way to others on
    /// its thread now and then, as the channels of the runtime do.
    pub(crate) fn poll(&mut self, hears: bool, room: bool, cx: &mut Context<'_>) -> Poll<Letter> {
        let share = ready!(coop::poll_proceed(cx));
        let mut waiting = self.0.lock();
        let Some(letter) = waiting.next(hears, room) else {
            waiting.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        share.made_progress();
        Poll::Ready(letter)
    }

    /// Takes nothing any more; answers the messages that waited.
    pub(super) fn close(&mut self) -> VecDeque<Box<Message>> {
        let mut waiting = self.0.lock();
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
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Reader(AtomicUsize);

    impl Wake for Reader {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn mailbox(limits: ContainerLimits) -> (Arc<Mailbox>, Inbox) {
        let mailbox = Arc::new(Mailbox::new(&limits));
        (mailbox.clone(), Inbox::new(mailbox))
    }

    fn of_one_each() -> (Arc<Mailbox>, Inbox) {
        let limits = ContainerLimits::default();
        mailbox(ContainerLimits { mailbox: 1, mailbox_bytes: 10, connections: 1, ..limits })
    }

    fn id(name: &str) -> ConnectionId {
        ConnectionId::new(name).unwrap()
    }

    fn order() -> (Order, oneshot::Receiver<bool>) {
        let (reply, answer) = oneshot::channel();
        (Order { force: false, reply }, answer)
    }

    fn connect(name: &str) -> Box<Message> {
        let (caller, deadline) = (Caller { account: None, path: Vec::new() }, Instant::now());
        let (reply, _) = oneshot::channel();
        Box::new(Message::Connect { connection: id(name), caller, deadline, reply })
    }

    /// In one word, what a container that may hear and has room gets next.
    fn next(inbox: &mut Inbox, hears: bool, room: bool) -> String {
        let mut cx = Context::from_waker(Waker::noop());
        match inbox.poll(hears, room, &mut cx) {
            Poll::Ready(Letter::Terminate(_)) => "terminate".to_owned(),
            Poll::Ready(Letter::Disconnect(client)) => format!("disconnect {client}"),
            Poll::Ready(Letter::Ping) => "ping".to_owned(),
            Poll::Ready(Letter::Message(message)) => match *message {
                Message::Connect { connection, .. } => format!("connect {connection}"),
                Message::Request { .. } => "request".to_owned(),
            },
            Poll::Ready(Letter::Abandoned) => "abandoned".to_owned(),
            Poll::Pending => "nothing".to_owned(),
        }
    }

    #[test]
    fn orders_come_first_then_farewells_pings_and_messages_and_then_the_end() {
        let (mailbox, mut inbox) = of_one_each();
        mailbox.abandon();
        mailbox.put(connect("a")).ok().unwrap();
        mailbox.ping();
        mailbox.farewell().unwrap().say(id("b"));
        let (order, _answer) = order();
        mailbox.order(order).unwrap();
        let all: Vec<_> = (0..5).map(|_| next(&mut inbox, true, true)).collect();
        assert_eq!(all, ["terminate", "disconnect b", "ping", "connect a", "abandoned"]);
    }

    #[test]
    fn a_container_without_room_gets_orders_and_pings_and_a_deaf_one_nothing() {
        let (mailbox, mut inbox) = of_one_each();
        mailbox.put(connect("a")).ok().unwrap();
        mailbox.farewell().unwrap().say(id("b"));
        mailbox.ping();
        assert_eq!(next(&mut inbox, false, false), "nothing");
        assert_eq!(next(&mut inbox, true, false), "ping");
        assert_eq!(next(&mut inbox, true, false), "nothing");
        assert_eq!(next(&mut inbox, true, true), "disconnect b");
    }

    #[test]
    fn what_comes_wakes_the_reader_once_it_found_nothing() {
        let (mailbox, mut inbox) = of_one_each();
        let reader = Arc::new(Reader::default());
        let waker = Waker::from(reader.clone());
        let mut cx = Context::from_waker(&waker);
        let (order, _answer) = order();
        let farewell = mailbox.farewell().unwrap();
        let comes: [Box<dyn FnOnce()>; 4] = [
            Box::new(|| mailbox.ping()),
            Box::new(|| mailbox.order(order).unwrap()),
            Box::new(|| farewell.say(id("b"))),
            Box::new(|| mailbox.put(connect("a")).ok().unwrap()),
        ];
        for (number, come) in (1..).zip(comes) {
            assert!(inbox.poll(true, true, &mut cx).is_pending());
            come();
            assert_eq!(reader.0.load(Ordering::SeqCst), number);
            assert!(inbox.poll(true, true, &mut cx).is_ready());
        }
    }

    #[test]
    fn each_sort_has_its_bound() {
        let (mailbox, mut inbox) = of_one_each();
        mailbox.put(connect("a")).ok().unwrap();
        assert_eq!(mailbox.put(connect("b")).err().unwrap().0, Refused::Full);
        assert_eq!(mailbox.used().0, 1);
        let orders: Vec<_> = (0..=ORDERS).map(|_| mailbox.order(order().0)).collect();
        assert!(orders[..ORDERS].iter().all(Result::is_ok));
        assert_eq!(orders[ORDERS], Err(Refused::Full));
        // A farewell takes its place until it is heard.
        mailbox.farewell().unwrap().say(id("a"));
        assert!(mailbox.farewell().is_none());
        while next(&mut inbox, true, true) != "disconnect a" {}
        let place = mailbox.farewell().unwrap();
        assert!(mailbox.farewell().is_none());
        drop(place);
        assert!(mailbox.farewell().is_some());
    }

    #[test]
    fn requests_have_so_many_bytes_together_until_they_are_done() {
        let (mailbox, _inbox) = of_one_each();
        let first = mailbox.weigh(6).unwrap();
        assert!(mailbox.weigh(5).is_none());
        let second = mailbox.weigh(4).unwrap();
        assert_eq!(mailbox.used().1, 10);
        drop(first);
        assert!(mailbox.weigh(usize::MAX).is_none());
        assert_eq!(mailbox.used().1, 4);
        drop(second);
        assert_eq!(mailbox.used().1, 0);
    }

    #[test]
    fn a_closed_one_takes_nothing_and_gives_back_its_messages() {
        let (mailbox, mut inbox) = of_one_each();
        let (first, mut answer) = order();
        mailbox.order(first).unwrap();
        mailbox.put(connect("a")).ok().unwrap();
        let place = mailbox.farewell().unwrap();
        assert_eq!(inbox.close().len(), 1);
        assert!(answer.try_recv().is_err(), "nobody carries the order out");
        assert_eq!(mailbox.order(order().0), Err(Refused::Closed));
        assert_eq!(mailbox.put(connect("a")).err().unwrap().0, Refused::Closed);
        assert!(mailbox.farewell().is_none());
        place.say(id("a"));
        assert_eq!(next(&mut inbox, true, true), "nothing");
        drop(inbox);
        assert_eq!(mailbox.used().0, 0);
    }

    #[tokio::test]
    async fn a_reader_that_always_finds_something_gives_way() {
        let (mailbox, mut inbox) = of_one_each();
        let reads = std::future::poll_fn(|cx| {
            mailbox.ping();
            inbox.poll(true, true, cx).map(|_| ())
        });
        let mut reads = std::pin::pin!(async {
            let mut reads = reads;
            loop {
                (&mut reads).await;
            }
        });
        assert!(futures::poll!(reads.as_mut()).is_pending());
    }
}
