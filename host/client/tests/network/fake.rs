//! A coordinator and agents that do as a test tells them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hulynet_bus::{Bus, Incoming, PeerConfig, PeerEvent, Server, ServerConfig};
use hulynet_client::{Client, ContainerId, ContainerRecord, Epoch, GetOptions, Kind, Uuid};
use hulynet_protocol::{
    AgentId, Amount, Call, ClientId, ConnectionId, ContainerCall, ContainerState, Endpoint,
    ErrorKind, Event, Flow, NetworkError, Reply, Role, ServerId, Snapshot, Target,
};
use tokio::sync::watch;

/// More than any step of a test takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Ends with the future, or fails the test.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("this does not end in time")
}

pub(crate) fn epoch(counter: u64) -> Epoch {
    Epoch { term: 1, counter }
}

pub(crate) fn id(uuid: &str) -> ContainerId {
    ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new(uuid).unwrap() }
}

pub(crate) fn by_uuid(uuid: &str) -> GetOptions {
    GetOptions { uuid: Some(Uuid::new(uuid).unwrap()), ..GetOptions::default() }
}

/// What a fake server answers and what it saw.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// Where containers live; a get of another uuid is refused.
    pub(crate) containers: BTreeMap<Uuid, (Option<String>, Epoch)>,
    /// What each peer may hold.
    pub(crate) held: BTreeSet<ContainerId>,
    /// Calls that arrived, as words.
    pub(crate) seen: Vec<String>,
    /// Connections by id, with the peer to send events to.
    pub(crate) connections: BTreeMap<ConnectionId, ClientId>,
    /// On which terms connections were made, and what was granted since.
    pub(crate) flows: BTreeMap<ConnectionId, Flow>,
    pub(crate) credits: BTreeMap<ConnectionId, Amount>,
    /// The revision of the registry.
    pub(crate) revision: u64,
    /// Errors to answer requests with, before all else.
    pub(crate) failures: Vec<NetworkError>,
    /// Leave requests unanswered.
    pub(crate) silent: bool,
    /// Leave connects and watches unanswered.
    pub(crate) slow: bool,
    /// The requests that were left.
    pub(crate) unanswered: Vec<hulynet_bus::Responder>,
}

/// A fake coordinator or agent.
pub(crate) struct Fake {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) world: Arc<Mutex<World>>,
    changed: watch::Sender<()>,
}

impl Fake {
    pub(crate) async fn start(role: Role) -> Self {
        Self::start_at("127.0.0.1:0", role, Arc::default()).await
    }

