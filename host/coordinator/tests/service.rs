//! The coordinator on the real bus, with agents and clients made of bare peers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::time::Duration;

use bytes::Bytes;
use hulynet_bus::{Body, Bus, Peer, PeerConfig, PeerEvent, Request};
use hulynet_coordinator::{Coordinator, CoordinatorConfig, registry::RegistryConfig};
use hulynet_protocol::{
    AgentId, Call, Caller, Change, ClientId, ConnectionId, ContainerCall, ContainerId,
    ContainerRecord, Endpoint, Epoch, ErrorKind, Event, Flow, GetOptions, Kind, Labels, Load,
    NetworkError, NetworkEvent, Policy, Registration, Reply, Retry, Role, Selector, Target, Uuid,
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

const LIMIT: Duration = Duration::from_secs(10);

fn echo(uuid: &str) -> ContainerId {
    ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new(uuid).unwrap() }
}

async fn coordinator(bus: &Bus) -> Coordinator {
    // Nothing is to be recovered, so no get waits for it.
    let registry = RegistryConfig { recovery_window: Duration::ZERO, ..RegistryConfig::default() };
    let config = CoordinatorConfig {
        listen: "127.0.0.1:0".to_owned(),
        registry,
        ..CoordinatorConfig::default()
    };
    Coordinator::start(config, bus).await.unwrap()
}

/// Connects and waits until hello was answered.
async fn join(
    bus: &Bus,
    coordinator: &Coordinator,
    name: &str,
    role: Role,
) -> (Peer, mpsc::Receiver<PeerEvent>) {
    let mut config = PeerConfig::new(ClientId::new(name).unwrap(), role);
    config.alive_timeout = Duration::from_secs(2);
    config.ping_interval = Duration::from_millis(500);
    let (peer, mut events) = bus.connect(&coordinator.local_addr().to_string(), config);
    match timeout(LIMIT, events.recv()).await.unwrap().unwrap() {
        PeerEvent::Joined { .. } => (peer, events),
        other => panic!("{other:?}"),
    }
}

struct Client {
    peer: Peer,
    events: mpsc::Receiver<PeerEvent>,
}

impl Client {
    async fn join(bus: &Bus, coordinator: &Coordinator, name: &str) -> Self {
        let (peer, events) = join(bus, coordinator, name, Role::Client).await;
        Self { peer, events }
    }

    async fn ask(&self, call: Call) -> Result<Reply, NetworkError> {
        Ok(self.peer.call(call, Bytes::new(), LIMIT).await?.reply)
    }

    async fn get(&self, uuid: &str) -> ContainerRecord {
        let options = GetOptions { uuid: Some(echo(uuid).uuid), ..GetOptions::default() };
        let get = Call::Get { kind: echo(uuid).kind, options };
        match self.ask(get).await.unwrap() {
            Reply::Container(record) => record,
            other => panic!("{other:?}"),
        }
    }

    async fn event(&mut self) -> (Event, Bytes) {
        match timeout(LIMIT, self.events.recv()).await.unwrap().unwrap() {
            PeerEvent::Event { event, payload } => (event, payload),
            other => panic!("{other:?}"),
        }
    }

    async fn changes(&mut self) -> Vec<NetworkEvent> {
        match self.event().await {
            (Event::Network(events), _) => events,
            other => panic!("{other:?}"),
        }
    }
}

/// An agent of the kind `echo` that starts whatever it is asked to start.
struct Agent {
    peer: Peer,
    task: JoinHandle<()>,
    /// What its containers were asked.
    asked: mpsc::Receiver<Request>,
}

