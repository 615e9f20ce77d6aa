use std::{
    collections::BTreeSet,
    task::{self, Poll, Waker},
};

use hulynet_protocol::{ContainerId, Kind, Policy, Uuid, ledger::QUEUE_EVENTS};

use super::*;
use crate::container::{Inbox, Letter, Letters};

/// What a client gets in one message.
#[derive(Clone, Debug)]
struct Got {
    connections: Vec<ConnectionId>,
    missed: u64,
    payload: Bytes,
    events: Vec<Bytes>,
}

/// A client that has room for so many messages.
struct Client {
    name: ClientId,
    room: Mutex<usize>,
    got: Mutex<Vec<Got>>,
    closed: Mutex<Vec<(ConnectionId, Option<ErrorKind>)>>,
}

impl Client {
    fn new(name: &str, room: usize) -> Arc<Self> {
        let name = ClientId::new(name).unwrap();
        let (got, closed) = (Mutex::default(), Mutex::default());
        Arc::new(Self { name, room: Mutex::new(room), got, closed })
    }

    fn events(&self) -> Vec<Bytes> {
        self.got.lock().unwrap().iter().flat_map(|got| got.events.clone()).collect()
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

impl Sink for Client {
    fn peer(&self) -> Option<&ClientId> {
        Some(&self.name)
    }

    fn deliver(&self, event: Event, payload: Bytes) -> Result<(), NetworkError> {
        let mut room = self.room.lock().unwrap();
        *room = room
            .checked_sub(1)
            .ok_or_else(|| NetworkError::not_processed(ErrorKind::Busy, "full"))?;
        let Event::Container { connections, missed, lengths, .. } = event else { panic!() };
        let events = hulynet_protocol::flow::split(&lengths, &payload).unwrap();
        self.got.lock().unwrap().push(Got { connections, missed, payload, events });
        Ok(())
    }

    fn closed(&self, connection: ConnectionId, error: Option<NetworkError>) {
        self.closed.lock().unwrap().push((connection, error.map(|error| error.kind)));
    }
}

fn id(text: &str) -> ConnectionId {
    ConnectionId::new(text).unwrap()
}

/// The connections of a container, and what an agent has of them.
struct World {
    connections: Arc<Connections>,
    inbox: Inbox,
    flushes: mpsc::UnboundedReceiver<Arc<Connections>>,
    is_open: Arc<AtomicBool>,
}

fn usage(limits: &ContainerLimits) -> Arc<Usage> {
    let container = ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() };
    Arc::new(Usage::new(container, limits))
}

impl World {
    fn new() -> Self {
        Self::with(&ContainerLimits::default())
    }

    fn with(limits: &ContainerLimits) -> Self {
        let mailbox = Arc::new(Mailbox::new(limits));
        let (orders, flushes) = mpsc::unbounded_channel();
        let is_open = Arc::new(AtomicBool::new(true));
        let gate = Arc::clone(&is_open);
        let exit = Exit { is_open: Box::new(move || gate.load(Ordering::SeqCst)), flushes: orders };
        let (epoch, usage) = (Epoch::default(), usage(limits));
        let connections = Arc::new(Connections::new(epoch, limits, usage, mailbox.clone(), exit));
        Self { connections, inbox: Inbox::new(mailbox, Letters::default()), flushes, is_open }
    }

    fn connect(&self, name: &str, client: &Arc<Client>, flow: Flow) {
        self.connections.add(id(name), flow, client.clone()).unwrap();
        self.connections.open(&id(name));
    }

    /// The next client whose farewell the container hears.
    fn gone(&mut self) -> Option<ConnectionId> {
        match self.inbox.poll(true, &mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(Letter::Disconnect(client)) => Some(client),
            _ => None,
        }
    }

    fn broadcast(&self, text: &str) {
        self.connections.broadcast(Bytes::copy_from_slice(text.as_bytes())).unwrap();
    }