    /// Starts at an address that may still be in use for a moment.
    pub(crate) async fn start_at(address: &str, role: Role, world: Arc<Mutex<World>>) -> Self {
        let bus = Bus::start("fake").unwrap();
        let (server, mut incoming) = soon(async {
            loop {
                let config = ServerConfig { role, id: ServerId::random() };
                match bus.bind(address, config).await {
                    Ok(bound) => return bound,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        let changed = watch::Sender::new(());
        let (state, notify) = (Arc::clone(&world), changed.clone());
        tokio::spawn(async move {
            while let Some(incoming) = incoming.recv().await {
                if let Incoming::Request(request) = incoming {
                    answer(&state, role, request);
                }
                notify.send_replace(());
            }
        });
        Self { address: server.local_addr(), server, world, changed }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Puts a container into the world.
    pub(crate) fn place(&self, uuid: &str, agent: Option<&Fake>, counter: u64) {
        let place = (agent.map(Fake::address), epoch(counter));
        self.world.lock().unwrap().containers.insert(Uuid::new(uuid).unwrap(), place);
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }

    /// Waits until the world is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&World) -> bool) {
        let mut changed = self.changed.subscribe();
        soon(async {
            while !self.with(|world| wanted(world)) {
                changed.changed().await.unwrap();
            }
        })
        .await;
    }

    pub(crate) fn saw(&self, word: &str) -> usize {
        self.with(|world| world.seen.iter().filter(|seen| *seen == word).count())
    }

    /// Broadcasts to all connections.
    pub(crate) fn broadcast(&self, counter: u64, payload: &'static str) {
        let connections = self.with(|world| world.connections.clone());
        for (connection, peer) in connections {
            let event = Event::single(connection, epoch(counter));
            self.server.event(&peer, event, Bytes::from_static(payload.as_bytes())).unwrap();
        }
    }

    /// Takes the connection of a client away, but not its session: somebody
    /// else says hello in its name.
    pub(crate) async fn cut(&self, client: &ClientId) {
        let bus = Bus::start("thief").unwrap();
        let config = PeerConfig::new(client.clone(), Role::Client);
        let (_peer, mut events) = bus.connect(&self.address(), config);
        let joined = soon(events.recv()).await;
        // It never had a session itself.
        assert!(matches!(joined, Some(PeerEvent::Joined { resumed: false, .. })));
    }

    pub(crate) async fn stop(self) -> String {
        let address = self.address();
        self.server.close(Duration::from_secs(1)).await;
        address
    }
}

fn answer(world: &Mutex<World>, role: Role, request: hulynet_bus::Request) {
    let mut world = world.lock().unwrap();
    let payload = request.payload.clone();
    let done = |reply| Ok((reply, Bytes::new()));
    let result = match request.call {
        Call::Get { kind, options } => {
            world.seen.push("get".into());
            if kind.as_str() == "echo" {
                let uuid = options.uuid.unwrap_or_else(|| Uuid::new("a").unwrap());
                world.hold(ContainerId { kind, uuid }).map(|record| (record, Bytes::new()))
            } else {
                let message = format!("no agent serves the kind {kind:?}");
                Err(NetworkError::not_processed(ErrorKind::UnknownKind, message))
            }
        }
        Call::Reclaim { id, .. } => {
            world.seen.push(format!("reclaim {}", id.uuid));
            world.hold(id).map(|record| (record, Bytes::new()))
        }
        Call::Release(id) => {
            world.seen.push(format!("release {}", id.uuid));
            world.held.remove(&id);
            done(Reply::Done)
        }
        Call::Container(call) => {
            world.seen.push(format!("{role:?} {}", call.operation).to_lowercase());
            if world.silent {
                world.unanswered.push(request.responder);
                return;
            }
            if call.operation == "stream" && world.check(&call.target).is_ok() {
                stream(request.responder);
                return;
            }
            world.container(&call, payload)
        }
        Call::Connect { .. } | Call::Watch if world.slow => {
            world.unanswered.push(request.responder);
            return;
        }
        Call::Connect { target, connection, flow, .. } => {
            world.seen.push(format!("{role:?} connect").to_lowercase());
            world.check(&target).map(|()| {
                world.flows.insert(connection.clone(), flow);
                world.connections.insert(connection, request.peer);
                (Reply::Done, Bytes::new())
            })
        }
        Call::Credit { connection, credit } if world.connections.contains_key(&connection) => {
            world.credits.insert(connection, credit);
            done(Reply::Done)
        }
        Call::Credit { .. } => {
            Err(NetworkError::refused(ErrorKind::UnknownContainer, "it was forgotten"))
        }
        Call::Disconnect { connection } => {
            world.seen.push("disconnect".into());
            world.connections.remove(&connection);
            done(Reply::Done)
        }
        Call::Watch => {
            world.seen.push("watch".into());
            let snapshot = Snapshot { revision: world.revision, ..Snapshot::default() };
            done(Reply::Snapshot(snapshot))
        }
        Call::Unwatch => {
            world.seen.push("unwatch".into());
            done(Reply::Done)
        }
        Call::Agents => done(Reply::Agents(Vec::new())),
        Call::Kinds => done(Reply::Kinds(vec![Kind::new("echo").unwrap()])),
        Call::List { .. } => {
            let containers = world.containers.keys().map(|uuid| world.record(&id(uuid.as_str())));
            done(Reply::Containers(containers.map(Result::unwrap).collect()))
        }
        Call::Terminate { .. } => done(Reply::Terminated(true)),
        other => panic!("a client does not call {other:?}"),
    };
    drop(world);
    request.responder.reply(result);
}

fn stream(responder: hulynet_bus::Responder) {
    tokio::spawn(async move {
        let mut chunks = responder.stream();
        for n in 0..100 {
            if chunks.send(Bytes::from(format!("{n} "))).await.is_err() {
                return;
            }
        }
        chunks.finish(Ok(()));
    });
}

impl World {
    fn hold(&mut self, id: ContainerId) -> Result<Reply, NetworkError> {
        let record = self.record(&id)?;
        self.held.insert(id);
        Ok(Reply::Container(record))
    }

    fn record(&self, id: &ContainerId) -> Result<ContainerRecord, NetworkError> {
        let Some((address, epoch)) = self.containers.get(&id.uuid) else {
            return Err(NetworkError::refused(ErrorKind::StartFailed, "it cannot be started"));
        };
        let agent = AgentId::new(address.as_deref().unwrap_or("hidden")).unwrap();
        Ok(ContainerRecord {
            id: id.clone(),
            endpoint: Endpoint { agent, address: address.clone() },
            epoch: *epoch,
            state: ContainerState::Running,
            labels: BTreeMap::new(),
            holders: 1,
        })
    }

    fn check(&mut self, target: &Target) -> Result<(), NetworkError> {
        if let Some(failure) = self.failures.pop() {
            return Err(failure);
        }
        let stale = |what: String| Err(NetworkError::not_processed(ErrorKind::StaleEpoch, what));
        match self.containers.get(&target.id.uuid) {
            Some((_, epoch)) if Some(*epoch) == target.epoch => Ok(()),
            live => stale(format!("{:?} is asked for, {live:?} is live", target.epoch)),
        }
    }

    fn container(
        &mut self,
        call: &ContainerCall,
        payload: Bytes,
    ) -> Result<(Reply, Bytes), NetworkError> {
        self.check(&call.target)?;
        if call.send { Ok((Reply::Done, Bytes::new())) } else { Ok((Reply::Payload, payload)) }
    }
}

/// A client of the coordinators with a short lease.
pub(crate) async fn client(coordinators: &[&Fake]) -> Client {
    let builder = Client::builder().alive_timeout(Duration::from_secs(1));
    let addresses = coordinators.iter().map(|fake| fake.address());
    builder
        .ping_interval(Duration::from_millis(100))
        .connect(addresses)
        .await
        .expect("the coordinator answers")
}
