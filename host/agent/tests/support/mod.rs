//! An agent under test: a coordinator and other containers that the test
//! plays, a client, and the real agent between them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    dead_code,
    unused_imports,
    reason = "tests fail by panicking; each of them uses a part of this module"
)]

mod coordinator;
mod kinds;
mod logs;
mod others;

use std::{collections::VecDeque, fs, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use hulynet_agent::{Agent, AgentConfig, Grants, Network};
use hulynet_bus::{Body, Bus, Peer, PeerConfig, PeerEvent, Response};
use hulynet_protocol::{
    AccountId, Call, Caller, ClientId, ConnectionId, ContainerCall, ContainerId, Epoch, Event,
    Flow, Kind, Labels, LimitRecord, NetworkError, Policy, Reply, Role, StartContainer, Target,
    Uuid, flow,
};
use hulynet_store::SqliteDocuments;
use tempfile::TempDir;
use tokio::sync::mpsc;

pub use coordinator::{Coordinator, ELSEWHERE, LEASE_MS, Told};
pub use kinds::{attacks, kind};
pub use logs::{listen, log, logged, told_of};

/// Everything in a test ends within this.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What kinds are granted, unless a test says otherwise.
pub fn grants() -> Arc<Grants> {
    let text = "[default]\ncontainers = [\"*\"]\ndocuments = true\n";
    Arc::new(Grants::parse("grants.toml", text).unwrap())
}

/// An agent with what it needs.
pub struct World {
    pub agent: Agent,
    pub coordinator: Coordinator,
    pub client: Peer,
    pub events: mpsc::Receiver<PeerEvent>,
    /// Events of containers that came together with one that was asked for.
    together: VecDeque<Bytes>,
    pub bus: Bus,
    pub plugins: PathBuf,
    pub documents: Arc<SqliteDocuments>,
    _directory: TempDir,
}

impl World {
    /// An agent that serves `echo`, registered.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with other settings.
    pub async fn with(settings: impl FnOnce(&mut AgentConfig)) -> Self {
        Self::leased(LEASE_MS, settings).await
    }

    /// The same with a lease of so many milliseconds, for a test in which it
    /// ends.
    pub async fn leased(lease_ms: u32, settings: impl FnOnce(&mut AgentConfig)) -> Self {
        Self::among(Arc::new(others::Others), lease_ms, settings).await
    }

    /// The same among these other containers.
    pub async fn among(
        others: Arc<dyn Network>,
        lease_ms: u32,
        settings: impl FnOnce(&mut AgentConfig),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plugins = directory.path().join("plugins");
        fs::create_dir(&plugins).unwrap();
        fs::copy(kind("echo"), plugins.join("echo.wasm")).unwrap();
        let bus = Bus::start("test").unwrap();
        let mut coordinator = Coordinator::leasing(&bus, "127.0.0.1:0", lease_ms).await;
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("agent-cache");
        let mut config = AgentConfig::new(&plugins, cache);
        config.listen = "127.0.0.1:0".to_owned();
        config.grants = grants();
        config.coordinators = vec![coordinator.address()];
        config.containers = Some(32);
        config.poll = Duration::from_millis(50);
        // Tests begin with everything loaded, however busy the machine is.
        config.warm_up = Duration::from_secs(600);
        settings(&mut config);
        let documents = Arc::new(SqliteDocuments::open(&directory.path().join("data")).unwrap());
        let agent = Agent::start(config, bus.clone(), others, documents.clone()).await.unwrap();
        coordinator.registration().await;
        let peer_config = PeerConfig::new(ClientId::random(), Role::Client);
        let (client, events) = bus.connect(&agent.local_addr().to_string(), peer_config);
        let (together, _directory) = (VecDeque::new(), directory);
        Self { agent, coordinator, client, events, together, bus, plugins, documents, _directory }
    }

    /// Starts an `echo` container with the epoch 1.1.
    pub async fn start(&self, uuid: &str) {
        self.start_as(uuid, 1, Labels::new()).await.unwrap();
    }

    /// Starts an `echo` container.
    pub async fn start_as(
        &self,
        uuid: &str,
        counter: u64,
        labels: Labels,
    ) -> Result<(), NetworkError> {
        let order = StartContainer { id: id(uuid), epoch: epoch(counter), labels, extra: vec![] };
        self.coordinator.ask(Call::Start(order)).await.map(|response| {
            assert_eq!(response.reply, Reply::Done);
        })
    }

    /// Asks a container and collects the answer.
    pub async fn request(
        &self,
        uuid: &str,
        operation: &str,
        payload: &str,
    ) -> Result<String, NetworkError> {
        self.request_within(PATIENCE, uuid, operation, payload).await
    }

    /// The same with a deadline.
    pub async fn request_within(
        &self,
        timeout: Duration,
        uuid: &str,
        operation: &str,
        payload: &str,
    ) -> Result<String, NetworkError> {
        let call = Call::Container(container_call(uuid, operation));
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        text(self.client.call(call, payload, timeout).await?).await
    }

    /// What a container may use and uses.
    pub async fn limits(&self, id: ContainerId) -> Result<Vec<LimitRecord>, NetworkError> {
        let call = Call::Limits(Target { id, epoch: None });
        match self.client.call(call, Bytes::new(), PATIENCE).await?.reply {
            Reply::Limits(limits) => Ok(limits),
            other => panic!("expected limits, got {other:?}"),
        }
    }

    /// Ends when there is such a container and it uses so much of this limit.
    pub async fn until_it_uses(&self, id: ContainerId, name: &str, used: u64) {
        let uses = async {
            let is_it = |limit: &LimitRecord| limit.name == name && limit.used == Some(used);
            while !self.limits(id.clone()).await.is_ok_and(|limits| limits.iter().any(is_it)) {}
        };
        tokio::time::timeout(PATIENCE, uses).await.expect("in time");
    }

    /// Connects to a container, without a bound for its events.
    pub async fn connect(&self, uuid: &str, connection: &str) -> Result<(), NetworkError> {
        self.connect_on(uuid, connection, Flow::endless(Policy::Disconnect)).await
    }

    /// Connects to a container.
    pub async fn connect_on(
        &self,
        uuid: &str,
        connection: &str,
        flow: Flow,
    ) -> Result<(), NetworkError> {
        let call = Call::Connect {
            target: target(uuid),
            connection: ConnectionId::new(connection).unwrap(),
            caller: Caller::default(),
            flow,
        };
        self.client.call(call, Bytes::new(), PATIENCE).await.map(drop)
    }

    /// The next thing that the client hears.
    pub async fn heard(&mut self) -> PeerEvent {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("in time");
            match event.expect("the client is connected") {
                PeerEvent::Joined { .. } => {}
                other => return other,
            }
        }
    }

    /// The next event of a container, as text.
    pub async fn event(&mut self) -> String {
        if self.together.is_empty() {
            match self.heard().await {
                PeerEvent::Event { event, payload } => {
                    self.together.extend(split(&event, &payload))
                }
                other => panic!("expected an event, heard {other:?}"),
            }
        }
        let event = self.together.pop_front().expect("at least one");
        String::from_utf8(event.to_vec()).unwrap()
    }
}

