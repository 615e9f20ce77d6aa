//! A coordinator that says yes to everything and tells the test about it.

use std::time::Duration;

use bytes::Bytes;
use hulynet_bus::{Bus, Incoming, Request, Response, Server, ServerConfig};
use hulynet_protocol::{
    Activation, Call, ClientId, ContainerId, Epoch, Event, NetworkError, Registered, Registration,
    Reply, Role, ServerId,
};
use tokio::sync::mpsc;

use super::PATIENCE;

/// The container that lives elsewhere as soon as it is registered.
pub const ELSEWHERE: &str = "elsewhere";

/// How long the lease of the agent lasts, in milliseconds: longer than any test,
/// so that a busy machine ends none.
pub const LEASE_MS: u32 = 600_000;

/// What the agent told.
#[derive(Debug)]
pub enum Told {
    Registered(Registration),
    Ended(ContainerId, Epoch),
    Unregistered,
    Event(Event, Bytes),
}

pub struct Coordinator {
    server: Server,
    agent: Option<ClientId>,
    told: mpsc::UnboundedReceiver<(ClientId, Told)>,
}

impl Coordinator {
    pub async fn start(bus: &Bus, address: &str) -> Self {
        Self::leasing(bus, address, LEASE_MS).await
    }

    /// One whose leases last so many milliseconds.
    pub async fn leasing(bus: &Bus, address: &str, lease_ms: u32) -> Self {
        let config = ServerConfig { role: Role::Coordinator, id: ServerId::random() };
        let (server, mut incoming) = bus.bind(address, config).await.unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(incoming) = incoming.recv().await {
                match incoming {
                    Incoming::Request(request) => answer(request, lease_ms, &tell),
                    Incoming::Event { peer, event, payload } => {
                        let _ = tell.send((peer, Told::Event(event, payload)));
                    }
                    _ => {}
                }
            }
        });
        Self { server, agent: None, told }
    }

    pub fn address(&self) -> String {
        self.server.local_addr().to_string()
    }

    /// Asks the agent.
    pub async fn ask(&self, call: Call) -> Result<Response, NetworkError> {
        self.ask_with(call, Bytes::new()).await
    }

    pub async fn ask_with(&self, call: Call, payload: Bytes) -> Result<Response, NetworkError> {
        let agent = self.agent.as_ref().expect("an agent registered");
        self.server.call(agent, call, payload, PATIENCE).await
    }

    /// What the agent tells next, apart from renewals.
    pub async fn told(&mut self) -> Told {
        let told = tokio::time::timeout(PATIENCE, self.told.recv()).await;
        let (peer, told) = told.expect("in time").expect("the coordinator runs");
        self.agent = Some(peer);
        told
    }

    pub async fn registration(&mut self) -> Registration {
        loop {
            if let Told::Registered(registration) = self.told().await {
                return registration;
            }
        }
    }

    /// Is gone, as after a crash: what it bound is free again.
    pub async fn stop(self) -> String {
        let address = self.address();
        self.server.close(Duration::from_millis(200)).await;
        address
    }
}

fn answer(request: Request, lease_ms: u32, tell: &mpsc::UnboundedSender<(ClientId, Told)>) {
    let Request { peer, call, responder, .. } = request;
    let mut told = Vec::new();
    let reply = match call {
        Call::Register(registration) => {
            let elsewhere = |activation: &&Activation| activation.id.uuid.as_str() == ELSEWHERE;
            let brought = registration.containers.iter().chain(&registration.doubtful);
            let terminate = brought.filter(elsewhere);
            let terminate = terminate.map(|moved| (moved.id.clone(), moved.epoch)).collect();
            told.push(Told::Registered(registration));
            Reply::Registered(Registered { terminate, lease_ms, doubt_ms: 0 })
        }
        Call::Ended { containers, .. } => {
            told.extend(containers.into_iter().map(|(id, epoch)| Told::Ended(id, epoch)));
            Reply::Done
        }
        Call::Unregister(_) => {
            told.push(Told::Unregistered);
            Reply::Done
        }
        _ => Reply::Done,
    };
    responder.reply(Ok((reply, Bytes::new())));
    for told in told {
        let _ = tell.send((peer.clone(), told));
    }
}
