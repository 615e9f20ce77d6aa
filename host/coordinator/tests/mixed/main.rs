//! Peers of both languages at one coordinator: native clients hear what
//! containers on agents of the original network broadcast, however these agents
//! behave.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod asking;
mod original;

use std::time::Duration;

use bytes::Bytes;
use hulynet_bus::{Bus, Peer, PeerConfig, PeerEvent};
use hulynet_coordinator::{Coordinator, CoordinatorConfig, registry::RegistryConfig};
use hulynet_protocol::{
    Amount, Call, Caller, ClientId, ConnectionId, ContainerId, Epoch, ErrorKind, Event, Flow,
    GetOptions, Kind, NetworkError, Policy, Reply, Retry, Role, Target, Uuid, flow::split,
    ledger::QUEUE_EVENTS, limits,
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, sync::mpsc, time::timeout};

use original::{Agent, Home, Line};

const LIMIT: Duration = Duration::from_secs(20);

struct World {
    bus: Bus,
    coordinator: Coordinator,
    home: Home,
}

impl World {
    async fn new() -> Self {
        Self::recovering(Duration::ZERO).await
    }

    /// After a start in which containers may be brought back for so long.
    async fn recovering(recovery_window: Duration) -> Self {
        let bus = Bus::start("test").unwrap();
        let registry = RegistryConfig { recovery_window, ..RegistryConfig::default() };
        let listen = "127.0.0.1:0".to_owned();
        let config = CoordinatorConfig { listen, registry, ..CoordinatorConfig::default() };
        let coordinator = Coordinator::start(config, &bus).await.unwrap();
        Self { bus, coordinator, home: Home::new().await }
    }

    async fn agent(&self, name: &str) -> Agent {
        Agent::routed(self.coordinator.local_addr(), name, &self.home).await
    }

    async fn client(&self, name: &str) -> Client {
        let mut config = PeerConfig::new(ClientId::new(name).unwrap(), Role::Client);
        config.alive_timeout = Duration::from_secs(60);
        let address = self.coordinator.local_addr().to_string();
        let (peer, mut events) = self.bus.connect(&address, config);
        let joined = timeout(LIMIT, events.recv()).await.unwrap();
        assert!(matches!(joined, Some(PeerEvent::Joined { .. })));
        Client { peer, events }
    }
}

struct Client {
    peer: Peer,
    events: mpsc::Receiver<PeerEvent>,
}

/// What a client is told on a connection.
#[derive(Debug, PartialEq)]
enum Told {
    Missed(u64),
    Event(String),
    Ended(Option<ErrorKind>),
}

fn ts(uuid: &str) -> ContainerId {
    ContainerId { kind: Kind::new("ts").unwrap(), uuid: Uuid::new(uuid).unwrap() }
}

fn name(name: &str) -> ConnectionId {
    ConnectionId::new(name).unwrap()
}

fn endless() -> Flow {
    Flow::endless(Policy::DropOldest)
}

fn granted(policy: Policy, events: u64) -> Flow {
    Flow { policy, heard: Amount::default(), credit: Amount { events, bytes: u64::MAX } }
}

impl Client {
    async fn ask_within(&self, call: Call, time: Duration) -> Result<Reply, NetworkError> {
        Ok(self.peer.call(call, Bytes::new(), time).await?.reply)
    }

    async fn ask(&self, call: Call) -> Result<Reply, NetworkError> {
        self.ask_within(call, LIMIT).await
    }

    async fn get(&self, uuid: &str) -> Epoch {
        let options = GetOptions { uuid: Some(ts(uuid).uuid), ..GetOptions::default() };
        match self.ask(Call::Get { kind: ts(uuid).kind, options }).await.unwrap() {
            Reply::Container(record) => record.epoch,
            other => panic!("{other:?}"),
        }
    }

    fn to(uuid: &str, connection: &str, flow: Flow) -> Call {
        Call::Connect {
            target: Target { id: ts(uuid), epoch: None },
            connection: name(connection),
            caller: Caller::outside(None),
            flow,
        }
    }

    async fn connect(&self, uuid: &str, connection: &str, flow: Flow) -> Result<(), NetworkError> {
        let reply = self.ask(Self::to(uuid, connection, flow)).await?;
        assert_eq!(reply, Reply::Done);
        Ok(())
    }

