//! Hostile kinds on an agent, beside a healthy container.

use std::{
    fs,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use hulynet_agent::{AgentConfig, Answer, Events, Network, Outgoing, Reference};
use hulynet_bus::{Body, ChunkReceiver, Peer};
use hulynet_protocol::{
    Call, Caller, ContainerCall, ContainerId, GetOptions, Kind, KindReport, Labels, LimitRecord,
    NetworkError, Reply, StartContainer, Target, Uuid,
};

use crate::{
    healthy::Healthy,
    support::{LEASE_MS, PATIENCE, Told, World, attacks, container_call, epoch, kind},
};

/// An agent that serves all attacks, the kinds `hostile` and `serial`, of one world
/// each, and the healthy `echo`.
pub struct Stage {
    pub world: World,
    pub healthy: Healthy,
}

impl Stage {
    pub async fn new(settings: impl FnOnce(&mut AgentConfig)) -> Self {
        let network = Arc::new(Loopback::default());
        let world = World::among(network.clone(), LEASE_MS, |config| {
            for attack in fs::read_dir(attacks()).unwrap() {
                let file = attack.unwrap().path();
                fs::copy(&file, config.plugins.join(file.file_name().unwrap())).unwrap();
            }
            for name in ["hostile", "serial"] {
                fs::copy(kind(name), config.plugins.join(format!("{name}.wasm"))).unwrap();
            }
            config.containers = Some(128);
            settings(config);
        })
        .await;
        assert!(network.0.set(world.client.clone()).is_ok());
        let healthy = Healthy::start(&world).await;
        Self { world, healthy }
    }

    /// Starts a container; its name is that of its kind.
    pub async fn start(&self, kind: &str) -> Result<(), NetworkError> {
        self.start_with(kind, kind, "").await
    }

    pub async fn start_with(
        &self,
        kind: &str,
        uuid: &str,
        extra: &str,
    ) -> Result<(), NetworkError> {
        self.order(kind, uuid, Labels::new(), extra).await
    }

    /// Starts a container that works for a tenant.
    pub async fn start_for(
        &self,
        tenant: &str,
        kind: &str,
        uuid: &str,
    ) -> Result<(), NetworkError> {
        let labels = Labels::from([("workspace".to_owned(), tenant.to_owned())]);
        self.order(kind, uuid, labels, "").await
    }

    /// Starts a container as the coordinator does.
    pub async fn order(
        &self,
        kind: &str,
        uuid: &str,
        labels: Labels,
        extra: &str,
    ) -> Result<(), NetworkError> {
        let extra = extra.as_bytes().to_vec();
        let order = StartContainer { id: id(kind, uuid), epoch: epoch(1), labels, extra };
        self.world.coordinator.ask(Call::Start(order)).await.map(|response| {
            assert_eq!(response.reply, Reply::Done);
        })
    }

    /// Starts an attack and asks it something.
    pub async fn attack(&self, attack: &str) -> Result<Bytes, NetworkError> {
        self.start(attack).await?;
        self.ask(attack, attack, "attack", "").await
    }

    /// Asks a container of any kind.
    pub async fn ask(
        &self,
        kind: &str,
        uuid: &str,
        operation: &str,
        arguments: &str,
    ) -> Result<Bytes, NetworkError> {
        self.ask_within(PATIENCE, kind, uuid, operation, arguments).await
    }

    pub async fn ask_within(
        &self,
        timeout: Duration,
        kind: &str,
        uuid: &str,
        operation: &str,
        arguments: &str,
    ) -> Result<Bytes, NetworkError> {
        let call = call(id(kind, uuid), operation);
        let payload = Bytes::copy_from_slice(arguments.as_bytes());
        match self.world.client.call(Call::Container(call), payload, timeout).await?.body {
            Body::Payload(payload) => Ok(payload),
            Body::Stream(_) => panic!("nobody expects a stream here"),
        }
    }

    /// Asks `hostile/hostile` for a stream.
    pub async fn stream(&self, operation: &str) -> Result<ChunkReceiver, NetworkError> {
        let call = Call::Container(call(id("hostile", "hostile"), operation));
        match self.world.client.call(call, Bytes::new(), PATIENCE).await?.body {
            Body::Stream(chunks) => Ok(chunks),
            Body::Payload(_) => panic!("a stream is expected here"),
        }
    }

    /// What a container may use and uses.
    pub async fn limits(&self, kind: &str, uuid: &str) -> Vec<LimitRecord> {
        self.world.limits(id(kind, uuid)).await.unwrap()
    }

    /// What the agent says about a kind.
    pub async fn report(&self, kind: &str) -> KindReport {
        let call = Call::ReportKinds;
        match self.world.client.call(call, Bytes::new(), PATIENCE).await.unwrap().reply {
            Reply::KindReports(reports) => {
                reports.into_iter().find(|report| report.kind.as_str() == kind).unwrap()
            }
            other => panic!("expected reports, got {other:?}"),
        }
    }

    /// Attacks, while the healthy container is watched.
    pub async fn beside<T>(&self, attack: impl Future<Output = T>) -> T {
        self.healthy.beside(attack).await
    }

    /// What the coordinator is told next, while the healthy container is
    /// watched.
    pub async fn told(&mut self) -> Told {
        self.healthy.beside(self.world.coordinator.told()).await
    }
}

/// The kinds that attack so, one of each world.
pub fn both(attack: &str) -> [String; 2] {
    [attack.to_owned(), format!("{attack}-sync")]
}

pub fn id(kind: &str, uuid: &str) -> ContainerId {
    ContainerId { kind: Kind::new(kind).unwrap(), uuid: Uuid::new(uuid).unwrap() }
}

pub fn call(id: ContainerId, operation: &str) -> ContainerCall {
    let target = Target { id, epoch: None };
    ContainerCall { target, ..container_call("any", operation) }
}

/// The network as the agent's containers see it: other containers on the same
/// agent, which run already.
#[derive(Default)]
struct Loopback(OnceLock<Peer>);

struct Held {
    id: ContainerId,
    peer: Peer,
}

#[async_trait]
impl Network for Loopback {
    async fn get(
        &self,
        kind: Kind,
        options: GetOptions,
    ) -> Result<Arc<dyn Reference>, NetworkError> {
        let uuid = options.uuid.unwrap_or_else(Uuid::random);
        let peer = self.0.get().unwrap().clone();
        Ok(Arc::new(Held { id: ContainerId { kind, uuid }, peer }))
    }
}

#[async_trait]
impl Reference for Held {
    fn id(&self) -> ContainerId {
        self.id.clone()
    }

    fn labels(&self) -> Result<Labels, NetworkError> {
        Ok(Labels::new())
    }

    async fn request(&self, request: Outgoing) -> Result<Answer, NetworkError> {
        let Outgoing { operation, payload, caller, timeout } = request;
        let call = ContainerCall { caller, ..call(self.id.clone(), &operation) };
        match self.peer.call(Call::Container(call), payload, timeout).await?.body {
            Body::Payload(payload) => Ok(Answer::Payload(payload)),
            Body::Stream(chunks) => {
                Ok(Answer::Chunks(Box::pin(stream::unfold(chunks, async |mut chunks| {
                    chunks.next().await.map(|chunk| (chunk, chunks))
                }))))
            }
        }
    }

    async fn send(&self, request: Outgoing) -> Result<(), NetworkError> {
        let Outgoing { operation, payload, caller, timeout } = request;
        let call = ContainerCall { caller, send: true, ..call(self.id.clone(), &operation) };
        self.peer.call(Call::Container(call), payload, timeout).await.map(drop)
    }

    async fn connect(&self, _: Caller) -> Result<Events, NetworkError> {
        Ok(Box::pin(stream::empty()))
    }
}

pub const MIB: usize = 1024 * 1024;

/// A number that an attack answers with.
pub fn number(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes.try_into().unwrap()).try_into().unwrap()
}
