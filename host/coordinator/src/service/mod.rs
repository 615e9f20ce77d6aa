//! The registry on the bus.
//!
//! | file | what it does |
//! |---|---|
//! | `driver` | the one task that owns the registry |
//! | `proxy` | requests, connections and broadcasts on their way through |
//! | `relay` | one proxied request, in a task of its own |
//! | `original` | peers of the original network |
//! | `hearing` | what containers on agents of the original broadcast to native clients |
//! | `ears` | which of these are heard, and for whom |
//! | `connections` | which proxied connection joins which client and agent |
//! | `watchers` | watchers that were too slow for an event |
//!
//! | queue | its bound | when it is full |
//! |---|---|---|
//! | from the bus | the bus's | the bus answers `Busy` |
//! | results of calls to agents | [`driver::RESULTS`] | the finished calls wait |
//! | events to a peer | the bus's | a watcher is told later that it missed some; a proxied connection ends |
//! | events of a container on an agent of the original | [`hulynet_protocol::ledger`]'s, and the ear's part of [`ears::UNREAD`] | the policy of who listens |
//! | ears | [`ears::EARS`] | the next connection is refused with `Busy` |
//! | proxied connections of a client | [`connections::PER_CLIENT`] | the next one is refused with `Busy` |

pub mod connections;
mod driver;
mod ears;
mod hearing;
mod original;
mod proxy;
mod relay;
mod watchers;

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hulynet_bus::{Admission, Bus, BusError, DoorConfig, Secret, Server, ServerConfig};
use hulynet_protocol::{Role, ServerId, Uuid};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::registry::{Registry, RegistryConfig};
use driver::Driver;

/// Where a coordinator listens and how patient it is.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// `HOST:PORT`; port 0 takes any free one. Without a secret there is no
    /// authentication, so listen only where every peer that is accepted is
    /// trusted. Default `127.0.0.1:3737`.
    pub listen: String,
    /// From which addresses connections are accepted. Default all.
    pub accept: Admission,
    /// What native peers must prove to have. Default nothing.
    pub secret: Option<Secret>,
    /// From which of the accepted addresses peers of the original network are
    /// let in. `None`, the default, is all without a secret and none with one.
    pub accept_original: Option<Admission>,
    /// The timings of the registry.
    pub registry: RegistryConfig,
    /// How long a peer may take to learn that a proxied connection ended.
    /// Default 5 s.
    pub disconnect_timeout: Duration,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:3737".to_owned(),
            accept: Admission::default(),
            secret: None,
            accept_original: None,
            registry: RegistryConfig::default(),
            disconnect_timeout: Duration::from_secs(5),
        }
    }
}

/// A running coordinator. Dropping it stops it at once;
/// [`shutdown`](Self::shutdown) stops it in order.
#[derive(Debug)]
pub struct Coordinator {
    server: Server,
    /// Dropped to stop the driver.
    stop: oneshot::Sender<()>,
    driver: JoinHandle<()>,
}

impl Coordinator {
    /// Listens and serves, on the thread of the bus: a request that passes
    /// through changes no thread. The term of
    /// its epochs is the wall clock in milliseconds, so it is higher than that
    /// of every coordinator before on a clock that goes forward; when agents
    /// bring higher epochs along, the registry goes on from those.
    ///
    /// # Errors
    /// [`BusError::Bind`] when the address cannot be listened on.
    pub async fn start(config: CoordinatorConfig, bus: &Bus) -> Result<Self, BusError> {
        let id = ServerId::random();
        let server_config = ServerConfig { role: Role::Coordinator, id };
        let door = DoorConfig {
            accept: config.accept.clone(),
            secret: config.secret.clone(),
            accept_original: config.accept_original.clone(),
            ..DoorConfig::default()
        };
        let (server, incoming) = bus.bind_with(&config.listen, server_config, door).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let term = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let registry = Registry::new(config.registry.clone(), term, Uuid::random);
        let (stop, stopped) = oneshot::channel();
        let driver = Driver::new(registry, config, server.clone());
        let driver = bus.spawn(driver.run(incoming, stopped));
        tracing::info!(address = %server.local_addr(), term, "coordinator listening");
        Ok(Self { server, stop, driver })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops: waiting requests are answered as not processed, answers on their
    /// way leave, connections are closed. Ends within the deadline.
    pub async fn shutdown(self, deadline: Duration) {
        drop(self.stop);
        let began = tokio::time::Instant::now();
        if let Ok(Err(error)) = tokio::time::timeout(deadline, self.driver).await {
            tracing::error!(%error, "the coordinator's task failed");
        }
        self.server.close(deadline.saturating_sub(began.elapsed())).await;
    }
}
