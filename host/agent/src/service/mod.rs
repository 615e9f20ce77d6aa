//! The agent's service: it moves calls, time and files to those who decide.
//!
//! Four tasks: one takes what clients ask directly, one keeps the agent
//! registered and takes what the coordinator asks or forwards, one sends the
//! events of containers, one serves the plugin directory. What is not for a container has a task of its own while it
//! is answered. All but the last run on the thread of the bus, so that a request
//! changes threads only where its container computes.

mod answer;
mod core;
mod flush;
mod link;
mod listening;
mod original;
mod sink;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hulynet_agent_kinds::Terms;
use hulynet_bus::{Bus, DoorConfig, Incoming, Language, ServerConfig};
use hulynet_protocol::{AgentId, ContainerId, Endpoint, Epoch, Kind, Role, ServerId};
use hulynet_store::Documents;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use self::{
    core::{Core, News},
    link::Link,
};
use crate::{
    capabilities::{Linkers, Pools, Services, of_machine},
    config::AgentConfig,
    container::{Threads, here},
    engine,
    error::AgentError,
    network::Network,
    plugins::Plugins,
};

/// A container that ended, for the coordinator.
type Ended = (ContainerId, Epoch);

/// A running agent. Dropping it stops it at once; [`Agent::shutdown`] does it
/// with care.
pub struct Agent {
    core: Arc<Core>,
    peer: watch::Receiver<hulynet_bus::Peer>,
    tasks: Vec<AbortHandle>,
}

impl Agent {
    /// Loads the plugin directory, listens, and joins the network as soon as a
    /// coordinator answers; it does not wait for one.
    ///
    /// # Errors
    /// [`AgentError`]: a directory that cannot be used, an address in use, no
    /// coordinator named. A file that is no kind is reported and left out.
    pub async fn start(
        config: AgentConfig,
        bus: Bus,
        network: Arc<dyn Network>,
        documents: Arc<dyn Documents>,
    ) -> Result<Self, AgentError> {
        let (engines, room) = engine::start(config.containers)?;
        let capacity = config.containers.map_or(room, |wanted| wanted.min(room));
        let linkers =
            Linkers::new(&engines).map_err(|error| AgentError::Engine(format!("{error:#}")))?;
        let (changed, changes) = watch::channel(());
        let plugins = Plugins::open(&config, linkers, changed)?;
        let server_config = ServerConfig { role: Role::Agent, id: ServerId::random() };
        let door = DoorConfig {
            accept: config.accept.clone(),
            secret: config.secret.clone(),
            accept_original: config.accept_original.clone(),
            ..DoorConfig::default()
        };
        let (server, incoming) = bus.bind_with(&config.listen, server_config, door).await?;
        let address = config.advertise.clone().unwrap_or_else(|| server.local_addr().to_string());
        let memory = Pools::new(config.memory.unwrap_or_else(most_memory), config.resident);
        // One that begins full says so before anybody asks it.
        drop(memory.share(None));
        let services = Services {
            agent: config.id.clone(),
            network,
            documents,
            limits: config.limits.clone(),
            threads: Threads::of_runtime(),
            clock: engines.clock,
            memory: Arc::new(memory),
            places: engines.places,
            terms: Terms::default(),
            grants: config.grants.clone(),
        };
        let endpoint = Endpoint { agent: config.id.clone(), address: Some(address) };
        // Each container ends once, so this holds no more than there are.
        let (ended, endings) = mpsc::unbounded_channel();
        // Each container orders one flush at a time.
        let (flushes, flushing) = mpsc::unbounded_channel();
        let core = Arc::new(Core::new(
            &config,
            endpoint,
            services,
            plugins.kinds().clone(),
            capacity as usize,
            server,
            News { ended, flushes },
        ));
        let (link, peer) = Link::new(core.clone(), &config, bus.clone(), endings, changes)?;
        let mut settled = plugins.settled();
        let mut agent =
            Self { core, peer, tasks: vec![tokio::spawn(plugins.run()).abort_handle()] };
        // What is compiled already is there at once, and what is not is worth
        // a while: the coordinator is told of kinds that can be started.
        if tokio::time::timeout(config.warm_up, settled.wait_for(|settled| *settled)).await.is_err()
        {
            tracing::warn!("the kinds are still being compiled; they are served as they are ready");
        }
        // Quick containers run beside the sockets.
        bus.spawn(async { engine::prepare_thread() });
        agent.tasks.push(bus.spawn(serve(agent.core.clone(), incoming)).abort_handle());
        agent.tasks.push(bus.spawn(flush::run(flushing)).abort_handle());
        agent.tasks.push(tokio::spawn(original::listen_at_last(agent.core.clone())).abort_handle());
        agent.tasks.push(bus.spawn(link.run()).abort_handle());
        Ok(agent)
    }

    /// Its name in the network.
    #[must_use]
    pub fn id(&self) -> &AgentId {
        &self.core.endpoint().agent
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.core.server().local_addr()
    }

    /// The kinds that it serves now, sorted.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        self.core.kinds()
    }

    /// How many kinds it compiled since its start; the others came from the
    /// cache.
    #[must_use]
    pub fn compiled(&self) -> u64 {
        self.core.compiled()
    }

    /// Takes no more requests, lets those in progress finish, ends the
    /// containers and leaves the network, all within about the deadline.
    pub async fn shutdown(self, deadline: Duration) {
        let part = deadline / 3;
        self.core.finish(part).await;
        self.core.end_all(part).await;
        // Whatever they would still tell, leaving tells.
        for task in &self.tasks {
            task.abort();
        }
        let peer = self.peer.borrow().clone();
        let left = hulynet_protocol::Call::Unregister(self.id().clone());
        // One that cannot be reached learns it when the lease ends; nobody
        // waits for it.
        if let Err(error) = peer.call_joined(left, bytes::Bytes::new(), part / 2).await {
            tracing::warn!("left without telling the coordinator: {error}");
        }
        peer.close(part / 2).await;
        self.core.server().close(part / 2).await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Three quarters of the machine's memory; no limit where that is unknown.
fn most_memory() -> usize {
    of_machine().map_or(usize::MAX, |bytes| bytes / 4 * 3)
}

/// Requests that are handed over at a time: the first container waits for the
/// last one.
const BATCH: usize = 32;

/// After so many the sockets are looked at: to do so after each batch would cost
/// a system call each time.
const IN_A_ROW: usize = 64;

/// Answers clients that ask directly.
async fn serve(core: Arc<Core>, mut incoming: mpsc::Receiver<Incoming>) {
    let (mut batch, mut in_a_row) = (Vec::with_capacity(BATCH), 0);
    loop {
        let count = incoming.recv_many(&mut batch, BATCH).await;
        if count == 0 {
            return;
        }
        here(|| batch.drain(..).for_each(|incoming| take(&core, incoming)));
        in_a_row += count;
        if in_a_row >= IN_A_ROW {
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
    }
}

fn take(core: &Arc<Core>, incoming: Incoming) {
    match incoming {
        Incoming::Request(request) => {
            core.answer(|peer| sink::Route::direct(core, peer), request);
        }
        Incoming::Original(request) => core.answer_original(request),
        Incoming::Left { peer, .. } => {
            core.listeners().forget(&peer);
            core.peer_left(&peer);
        }
        Incoming::Joined { peer, language: Language::Original, .. } => {
            core.listeners().joined(peer);
        }
        Incoming::Joined { .. } | Incoming::Alive(_) | Incoming::Event { .. } => {}
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("endpoint", self.core.endpoint()).finish_non_exhaustive()
    }
}