    /// Flushes as often as was ordered; what is left then.
    fn flush(&mut self) -> Left {
        let mut left = Left::Nothing;
        while let Ok(connections) = self.flushes.try_recv() {
            left = connections.flush();
            if left == Left::More {
                connections.order();
            }
        }
        left
    }
}

fn endless() -> Flow {
    Flow::endless(Policy::Disconnect)
}

fn credit(policy: Policy, events: u64) -> Flow {
    let credit = Amount { events, bytes: u64::MAX };
    Flow { policy, heard: Amount::default(), credit }
}

#[test]
fn events_wait_until_the_client_knows_that_it_is_connected() {
    let mut world = World::new();
    let reader = Client::new("reader", 9);
    world.connections.add(id("a"), endless(), reader.clone()).unwrap();
    world.connections.send("a", Bytes::from_static(b"welcome")).unwrap();
    world.broadcast("news");
    world.flush();
    assert!(reader.got().is_empty());
    world.connections.open(&id("a"));
    world.flush();
    assert_eq!(reader.events(), ["welcome", "news"]);
}

#[test]
fn what_came_together_is_encoded_once_for_all_clients() {
    let mut world = World::new();
    let clients: Vec<_> = (0..50).map(|n| Client::new(&n.to_string(), 9)).collect();
    for client in &clients {
        world.connect(client.name.as_str(), client, endless());
    }
    for n in 0..16 {
        world.broadcast(&n.to_string());
    }
    world.flush();
    let expected: Vec<_> = (0..16).map(|n: u32| n.to_string()).collect();
    let mut encodings = BTreeSet::new();
    for client in &clients {
        let got = client.got();
        assert_eq!((got.len(), client.events() == expected), (1, true));
        encodings.insert(got[0].payload.as_ptr().addr());
    }
    assert_eq!(encodings.len(), 1);
}

#[test]
fn one_message_carries_an_event_to_all_connections_of_a_client() {
    let mut world = World::new();
    let (many, one) = (Client::new("many", 9), Client::new("one", 9));
    for name in ["a", "b", "c"] {
        world.connect(name, &many, endless());
    }
    world.connect("d", &one, endless());
    world.broadcast("news");
    world.flush();
    let got = many.got();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].connections, [id("a"), id("b"), id("c")]);
    world.connections.send("b", Bytes::from_static(b"yours")).unwrap();
    world.broadcast("more");
    world.flush();
    let of_b = many.got().into_iter().filter(|got| got.connections.contains(&id("b")));
    assert_eq!(of_b.flat_map(|got| got.events).collect::<Vec<_>>(), ["news", "yours", "more"]);
    assert_eq!(one.events(), ["news", "more"]);
}

#[test]
fn one_that_does_not_read_ends_with_an_error_and_others_get_everything() {
    let mut world = World::new();
    let (reader, sleeper) = (Client::new("reader", usize::MAX), Client::new("sleeper", 9));
    world.connect("reader", &reader, endless());
    world.connect("sleeper", &sleeper, credit(Policy::Disconnect, 2));
    for _ in 0..=QUEUE_EVENTS + 2 {
        world.broadcast("news");
        world.flush();
    }
    assert_eq!(reader.events().len(), QUEUE_EVENTS + 3);
    assert_eq!(sleeper.events().len(), 2);
    assert_eq!(*sleeper.closed.lock().unwrap(), [(id("sleeper"), Some(ErrorKind::Busy))]);
    assert_eq!(world.gone(), Some(id("sleeper")));
    assert!(!world.connections.remove(&id("sleeper")));
}

#[test]
fn one_that_wants_the_newest_is_told_of_each_gap() {
    let mut world = World::new();
    let reader = Client::new("reader", 9);
    world.connect("a", &reader, credit(Policy::DropOldest, 1));
    for n in 0..QUEUE_EVENTS + 4 {
        world.broadcast(&n.to_string());
        world.flush();
    }
    assert_eq!(reader.events(), ["0"]);
    let granted = Amount { events: 3, bytes: u64::MAX };
    assert!(world.connections.grant(&id("a"), granted));
    world.flush();
    let got = reader.got();
    assert_eq!(
        (got.len(), got[1].missed, got[1].events.clone()),
        (2, 3, vec!["4".into(), "5".into()])
    );
    assert!(world.connections.grant(&id("a"), Amount::ENDLESS));
    world.flush();
    assert!(reader.got()[2..].iter().all(|got| got.missed == 0));
    assert_eq!(reader.events().len(), QUEUE_EVENTS + 1);
    assert!(!world.connections.grant(&id("b"), granted));
}

#[test]
fn what_waits_leaves_in_order_when_there_is_room() {
    let mut world = World::new();
    let reader = Client::new("reader", 1);
    world.connect("a", &reader, endless());
    for text in ["1", "2", "3"] {
        world.broadcast(text);
        world.flush();
    }
    assert_eq!(world.connections.flush(), Left::Held);
    *reader.room.lock().unwrap() = 9;
    assert_eq!(world.connections.flush(), Left::Nothing);
    assert_eq!(reader.events(), ["1", "2", "3"]);
}

#[test]
fn nothing_leaves_while_the_container_may_live_elsewhere() {
    let mut world = World::new();
    let reader = Client::new("reader", 9);
    world.connect("a", &reader, endless());
    world.is_open.store(false, Ordering::SeqCst);
    world.broadcast("news");
    assert_eq!(world.flush(), Left::Held);
    assert!(reader.got().is_empty());
    world.is_open.store(true, Ordering::SeqCst);
    assert_eq!(world.connections.flush(), Left::Nothing);
    assert_eq!(reader.events(), ["news"]);
}