/// The events of a container that came together.
pub fn split(event: &Event, payload: &Bytes) -> Vec<Bytes> {
    match event {
        Event::Container { lengths, .. } => flow::split(lengths, payload).unwrap(),
        Event::Network(_) => panic!("expected an event of a container, got {event:?}"),
    }
}

/// The account that the client acts for.
pub const ACCOUNT: &str = "anna";

pub fn id(uuid: &str) -> ContainerId {
    ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new(uuid).unwrap() }
}

pub fn epoch(counter: u64) -> Epoch {
    Epoch { term: 1, counter }
}

pub fn target(uuid: &str) -> Target {
    Target { id: id(uuid), epoch: None }
}

pub fn container_call(uuid: &str, operation: &str) -> ContainerCall {
    ContainerCall {
        target: target(uuid),
        operation: operation.to_owned(),
        caller: Caller::outside(Some(AccountId::new(ACCOUNT).unwrap())),
        idempotency: None,
        trace: 7,
        send: false,
    }
}

/// The whole body of an answer.
pub async fn text(response: Response) -> Result<String, NetworkError> {
    let mut bytes = Vec::new();
    match response.body {
        Body::Payload(payload) => bytes.extend_from_slice(&payload),
        Body::Stream(mut chunks) => {
            while let Some(chunk) = chunks.next().await {
                bytes.extend_from_slice(&chunk?);
            }
        }
    }
    Ok(String::from_utf8(bytes).unwrap())
}