impl Agent {
    async fn join(bus: &Bus, coordinator: &Coordinator, name: &str) -> Self {
        let (peer, mut events) = join(bus, coordinator, name, Role::Agent).await;
        let registration = Registration {
            endpoint: Endpoint { agent: AgentId::new(name).unwrap(), address: None },
            kinds: vec![echo("any").kind],
            labels: Labels::new(),
            containers: Vec::new(),
            load: Load::default(),
            offers: Vec::new(),
            doubtful: Vec::new(),
        };
        let reply = peer.call(Call::Register(registration), Bytes::new(), LIMIT).await.unwrap();
        assert!(matches!(reply.reply, Reply::Registered(ref r) if r.lease_ms == 2000));
        let (sender, asked) = mpsc::channel(16);
        let task = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let PeerEvent::Request(request) = event else { continue };
                let answer = match &request.call {
                    Call::Start(start) if start.id.uuid.as_str() == "broken" => {
                        Err(NetworkError::refused(ErrorKind::StartFailed, "start trapped"))
                    }
                    Call::Start(_) => Ok((Reply::Done, Bytes::new())),
                    Call::Terminate { .. } => Ok((Reply::Terminated(true), Bytes::new())),
                    _ => {
                        sender.send(request).await.unwrap();
                        continue;
                    }
                };
                request.responder.reply(answer);
            }
        });
        Self { peer, task, asked }
    }

    async fn asked(&mut self) -> Request {
        timeout(LIMIT, self.asked.recv()).await.unwrap().unwrap()
    }
}

fn call(id: ContainerId, epoch: Option<Epoch>) -> Call {
    Call::Container(ContainerCall {
        target: Target { id, epoch },
        operation: "say".to_owned(),
        caller: Caller::default(),
        idempotency: None,
        trace: 1,
        send: false,
    })
}