#[test]
fn what_clients_take_leaves_before_the_container_is_gone() {
    let world = World::new();
    let reader = Client::new("reader", 9);
    world.connect("a", &reader, endless());
    world.broadcast("last words");
    world.connections.close();
    assert_eq!(reader.events(), ["last words"]);
    assert_eq!(*reader.closed.lock().unwrap(), [(id("a"), None)]);
}

#[test]
fn a_full_queue_makes_a_single_send_busy() {
    let world = World::new();
    world.connect("a", &Client::new("reader", 0), endless());
    for _ in 0..QUEUE_EVENTS {
        world.connections.send("a", Bytes::new()).unwrap();
    }
    let send = |name| world.connections.send(name, Bytes::new()).unwrap_err().kind;
    assert_eq!((send("a"), send("b")), (ErrorKind::Busy, ErrorKind::UnknownContainer));
}

#[test]
fn connections_are_bounded_and_named_once() {
    let (flushes, _orders) = mpsc::unbounded_channel();
    let exit = Exit { is_open: Box::new(|| true), flushes };
    let limits = ContainerLimits { connections: 2, ..ContainerLimits::default() };
    let (usage, mailbox) = (usage(&limits), Arc::new(Mailbox::new(&limits)));
    let connections = Connections::new(Epoch::default(), &limits, usage, mailbox, exit);
    let add = |name| connections.add(id(name), endless(), Client::new("reader", 0));
    add("a").unwrap();
    assert_eq!(add("a").unwrap_err().kind, ErrorKind::Busy);
    add("b").unwrap();
    assert_eq!(add("c").unwrap_err().kind, ErrorKind::Busy);
    connections.forget(&id("b"));
    add("c").unwrap();
}

#[test]
fn events_over_the_rate_or_the_size_are_refused_and_nothing_is_sent() {
    let limits = ContainerLimits { events: 1, event_bytes: 4, ..ContainerLimits::default() };
    let mut world = World::with(&limits);
    let reader = Client::new("reader", usize::MAX);
    world.connect("a", &reader, endless());
    let large = world.connections.broadcast(Bytes::from_static(b"large")).unwrap_err();
    assert_eq!(large.message, "an event of 5 bytes; at most 4 are allowed");
    let send = |_| world.connections.send("a", Bytes::new()).err();
    let refused: Vec<NetworkError> = (0..100).filter_map(send).collect();
    let refused = refused.last().unwrap();
    assert_eq!(refused.kind, ErrorKind::Busy);
    assert!(refused.message.contains("more than 1 events a second"), "{refused}");
    world.flush();
    assert!((10..100).contains(&reader.events().len()));
}

#[test]
fn events_that_wait_weigh_once_however_many_wait_for_them_and_only_as_long() {
    let limits = ContainerLimits { unread_bytes: 10, ..ContainerLimits::default() };
    let mut world = World::with(&limits);
    let (reader, sleeper) = (Client::new("reader", 0), Client::new("sleeper", 0));
    world.connect("reader", &reader, endless());
    world.connect("sleeper", &sleeper, endless());
    world.broadcast("12345678");
    assert_eq!(world.connections.usage.used(Thing::UnreadByte), 8);
    let error = world.connections.send("reader", Bytes::from_static(b"123")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.message.contains("has up to 10 bytes that nobody has read yet"), "{error}");
    *reader.room.lock().unwrap() = 9;
    world.flush();
    assert_eq!(world.connections.usage.used(Thing::UnreadByte), 8, "the sleeper has it still");
    assert!(world.connections.remove(&id("sleeper")));
    assert_eq!(world.connections.usage.used(Thing::UnreadByte), 0);
    world.connections.send("reader", Bytes::from_static(b"123")).unwrap();
}

#[test]
fn the_longest_queue_gives_way_when_the_container_has_too_much_unread() {
    let limits = ContainerLimits { unread_bytes: 10, ..ContainerLimits::default() };
    let mut world = World::with(&limits);
    let (newest, every) = (Client::new("newest", usize::MAX), Client::new("every", usize::MAX));
    let reader = Client::new("reader", usize::MAX);
    world.connect("newest", &newest, credit(Policy::DropOldest, 0));
    world.connect("every", &every, credit(Policy::Disconnect, 0));
    world.connect("reader", &reader, endless());
    for text in ["1234", "5678", "abcd"] {
        world.broadcast(text);
        world.flush();
    }
    assert_eq!(reader.events(), ["1234", "5678", "abcd"]);
    assert_eq!(*every.closed.lock().unwrap(), [(id("every"), Some(ErrorKind::Busy))]);
    world.connections.grant(&id("newest"), Amount::ENDLESS);
    world.flush();
    let got = newest.got();
    assert_eq!((got[0].missed, newest.events()), (1, vec!["5678".into(), "abcd".into()]));
    assert_eq!(world.connections.usage.used(Thing::UnreadByte), 0);
}
