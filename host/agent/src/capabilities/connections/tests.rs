use hulynet_protocol::{ContainerId, Kind, Uuid};

use super::*;

/// A client that reads as long as it has room.
#[derive(Default)]
struct Client {
    room: Mutex<usize>,
    events: Mutex<Vec<Bytes>>,
    closed: Mutex<Vec<ConnectionId>>,
}

impl Sink for Client {
    fn deliver(&self, _: Event, payload: Bytes) -> Result<(), NetworkError> {
        let mut room = self.room.lock().unwrap();
        *room = room
            .checked_sub(1)
            .ok_or_else(|| NetworkError::not_processed(ErrorKind::Busy, "full"))?;
        self.events.lock().unwrap().push(payload);
        Ok(())
    }

    fn closed(&self, connection: ConnectionId) {
        self.closed.lock().unwrap().push(connection);
    }
}

fn client(room: usize) -> Arc<Client> {
    Arc::new(Client { room: Mutex::new(room), ..Client::default() })
}

fn id(text: &str) -> ConnectionId {
    ConnectionId::new(text).unwrap()
}

fn connections() -> (Connections, mpsc::Receiver<ConnectionId>) {
    with(&ContainerLimits::default())
}

fn with(limits: &ContainerLimits) -> (Connections, mpsc::Receiver<ConnectionId>) {
    let container = ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() };
    let usage = Arc::new(Usage::new(container, limits));
    let (farewells, ended) = mpsc::channel(2);
    (Connections::new(Epoch::default(), limits, usage, farewells), ended)
}

#[test]
fn events_wait_until_the_client_knows_that_it_is_connected() {
    let (connections, _ended) = connections();
    let reader = client(9);
    connections.add(id("a"), reader.clone()).unwrap();
    connections.send("a", Bytes::from_static(b"welcome")).unwrap();
    connections.broadcast(Bytes::from_static(b"news")).unwrap();
    assert!(reader.events.lock().unwrap().is_empty());
    connections.open(&id("a"));
    assert_eq!(*reader.events.lock().unwrap(), ["welcome", "news"]);
}

#[test]
fn a_client_that_does_not_read_is_closed_and_others_get_everything() {
    let (connections, mut ended) = connections();
    let (reader, sleeper) = (client(usize::MAX), client(0));
    for (name, sink) in [("reader", &reader), ("sleeper", &sleeper)] {
        connections.add(id(name), sink.clone()).unwrap();
        connections.open(&id(name));
    }
    for _ in 0..=QUEUE_EVENTS {
        connections.broadcast(Bytes::from_static(b"news")).unwrap();
    }
    assert_eq!(reader.events.lock().unwrap().len(), QUEUE_EVENTS + 1);
    assert_eq!(*sleeper.closed.lock().unwrap(), [id("sleeper")]);
    assert_eq!(ended.try_recv().unwrap(), id("sleeper"));
    assert!(!connections.remove(&id("sleeper")));
}

#[test]
fn what_waits_leaves_in_order_when_there_is_room() {
    let (connections, _ended) = connections();
    let reader = client(1);
    connections.add(id("a"), reader.clone()).unwrap();
    connections.open(&id("a"));
    for text in ["1", "2", "3"] {
        connections.broadcast(Bytes::from_static(text.as_bytes())).unwrap();
    }
    assert!(connections.flush());
    *reader.room.lock().unwrap() = 9;
    assert!(!connections.flush());
    assert_eq!(*reader.events.lock().unwrap(), ["1", "2", "3"]);
}

#[test]
fn a_full_queue_makes_a_single_send_busy() {
    let (connections, _ended) = connections();
    connections.add(id("a"), client(0)).unwrap();
    for _ in 0..QUEUE_EVENTS {
        connections.send("a", Bytes::new()).unwrap();
    }
    assert_eq!(connections.send("a", Bytes::new()).unwrap_err().kind, ErrorKind::Busy);
    assert_eq!(connections.send("b", Bytes::new()).unwrap_err().kind, ErrorKind::UnknownContainer);
}

#[test]
fn connections_are_bounded_and_named_once() {
    let (connections, _ended) = connections();
    connections.add(id("a"), client(0)).unwrap();
    assert_eq!(connections.add(id("a"), client(0)).unwrap_err().kind, ErrorKind::Busy);
    connections.add(id("b"), client(0)).unwrap();
    assert_eq!(connections.add(id("c"), client(0)).unwrap_err().kind, ErrorKind::Busy);
    connections.forget(&id("b"));
    connections.add(id("c"), client(0)).unwrap();
}

#[test]
fn an_event_over_the_limit_is_refused() {
    let (connections, _ended) = connections();
    let payload = Bytes::from(vec![0; limits::PAYLOAD_BYTES + 1]);
    assert_eq!(connections.broadcast(payload).unwrap_err().kind, ErrorKind::TooLarge);
}

#[test]
fn events_over_the_rate_or_the_size_are_refused_and_nothing_is_sent() {
    let limits = ContainerLimits { events: 1, event_bytes: 4, ..ContainerLimits::default() };
    let (connections, _ended) = with(&limits);
    let reader = client(usize::MAX);
    connections.add(id("a"), reader.clone()).unwrap();
    connections.open(&id("a"));
    let large = connections.broadcast(Bytes::from_static(b"large")).unwrap_err();
    assert_eq!(large.message, "an event of 5 bytes; at most 4 are allowed");
    let refused = (0..100).filter_map(|_| connections.send("a", Bytes::new()).err()).last();
    let refused = refused.unwrap();
    assert_eq!(refused.kind, ErrorKind::Busy);
    assert!(refused.message.contains("more than 1 events a second"), "{refused}");
    assert!((10..100).contains(&reader.events.lock().unwrap().len()));
}

#[test]
fn events_that_wait_weigh_once_however_many_wait_for_them_and_only_as_long() {
    let limits = ContainerLimits { unread_bytes: 10, ..ContainerLimits::default() };
    let (connections, _ended) = with(&limits);
    let (reader, sleeper) = (client(0), client(0));
    for (name, sink) in [("reader", &reader), ("sleeper", &sleeper)] {
        connections.add(id(name), sink.clone()).unwrap();
        connections.open(&id(name));
    }
    connections.broadcast(Bytes::from_static(b"12345678")).unwrap();
    assert_eq!(connections.usage.used(Thing::UnreadByte), 8);
    let error = connections.send("reader", Bytes::from_static(b"123")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.message.contains("has up to 10 bytes that nobody has read yet"), "{error}");
    *reader.room.lock().unwrap() = 9;
    connections.flush();
    assert_eq!(connections.usage.used(Thing::UnreadByte), 8, "the sleeper has it still");
    assert!(connections.remove(&id("sleeper")));
    assert_eq!(connections.usage.used(Thing::UnreadByte), 0);
    connections.send("reader", Bytes::from_static(b"123")).unwrap();
}