#[tokio::test]
async fn a_container_is_got_requested_and_terminated() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    let mut agent = Agent::join(&bus, &coordinator, "a").await;
    let client = Client::join(&bus, &coordinator, "c").await;
    let record = client.get("x").await;
    assert_eq!((record.endpoint.agent.as_str(), record.holders), ("a", 1));

    let asking = client.peer.call(call(echo("x"), None), Bytes::from_static(b"hello"), LIMIT);
    let answering = async {
        let request = agent.asked().await;
        assert!(request.responder.remaining() <= LIMIT);
        let Call::Container(call) = &request.call else { panic!() };
        assert_eq!(call.target.epoch, Some(record.epoch), "the live epoch goes along");
        let payload = request.payload.clone();
        request.responder.reply(Ok((Reply::Payload, payload)));
    };
    let (response, ()) = tokio::join!(asking, answering);
    let Body::Payload(payload) = response.unwrap().body else { panic!() };
    assert_eq!(payload, "hello");

    let end = Call::Terminate { target: Target { id: echo("x"), epoch: None }, force: true };
    assert_eq!(client.ask(end).await.unwrap(), Reply::Terminated(true));
    assert_eq!(
        client.ask(Call::List { kind: None, select: Selector::default() }).await.unwrap(),
        Reply::Containers(vec![])
    );
    coordinator.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_request_that_reaches_no_container_is_refused_at_once() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    let _agent = Agent::join(&bus, &coordinator, "a").await;
    let client = Client::join(&bus, &coordinator, "c").await;
    let error = client.ask(call(echo("x"), None)).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::UnknownContainer, Retry::NotProcessed));
    client.get("x").await;
    let stale = Epoch { term: 1, counter: 1 };
    let error = client.ask(call(echo("x"), Some(stale))).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::StaleEpoch, Retry::NotProcessed));
    coordinator.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_failed_start_reaches_the_client_with_its_cause() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    let _agent = Agent::join(&bus, &coordinator, "a").await;
    let client = Client::join(&bus, &coordinator, "c").await;
    let options = GetOptions { uuid: Some(echo("broken").uuid), ..GetOptions::default() };
    let error = client.ask(Call::Get { kind: echo("x").kind, options }).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::StartFailed, Retry::Final));
    assert!(error.message.ends_with("on the agent a: start trapped"), "{}", error.message);
    coordinator.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_stream_is_relayed_chunk_by_chunk_with_back_pressure() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    let mut agent = Agent::join(&bus, &coordinator, "a").await;
    let client = Client::join(&bus, &coordinator, "c").await;
    client.get("x").await;
    let asking = client.peer.call(call(echo("x"), None), Bytes::new(), LIMIT);
    let streaming = tokio::spawn(async move {
        let mut stream = agent.asked().await.responder.stream();
        for number in 0..200_u8 {
            stream.send(Bytes::from(vec![number; 1000])).await.unwrap();
        }
        stream.finish(Err(NetworkError::refused(ErrorKind::Application, "no more")));
        agent
    });
    let Body::Stream(mut chunks) = asking.await.unwrap().body else { panic!() };
    for number in 0..200_u8 {
        assert_eq!(chunks.next().await.unwrap().unwrap(), vec![number; 1000]);
    }
    assert_eq!(chunks.next().await.unwrap().unwrap_err().message, "no more");
    streaming.await.unwrap();
    coordinator.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_reader_that_gives_up_a_silent_stream_cancels_it_at_the_agent() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    let mut agent = Agent::join(&bus, &coordinator, "a").await;
    let client = Client::join(&bus, &coordinator, "c").await;
    client.get("x").await;
    let asking = client.peer.call(call(echo("x"), None), Bytes::new(), LIMIT);
    let (response, mut stream) =
        tokio::join!(asking, async { agent.asked().await.responder.stream() });
    drop(response.unwrap());
    timeout(LIMIT, stream.cancelled()).await.unwrap();
    coordinator.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_caller_that_gives_up_cancels_the_request_at_the_agent() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    let mut agent = Agent::join(&bus, &coordinator, "a").await;
    let client = Client::join(&bus, &coordinator, "c").await;
    client.get("x").await;
    let peer = client.peer.clone();
    let asking =
        tokio::spawn(async move { peer.call(call(echo("x"), None), Bytes::new(), LIMIT).await });
    let mut request = agent.asked().await;
    asking.abort();
    timeout(LIMIT / 2, request.responder.cancelled()).await.unwrap();
    coordinator.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_watcher_sees_a_lost_agent_and_the_container_that_moved() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    let first = Agent::join(&bus, &coordinator, "a").await;
    let mut client = Client::join(&bus, &coordinator, "c").await;
    let record = client.get("x").await;
    let _second = Agent::join(&bus, &coordinator, "b").await;
    let Reply::Snapshot(snapshot) = client.ask(Call::Watch).await.unwrap() else { panic!() };
    assert_eq!((snapshot.revision, snapshot.agents.len()), (3, 2));
    assert_eq!(snapshot.containers.len(), 1);

    first.peer.close(LIMIT).await;
    first.task.abort();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(client.changes().await);
    }
    assert_eq!(seen[0].revision, 4);
    assert!(matches!(&seen[0].change, Change::AgentRemoved(id) if id.as_str() == "a"));
    let Change::ContainerUpdated(moved) = &seen[1].change else { panic!("{seen:?}") };
    assert_eq!((moved.endpoint.agent.as_str(), seen[1].revision), ("b", 5));
    assert!(moved.epoch > record.epoch);
    coordinator.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_proxied_connection_brings_broadcasts_until_it_ends() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    let mut agent = Agent::join(&bus, &coordinator, "a").await;
    let mut client = Client::join(&bus, &coordinator, "c").await;
    let epoch = client.get("x").await.epoch;
    let connection = ConnectionId::new("k").unwrap();
    let connect = Call::Connect {
        target: Target { id: echo("x"), epoch: None },
        connection: connection.clone(),
        caller: Caller::default(),
        flow: Flow::endless(Policy::Disconnect),
    };
    let accepting = async {
        let request = agent.asked().await;
        request.responder.reply(Ok((Reply::Done, Bytes::new())));
    };
    let (connected, ()) = tokio::join!(client.ask(connect), accepting);
    assert_eq!(connected, Ok(Reply::Done));

    let event = Event::single(connection.clone(), epoch);
    agent.peer.event(event.clone(), Bytes::from_static(b"news")).unwrap();
    assert_eq!(client.event().await, (event, Bytes::from_static(b"news")));

    let ended = Call::Disconnected { connection: connection.clone(), error: None };
    agent.peer.call(ended.clone(), Bytes::new(), LIMIT).await.unwrap();
    match timeout(LIMIT, client.events.recv()).await.unwrap().unwrap() {
        PeerEvent::Request(request) => {
            assert_eq!(request.call, ended);
            request.responder.reply(Ok((Reply::Done, Bytes::new())));
        }
        other => panic!("{other:?}"),
    }
    coordinator.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_lost_client_ends_its_connections_at_the_agent() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    let mut agent = Agent::join(&bus, &coordinator, "a").await;
    let client = Client::join(&bus, &coordinator, "c").await;
    client.get("x").await;
    let connection = ConnectionId::new("k").unwrap();
    let connect = Call::Connect {
        target: Target { id: echo("x"), epoch: None },
        connection: connection.clone(),
        caller: Caller::default(),
        flow: Flow::endless(Policy::Disconnect),
    };
    let accepting = async {
        let request = agent.asked().await;
        request.responder.reply(Ok((Reply::Done, Bytes::new())));
    };
    let (connected, ()) = tokio::join!(client.ask(connect), accepting);
    assert_eq!(connected, Ok(Reply::Done));
    client.peer.close(LIMIT).await;
    let request = agent.asked().await;
    assert_eq!(request.call, Call::Disconnect { connection });
    request.responder.reply(Ok((Reply::Done, Bytes::new())));
    coordinator.shutdown(LIMIT).await;
}

