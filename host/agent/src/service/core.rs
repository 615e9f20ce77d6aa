//! What all tasks of an agent share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use hulynet_agent_table::{Decision, Table};
use hulynet_bus::{Request, Server};
use hulynet_protocol::{
    Activation, ClientId, ContainerId, Endpoint, Epoch, ErrorKind, Kind, Load, NetworkError,
    StartContainer, Target,
};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::{Ended, answer, sink::Route};
use crate::{
    capabilities::Services,
    container::{Container, Start},
    plugins::Code,
};

/// The shared state. Locks are held for moments and never across an await.
pub(super) struct Core {
    endpoint: Endpoint,
    services: Arc<Services>,
    server: Server,
    table: Arc<Mutex<Table<Container>>>,
    code: Mutex<BTreeMap<Kind, Code>>,
    ended: mpsc::UnboundedSender<Ended>,
    requests: TaskTracker,
}

impl Core {
    /// Without kinds and containers.
    pub(super) fn new(
        endpoint: Endpoint,
        services: Services,
        capacity: usize,
        server: Server,
        ended: mpsc::UnboundedSender<Ended>,
    ) -> Self {
        Self {
            endpoint,
            services: Arc::new(services),
            server,
            table: Arc::new(Mutex::new(Table::new(capacity))),
            code: Mutex::default(),
            ended,
            requests: TaskTracker::new(),
        }
    }

    /// The agent and its address.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where clients ask directly.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Which containers there are.
    pub(super) fn table(&self) -> MutexGuard<'_, Table<Container>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a container works on a request that nobody waits for.
    pub(super) fn unattended(&self) -> Duration {
        self.services.limits.request
    }

    /// The kinds that are served, sorted.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        self.code().keys().cloned().collect()
    }

    /// New containers run this from now on.
    pub(super) fn set_code(&self, code: BTreeMap<Kind, Code>) {
        *self.code() = code;
    }

    /// Answers a request in a task of its own.
    pub(super) fn answer(self: &Arc<Self>, route: Route, request: Request) {
        self.requests.spawn(answer::answer(self.clone(), route, request));
    }

    /// Starts a container, or finds the one that an earlier order started.
    ///
    /// # Errors
    /// `UnknownKind`, `StartFailed`, and those of [`Table::decide`].
    pub(super) async fn start(&self, order: StartContainer) -> Result<(), NetworkError> {
        let StartContainer { id, epoch, labels, extra } = order;
        let activation = Activation { id, epoch, labels };
        loop {
            let decision = {
                let mut table = self.table();
                let decision = table.decide(Instant::now(), &activation.id, epoch)?;
                if let Decision::Start = decision {
                    let container = self.spawn(activation.clone(), extra.clone())?;
                    table.insert(activation.clone(), container.clone());
                    Decision::Running(container)
                } else {
                    decision
                }
            };
            match decision {
                Decision::Running(container) => return container.started().await,
                Decision::Replace(older) => older.terminate(true).await,
                Decision::Start => continue,
            };
        }
    }

    fn spawn(&self, activation: Activation, extra: Vec<u8>) -> Result<Container, NetworkError> {
        let kind = &activation.id.kind;
        let code = self.code().get(kind).cloned();
        let code = code.ok_or_else(|| {
            let served: Vec<String> = self.kinds().iter().map(ToString::to_string).collect();
            NetworkError::not_processed(
                ErrorKind::UnknownKind,
                format!(
                    "the agent does not serve the kind {kind}; it serves: {}",
                    served.join(", ")
                ),
            )
        })?;
        let activation = Arc::new(activation);
        let start =
            Start { activation: activation.clone(), extra, code, services: self.services.clone() };
        // The table holds the container, so the container must not hold it.
        let (table, ended) = (Arc::downgrade(&self.table), self.ended.clone());
        Ok(Container::spawn(start, move |_| {
            let Activation { id, epoch, .. } = &*activation;
            if let Some(table) = table.upgrade() {
                table.lock().unwrap_or_else(PoisonError::into_inner).remove(id, *epoch);
            }
            // A start that failed is told too: a registration may have brought
            // it meanwhile, and its answer may be lost with a connection.
            // Without a receiver the agent is gone, and everybody knows.
            let _ = ended.send((id.clone(), *epoch));
        }))
    }

    /// Ends an activation. One that does not run here has ended.
    pub(super) async fn terminate(&self, target: &Target, force: bool) -> bool {
        let container = self.table().find(target);
        match container {
            Some(container) => container.terminate(force).await,
            None => true,
        }
    }

    /// Ends activations at once, without asking them: they live elsewhere.
    pub(super) fn retire(&self, activations: &[(ContainerId, Epoch)]) {
        let retired = self.table().retire(activations);
        for (id, epoch) in activations {
            tracing::warn!(container = %id, %epoch, "ending it: it lives elsewhere");
        }
        retired.iter().for_each(|container| container.kill());
    }

    /// A client is gone, and its connections with it.
    pub(super) fn peer_left(&self, peer: &ClientId) {
        let connections = self.table().detach_all(peer);
        for (connection, container) in connections {
            container.connections().remove(&connection);
        }
    }

    /// Takes no new containers, or takes them again; answers what the
    /// coordinator needs to know.
    pub(super) fn drain(&self, drain: bool) -> Load {
        let mut table = self.table();
        table.drain(drain);
        if drain {
            tracing::info!("draining: taking no new containers");
        } else {
            tracing::info!("taking new containers again");
        }
        table.load()
    }

    /// Refuses what comes and waits for what is in progress.
    pub(super) async fn finish(&self, deadline: Duration) {
        self.table().close();
        self.requests.close();
        if tokio::time::timeout(deadline, self.requests.wait()).await.is_err() {
            tracing::warn!("{} requests did not finish in {deadline:?}", self.requests.len());
        }
    }

    /// Ends all containers: asks first, then forces.
    pub(super) async fn end_all(&self, deadline: Duration) {
        let containers = self.table().all();
        let asked = join_all(containers.iter().map(|container| container.terminate(false)));
        if tokio::time::timeout(deadline / 2, asked).await.is_err() {
            tracing::warn!("some containers did not answer when they were asked to end");
        }
        let containers = self.table().all();
        let forced = join_all(containers.iter().map(|container| container.terminate(true)));
        if tokio::time::timeout(deadline / 2, forced).await.is_err() {
            tracing::warn!("some containers were ended without an answer");
        }
    }

    fn code(&self) -> MutexGuard<'_, BTreeMap<Kind, Code>> {
        self.code.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
