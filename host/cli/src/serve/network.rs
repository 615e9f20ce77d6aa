//! The network as containers see it: the agent's [`Network`] on a client of
//! its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, future, stream};
use hulynet_agent::{Answer, Chunks, Events, Network, Outgoing, Reference};
use hulynet_bus::{Bus, Secret};
use hulynet_client::{Client, ConnectionEvent, Policy, Request, Subscription, WatchEvent};
use hulynet_protocol::{
    AgentId, AgentRecord, Caller, Change, ContainerId, ErrorKind, GetOptions, Kind, Labels,
    NetworkError, NetworkEvent,
};
use tokio::sync::OnceCell;

use crate::config::Settings;

/// Connects when a container first asks for another one, because the agent may
/// be up before any coordinator is.
pub(super) struct ClientNetwork {
    bus: Bus,
    addresses: Vec<String>,
    timeout: Duration,
    alive_timeout: Duration,
    ping_interval: Duration,
    hello_timeout: Duration,
    goodbye_timeout: Duration,
    secret: Option<Secret>,
    client: OnceCell<Client>,
}

impl ClientNetwork {
    pub(super) fn new(
        settings: &Settings,
        secret: Option<Secret>,
        addresses: Vec<String>,
        bus: Bus,
    ) -> Self {
        Self {
            bus,
            addresses,
            timeout: settings.timeout,
            alive_timeout: settings.alive_timeout,
            ping_interval: settings.ping_every(),
            hello_timeout: settings.hello_timeout,
            goodbye_timeout: settings.goodbye_timeout,
            secret,
            client: OnceCell::new(),
        }
    }

    async fn client(&self) -> Result<&Client, NetworkError> {
        let connect = || {
            let mut builder = Client::builder()
                .bus(self.bus.clone())
                .request_timeout(self.timeout)
                .alive_timeout(self.alive_timeout)
                .ping_interval(self.ping_interval)
                .hello_timeout(self.hello_timeout)
                .goodbye_timeout(self.goodbye_timeout);
            if let Some(secret) = &self.secret {
                builder = builder.secret(secret.clone());
            }
            builder.connect(self.addresses.clone())
        };
        self.client.get_or_try_init(connect).await
    }

    /// Ends when the coordinator knows the agent.
    pub(super) async fn registered(&self, agent: &AgentId) -> Result<(), NetworkError> {
        let mut changes = self.client().await?.watch().await?;
        let is_it = |record: &AgentRecord| record.endpoint.agent == *agent;
        while let Some(event) = changes.next().await {
            let found = match event {
                WatchEvent::Snapshot(snapshot) => snapshot.agents.iter().any(is_it),
                WatchEvent::Change(NetworkEvent { change: Change::AgentAdded(record), .. }) => {
                    is_it(&record)
                }
                WatchEvent::Change(_) => false,
            };
            if found {
                return Ok(());
            }
        }
        Err(NetworkError::not_processed(
            ErrorKind::Unavailable,
            "the network was left before the agent registered",
        ))
    }

    /// Leaves the network, if it was ever joined.
    pub(super) async fn close(&self, deadline: Duration) {
        if let Some(client) = self.client.get() {
            client.close(deadline).await;
        }
    }
}

#[async_trait]
impl Network for ClientNetwork {
    async fn get(
        &self,
        kind: Kind,
        options: GetOptions,
    ) -> Result<Arc<dyn Reference>, NetworkError> {
        let reference = self.client().await?.get(kind, options).await?;
        Ok(Arc::new(Held(reference)))
    }
}

/// A container that a container holds.
struct Held(hulynet_client::Reference);

#[async_trait]
impl Reference for Held {
    fn id(&self) -> ContainerId {
        self.0.id().clone()
    }

    fn labels(&self) -> Result<Labels, NetworkError> {
        Ok(self.0.record()?.labels)
    }

    async fn request(&self, outgoing: Outgoing) -> Result<Answer, NetworkError> {
        Ok(match self.0.perform(request(outgoing)).await? {
            hulynet_client::Answer::Payload(payload) => Answer::Payload(payload),
            hulynet_client::Answer::Stream(chunks) => Answer::Chunks(stream(chunks)),
        })
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), NetworkError> {
        self.0.send(request(outgoing)).await
    }

    async fn connect(&self, caller: Caller) -> Result<Events, NetworkError> {
        let terms = Subscription::new().caller(caller).policy(Policy::Disconnect);
        let connection = self.0.subscribe(terms).await?;
        // Events that may be missing end the stream: a container that needs
        // all of them connects again and catches up, as after any end.
        let messages = connection.scan((), |(), event| {
            future::ready(match event {
                Ok(ConnectionEvent::Message(payload)) => Some(payload),
                Ok(ConnectionEvent::Reconnected { .. } | ConnectionEvent::Missed(_)) | Err(_) => {
                    None
                }
            })
        });
        Ok(Box::pin(messages))
    }
}

fn request(outgoing: Outgoing) -> Request {
    Request::new(outgoing.operation, outgoing.payload)
        .caller(outgoing.caller)
        .timeout(outgoing.timeout)
}

fn stream(chunks: hulynet_client::Chunks) -> Chunks {
    Box::pin(stream::unfold(chunks, |mut chunks| async move {
        chunks.next().await.map(|chunk| (chunk, chunks))
    }))
}