#[tokio::test]
async fn many_clients_that_get_one_container_share_it() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    let _agent = Agent::join(&bus, &coordinator, "a").await;
    let mut gets = Vec::new();
    for number in 0..16 {
        let client = Client::join(&bus, &coordinator, &format!("c{number}")).await;
        gets.push(tokio::spawn(async move { (client.get("x").await.epoch, client) }));
    }
    let mut epochs = Vec::new();
    let mut clients = Vec::new();
    for get in gets {
        let (epoch, client) = get.await.unwrap();
        epochs.push(epoch);
        clients.push(client);
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1);
    let Reply::Containers(records) =
        clients[0].ask(Call::List { kind: None, select: Selector::default() }).await.unwrap()
    else {
        panic!()
    };
    assert_eq!((records.len(), records[0].holders), (1, 16));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let bus = Bus::start("test").unwrap();
    let first = coordinator(&bus).await;
    let address = first.local_addr().to_string();
    let config = CoordinatorConfig { listen: address.clone(), ..CoordinatorConfig::default() };
    let error = Coordinator::start(config, &bus).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
    first.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_shutdown_answers_what_waits() {
    let bus = Bus::start("test").unwrap();
    let coordinator = coordinator(&bus).await;
    // An agent that never answers.
    let (peer, _events) = join(&bus, &coordinator, "a", Role::Agent).await;
    let registration = Registration {
        endpoint: Endpoint { agent: AgentId::new("a").unwrap(), address: None },
        kinds: vec![echo("any").kind],
        labels: Labels::new(),
        containers: Vec::new(),
        load: Load::default(),
        offers: Vec::new(),
        doubtful: Vec::new(),
    };
    peer.call(Call::Register(registration), Bytes::new(), LIMIT).await.unwrap();
    let client = Client::join(&bus, &coordinator, "c").await;
    let watcher = Client::join(&bus, &coordinator, "w").await;
    let options = GetOptions { uuid: Some(echo("x").uuid), ..GetOptions::default() };
    let get = Call::Get { kind: echo("x").kind, options };
    let asking = tokio::spawn(async move { client.ask(get).await });
    let starting = async {
        loop {
            let list = watcher.ask(Call::List { kind: None, select: Selector::default() }).await;
            if list.is_ok_and(|reply| reply != Reply::Containers(vec![])) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, starting).await.unwrap();
    timeout(LIMIT, coordinator.shutdown(Duration::from_secs(2))).await.unwrap();
    let error = asking.await.unwrap().unwrap_err();
    assert_eq!(error.retry, Retry::NotProcessed, "{error}");
}