    /// What it is told next on a connection, in one message.
    async fn told(&mut self, connection: &str) -> Vec<Told> {
        loop {
            match timeout(LIMIT, self.events.recv()).await.unwrap().unwrap() {
                PeerEvent::Event {
                    event: Event::Container { connections, missed, lengths, .. },
                    payload,
                } => {
                    assert_eq!(connections, [name(connection)]);
                    let gap = (missed > 0).then_some(Told::Missed(missed));
                    let events = split(&lengths, &payload).unwrap();
                    let text = |event: Bytes| String::from_utf8(event.to_vec()).unwrap();
                    return gap
                        .into_iter()
                        .chain(events.into_iter().map(text).map(Told::Event))
                        .collect();
                }
                PeerEvent::Event { event: Event::Network(_), .. } => {}
                PeerEvent::Request(request) => {
                    let Call::Disconnected { connection: ended, error } = request.call else {
                        panic!("{:?}", request.call)
                    };
                    assert_eq!(ended, name(connection));
                    request.responder.reply(Ok((Reply::Done, Bytes::new())));
                    return vec![Told::Ended(error.map(|error| error.kind))];
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// So many, in whatever messages they come.
    async fn hears(&mut self, connection: &str, count: usize) -> Vec<Told> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.told(connection).await);
        }
        all
    }
}

fn event(text: impl ToString) -> Told {
    Told::Event(text.to_string())
}

#[tokio::test]
async fn a_client_hears_a_container_within_its_credit_until_it_leaves() {
    let world = World::new().await;
    let _agent = world.agent("agent-A").await;
    let mut client = world.client("ann").await;
    client.get("c").await;
    let (connected, mut line) = tokio::join!(
        client.connect("c", "one", granted(Policy::Disconnect, 3)),
        world.home.connects("c")
    );
    connected.unwrap();
    for n in 0..5 {
        line.send(&["4", "", &format!(r#"["c",{{"n": {n}}}]"#)]).await;
        // Another container's, and the agent's own.
        line.send(&["4", "", r#"["d",7]"#]).await;
        line.send(&["4", "", r#"{"agents":[],"containers":[]}"#]).await;
    }
    let heard = client.hears("one", 3).await;
    assert_eq!(heard, [0, 1, 2].map(|n| event(format!(r#"{{"n": {n}}}"#))));
    let credit = Amount { events: 4, bytes: u64::MAX };
    client.ask(Call::Credit { connection: name("one"), credit }).await.unwrap();
    assert_eq!(client.told("one").await, [event(r#"{"n": 3}"#)]);
    // A connection to somebody else's is none.
    let other = world.client("bob").await;
    let refused = other.ask(Call::Credit { connection: name("one"), credit }).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::UnknownContainer);
    client.ask(Call::Disconnect { connection: name("one") }).await.unwrap();
    assert_eq!(line.closes().await, [["8", "", ""]]);
    let refused = client.ask(Call::Credit { connection: name("one"), credit }).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::UnknownContainer);
}

#[tokio::test]
async fn a_container_with_a_server_of_its_own_is_heard_there() {
    let world = World::new().await;
    let port = world.home.address.port();
    let reference = move |uuid: &str| {
        json!({ "kind": 1, "host": "127.0.0.1", "port": port, "uuid": uuid }).to_string()
    };
    let _agent = Agent::join(world.coordinator.local_addr(), "agent-A", reference).await;
    let mut client = world.client("ann").await;
    client.get("c").await;
    let (connected, mut line) =
        tokio::join!(client.connect("c", "one", endless()), world.home.greets());
    connected.unwrap();
    line.send(&["4", "", r#"{"evt":[1]}"#]).await;
    assert_eq!(client.told("one").await, [event(r#"{"evt":[1]}"#)]);
}

#[tokio::test]
async fn a_container_without_an_address_is_refused_for_good() {
    let world = World::new().await;
    let reference = |_: &str| r#"{"kind":2,"host":"","port":0}"#.to_owned();
    let _agent = Agent::join(world.coordinator.local_addr(), "agent-A", reference).await;
    let client = world.client("ann").await;
    client.get("c").await;
    let refused = client.connect("c", "one", endless()).await.unwrap_err();
    assert_eq!((refused.kind, refused.retry), (ErrorKind::Unavailable, Retry::Final));
    assert!(refused.message.contains("agent-A") && refused.message.contains("endpoint"));
}

#[tokio::test]
async fn who_does_not_listen_misses_the_oldest_or_ends_and_nobody_else_notices() {
    const MORE: usize = 100;
    let world = World::new().await;
    let _agent = world.agent("agent-A").await;
    let (mut fast, mut newest, mut every) =
        (world.client("fast").await, world.client("newest").await, world.client("every").await);
    fast.get("c").await;
    let mut lines = Vec::new();
    for (client, connection, flow) in [
        (&fast, "fast", granted(Policy::Disconnect, u64::MAX)),
        (&newest, "newest", granted(Policy::DropOldest, 1)),
        (&every, "every", granted(Policy::Disconnect, 1)),
    ] {
        let (connected, line) =
            tokio::join!(client.connect("c", connection, flow), world.home.connects("c"));
        connected.unwrap();
        lines.push(line);
    }
    let count = 1 + QUEUE_EVENTS + MORE;
    for n in 0..count {
        for line in &mut lines {
            line.send(&["4", "", &format!(r#"["c",{n}]"#)]).await;
        }
    }
    let heard = fast.hears("fast", count).await;
    assert_eq!(heard, (0..count).map(event).collect::<Vec<_>>());
    assert_eq!(every.told("every").await, [event(0)]);
    assert_eq!(every.told("every").await, [Told::Ended(Some(ErrorKind::Busy))]);
    assert_eq!(lines[2].closes().await, [["8", "", ""]]);
    assert_eq!(newest.told("newest").await, [event(0)]);
    let credit = Amount { events: u64::MAX, bytes: u64::MAX };
    newest.ask(Call::Credit { connection: name("newest"), credit }).await.unwrap();
    // What is still on its way when it listens again finds room.
    let mut heard = newest.hears("newest", 1).await;
    let Told::Missed(missed) = heard.remove(0) else { panic!("it was not told: {heard:?}") };
    let missed = usize::try_from(missed).unwrap();
    assert!((1..=MORE).contains(&missed), "{missed}");
    heard.extend(newest.hears("newest", count - 1 - missed - heard.len()).await);
    assert_eq!(heard, (1 + missed..count).map(event).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_connection_ends_with_the_agents_and_is_made_again() {
    let world = World::new().await;
    let _agent = world.agent("agent-A").await;
    let mut client = world.client("ann").await;
    client.get("c").await;
    for attempt in 0..3 {
        let (connected, mut line) =
            tokio::join!(client.connect("c", "one", endless()), world.home.connects("c"));
        connected.unwrap();
        match attempt {
            0 => drop(line),
            1 => line.send(&["9", "home", ""]).await,
            _ => line.send(&["0", "another", ""]).await,
        }
        assert_eq!(client.told("one").await, [Told::Ended(None)]);
    }
    // While nobody is there, the client may try again.
    let World { home, .. } = world;
    drop(home);
    let error = client.connect("c", "one", endless()).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
}

#[tokio::test]
async fn a_connection_that_is_made_again_leaves_its_former_place() {
    let world = World::new().await;
    let _agent = world.agent("agent-A").await;
    let mut client = world.client("ann").await;
    client.get("c").await;
    let (connected, mut former) =
        tokio::join!(client.connect("c", "one", endless()), world.home.connects("c"));
    connected.unwrap();
    let (connected, mut line) =
        tokio::join!(client.connect("c", "one", endless()), world.home.connects("c"));
    connected.unwrap();
    assert_eq!(former.closes().await, [["8", "", ""]]);
    line.send(&["4", "", r#"["c",1]"#]).await;
    assert_eq!(client.told("one").await, [event(1)]);
}

#[tokio::test]
async fn a_connection_ends_when_its_container_does_or_moves_or_its_agent_is_lost() {
    let world = World::new().await;
    let mut one = world.agent("one").await;
    let mut client = world.client("ann").await;
    let epoch = client.get("c").await;
    let connect = async |client: &Client| {
        let (connected, line) =
            tokio::join!(client.connect("c", "one", endless()), world.home.connects("c"));
        connected.unwrap();
        line
    };
    // All the while the agent's own server is there and well.
    let ends = async |client: &mut Client, line: &mut Line| {
        let (told, closes) = tokio::join!(client.told("one"), line.closes());
        assert_eq!(told, [Told::Ended(None)]);
        assert_eq!(closes, [["8", "", ""]]);
    };
    // Ended by force.
    let mut line = connect(&client).await;
    let target = Target { id: ts("c"), epoch: Some(epoch) };
    client.ask(Call::Terminate { target, force: true }).await.unwrap();
    assert_eq!(one.ended.recv().await.as_deref(), Some("c"));
    ends(&mut client, &mut line).await;
    // Its agent leaves and its client stays; it moves to the other one.
    client.get("c").await;
    let mut line = connect(&client).await;
    let two = world.agent("two").await;
    one.unregisters("one").await;
    ends(&mut client, &mut line).await;
    // That one dies.
    client.get("c").await;
    let mut line = connect(&client).await;
    two.task.abort();
    ends(&mut client, &mut line).await;
}

#[tokio::test]
async fn a_lost_client_leaves_the_agent() {
    let world = World::new().await;
    let _agent = world.agent("agent-A").await;
    let client = world.client("ann").await;
    client.get("c").await;
    let (connected, mut line) =
        tokio::join!(client.connect("c", "one", endless()), world.home.connects("c"));
    connected.unwrap();
    client.peer.close(LIMIT).await;
    assert_eq!(line.closes().await, [["8", "", ""]]);
}

/// Whoever serves the container says this after the handshake and the answer
/// to hello.
async fn is_survived(what: &str, bytes: Vec<u8>) {
    let world = World::new().await;
    let _agent = world.agent("agent-A").await;
    let mut client = world.client("ann").await;
    client.get("c").await;
    // Before it agreed to tell.
    let hostile = async {
        let mut line = world.home.greets().await;
        line.write.write_all(&bytes).await.unwrap();
        line
    };
    let (refused, _line) = tokio::join!(client.connect("c", "one", endless()), hostile);
    let refused = refused.expect_err(what);
    assert_eq!((refused.kind, refused.retry), (ErrorKind::Unavailable, Retry::NotProcessed));
    // And after it.
    let (connected, mut line) =
        tokio::join!(client.connect("c", "one", endless()), world.home.connects("c"));
    connected.unwrap();
    line.write.write_all(&bytes).await.unwrap();
    assert_eq!(client.told("one").await, [Told::Ended(None)], "{what}");
    // Requests and other connections go on.
    let (connected, mut line) =
        tokio::join!(client.connect("c", "two", endless()), world.home.connects("c"));
    connected.unwrap();
    line.send(&["4", "", r#"["c",1]"#]).await;
    assert_eq!(client.told("two").await, [event(1)]);
}

fn frames(frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (place, frame) in frames.iter().enumerate() {
        bytes.push(2 | u8::from(place + 1 < frames.len()));
        bytes.extend_from_slice(&(frame.len() as u64).to_be_bytes());
        bytes.extend_from_slice(frame);
    }
    bytes
}

#[tokio::test]
async fn a_hostile_agent_costs_its_own_connection() {
    let giant = |length: u64| [&[2][..], &length.to_be_bytes()].concat();
    is_survived("64 GiB", giant(64 << 30)).await;
    let begun = [frames(&[b"4", b""]), giant(limits::PAYLOAD_BYTES as u64 + 1)].concat();
    is_survived(
        "a payload over the limit",
        [&[1, 1, b'4', 1, 0][..], &begun[begun.len() - 9..]].concat(),
    )
    .await;
    is_survived("flags", vec![0xff; 16]).await;
    is_survived("no operation", frames(&[b"x", b"", b""])).await;
    is_survived("the native language", frames(&[b"\xf5\0\0"])).await;
    is_survived("no JSON", frames(&[b"4", b"", b"[\"c\",x]"])).await;
    is_survived("not UTF-8", frames(&[b"4", b"", b"[\"c\",\"\xff\"]"])).await;
    is_survived("a million brackets", frames(&[b"4", b"", &vec![b'['; 1_000_000]])).await;
    is_survived("no names", frames(&[b"4", b"", b"[1,2]"])).await;
    is_survived("five frames", frames(&[b"4", b"", b"", b"", b""])).await;
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_given_up_in_time() {
    let world = World::new().await;
    let _agent = world.agent("agent-A").await;
    let client = world.client("ann").await;
    client.get("c").await;
    let call = || Client::to("c", "one", endless());
    let wait = Duration::from_millis(300);
    // At each step of the way.
    let (late, _stream) = tokio::join!(client.ask_within(call(), wait), world.home.next());
    assert_eq!(late.unwrap_err().kind, ErrorKind::DeadlineExceeded);
    let (late, _line) = tokio::join!(client.ask_within(call(), wait), world.home.greets());
    assert_eq!(late.unwrap_err().kind, ErrorKind::DeadlineExceeded);
    // It asks to be asked again and again.
    let putting_off = async {
        let mut line: Line = world.home.greets().await;
        for _ in 0..3 {
            let request = line.hears().await;
            line.send(&["7", &request[1], "1"]).await;
        }
        line
    };
    let (late, _line) = tokio::join!(client.ask_within(call(), wait), putting_off);
    assert_eq!(late.unwrap_err().kind, ErrorKind::DeadlineExceeded);
    // And one that floods before it agrees.
    let flooding = async {
        let mut line = world.home.greets().await;
        for n in 0..2000 {
            line.send(&["4", "", &format!(r#"["c",{n}]"#)]).await;
        }
        line
    };
    let (refused, _line) = tokio::join!(client.connect("c", "one", endless()), flooding);
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Unavailable);
}
