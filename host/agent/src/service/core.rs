//! What all tasks of an agent share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;
use hulynet_agent_kinds::{
    Terms,
    catalog::{End, Member, Number},
};
use hulynet_agent_table::{Decision, Table};
use hulynet_bus::{OriginalRequest, Request, Server};
use hulynet_protocol::{
    Activation, Call, ClientId, ContainerId, Endpoint, Epoch, ErrorKind, Kind, KindReport, Load,
    NetworkError, StartContainer, Target, tenant_of,
};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::{
    Ended, answer,
    listening::{Broadcasts, Listeners},
    original,
    sink::Route,
};
use crate::{
    AgentConfig,
    capabilities::{Connections, Exit, Services, Whose},
    container::{Container, Ending, Executor, Killed, Start},
    plugins::{Code, Kinds},
};

/// What other tasks learn of containers.
pub(super) struct News {
    /// Which ended.
    pub(super) ended: mpsc::UnboundedSender<Ended>,
    /// Which have events to send.
    pub(super) flushes: mpsc::UnboundedSender<Arc<Connections>>,
}

/// The shared state. Locks are held for moments and never across an await.
pub(super) struct Core {
    endpoint: Endpoint,
    services: Arc<Services>,
    server: Server,
    table: Arc<Mutex<Table<Container>>>,
    kinds: Arc<Kinds>,
    disconnect_timeout: Duration,
    ended: mpsc::UnboundedSender<Ended>,
    requests: TaskTracker,
    listeners: Mutex<Listeners>,
    broadcasts: Arc<Broadcasts>,
    flushes: mpsc::UnboundedSender<Arc<Connections>>,
    /// Where containers compute.
    runtime: Handle,
}

impl Core {
    /// Without containers, which compute on the runtime that calls this.
    pub(super) fn new(
        config: &AgentConfig,
        endpoint: Endpoint,
        services: Services,
        kinds: Arc<Kinds>,
        capacity: usize,
        server: Server,
        news: News,
    ) -> Self {
        let News { ended, flushes } = news;
        Self {
            endpoint,
            services: Arc::new(services),
            server,
            table: Arc::new(Mutex::new(Table::new(capacity))),
            kinds,
            disconnect_timeout: config.disconnect_timeout,
            ended,
            requests: TaskTracker::new(),
            listeners: Mutex::default(),
            broadcasts: Arc::default(),
            flushes,
            runtime: Handle::current(),
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

    /// Who listens to which container in the language of the original.
    pub(super) fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What containers broadcast in the language of the original.
    pub(super) fn broadcasts(&self) -> &Arc<Broadcasts> {
        &self.broadcasts
    }

    /// The table, for what containers hold.
    pub(super) fn weak_table(&self) -> Weak<Mutex<Table<Container>>> {
        Arc::downgrade(&self.table)
    }

    /// How long a client may take to learn that its connection ended.
    pub(super) fn disconnect_timeout(&self) -> Duration {
        self.disconnect_timeout
    }

    /// The kinds that are served, sorted.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        self.kinds.served()
    }

    /// How many kinds were compiled.
    pub(super) fn compiled(&self) -> u64 {
        self.kinds.compiled.load(Ordering::Relaxed)
    }

    /// Everything about the kinds.
    pub(super) fn kind_reports(&self) -> Vec<KindReport> {
        self.kinds.reports()
    }

    /// Answers a request, on the thread of the bus: hands it to its container,
    /// or does it in a task of its own there. Such tasks hardly compute.
    pub(super) fn answer(
        self: &Arc<Self>,
        route: impl FnOnce(&ClientId) -> Route,
        request: Request,
    ) {
        match request.call {
            Call::Container(call) => {
                answer::forward(self, call, request.payload, request.responder);
            }
            _ => {
                let route = route(&request.peer);
                self.requests.spawn(answer::answer(self.clone(), route, request));
            }
        }
    }

    /// Something that the end of the agent waits for, until it is dropped.
    pub(super) fn count(&self) -> TaskTrackerToken {
        self.requests.token()
    }

    /// Runs a task that the end of the agent waits for where containers
    /// compute.
    pub(super) fn track(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.requests.spawn_on(task, &self.runtime);
    }

    /// The same in the language of the original.
    pub(super) fn answer_original(self: &Arc<Self>, request: OriginalRequest) {
        self.track(original::answer(self.clone(), request));
    }

    /// Starts a container, or finds the one that an earlier order started.
    ///
    /// # Errors
    /// `UnknownKind`, `StartFailed`, `PermissionDenied` for what its tenant may
    /// not have, and those of [`Table::decide`].
    pub(super) async fn start(self: &Arc<Self>, order: StartContainer) -> Result<(), NetworkError> {
        let StartContainer { id, epoch, labels, extra } = order;
        let activation = Activation { id, epoch, labels };
        let mut begun = None;
        loop {
            let decision = {
                let mut table = self.table();
                let decision = table.decide(Instant::now(), &activation.id, epoch)?;
                if let Decision::Start = decision {
                    let (container, number) = self.spawn(activation.clone(), extra.clone())?;
                    begun = Some(number);
                    table.insert(activation.clone(), container.clone());
                    Decision::Running(container)
                } else {
                    decision
                }
            };
            match decision {
                Decision::Running(container) => {
                    container.started().await?;
                    if let Some(number) = begun {
                        self.kinds.started(&activation.id.kind, number);
                    }
                    let listeners = self.listeners().of(&activation.id.uuid);
                    if !listeners.is_empty() {
                        self.track(original::listen_again(self.clone(), activation.id, listeners));
                    }
                    return Ok(());
                }
                Decision::Replace(older) => older.terminate(true).await,
                Decision::Start => continue,
            };
        }
    }

    fn spawn(
        &self,
        activation: Activation,
        extra: Vec<u8>,
    ) -> Result<(Container, Number), NetworkError> {
        let activation = Arc::new(activation);
        let tenant = tenant_of(&activation.labels);
        self.kinds.begin(&activation.id.kind, tenant, |version| {
            let (code, number) = (version.code, version.number);
            let services = self.services(&code, &activation)?;
            let linked = code.linked.clone();
            let executor =
                Executor::new(self.runtime.clone(), services.clock.clone(), code.pace.clone());
            let total =
                tenant.and_then(|name| Some((name, self.services.grants.tenant(name)?.total)));
            let share = services.memory.share(total)?;
            let activated = activation.clone();
            let terms = services.clone();
            let start =
                Start { activation: activated, extra, code: linked, services, executor, share };
            let exit = self.exit(activation.clone());
            // The table holds the container, so the container must not hold it.
            let (table, ended) = (self.weak_table(), self.ended.clone());
            let (kinds, activation) = (self.kinds.clone(), activation.clone());
            let container = Container::spawn(start, exit, move |ending| {
                let Activation { id, epoch, labels } = &*activation;
                if let Some(table) = table.upgrade() {
                    table.lock().unwrap_or_else(PoisonError::into_inner).remove(id, *epoch);
                }
                let member = Member { number, tenant: tenant_of(labels), limits: &terms.limits };
                kinds.ended(&id.kind, member, end(ending, terms.terms.lowered));
                // A start that failed is told too: a registration may have
                // brought it meanwhile, and its answer may be lost with a
                // connection. Without a receiver the agent is gone, and
                // everybody knows.
                let _ = ended.send((id.clone(), *epoch));
            });
            Ok((container, number))
        })
    }

    /// How the events of an activation leave: only while it is certain that it
    /// is the live one.
    fn exit(&self, activation: Arc<Activation>) -> Exit {
        let table = self.weak_table();
        let is_open = Box::new(move || {
            // Without a table the agent is gone, and nobody sends.
            let Some(table) = table.upgrade() else { return false };
            let table = table.lock().unwrap_or_else(PoisonError::into_inner);
            table.release(Instant::now(), &activation.id, activation.epoch).is_ok()
        });
        Exit { is_open, flushes: self.flushes.clone() }
    }

    /// What a container gets, on the terms of its kind and its tenant.
    fn services(
        &self,
        code: &Code,
        activation: &Activation,
    ) -> Result<Arc<Services>, NetworkError> {
        let with = |terms: Terms| {
            let limits = terms.limits.clone();
            Arc::new(Services { limits, terms, ..(*self.services).clone() })
        };
        let tenant = tenant_of(&activation.labels);
        if tenant.and_then(|tenant| self.services.grants.tenant(tenant)).is_none() {
            return Ok(code.services.get_or_init(|| with(code.terms.clone())).clone());
        }
        code.terms.for_tenant(&activation.id.kind, tenant, &self.services.grants).map(with).map_err(
            |disagreement| {
                NetworkError::refused(ErrorKind::PermissionDenied, disagreement.to_string())
            },
        )
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
        for container in retired {
            container.kill(Killed::Forced("it lives on another agent"));
        }
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
}

/// What an ending says about the code of the container. One that has less than
/// its kind may have says nothing when it does not start.
fn end(ending: &Ending, lowered: bool) -> End {
    match ending {
        Ending::Terminated | Ending::Forced(_) | Ending::NoRoom(_) => End::Orderly,
        // It usually fails for want of what the agent has not, which is no fault of
        // its kind. What its tenant has not, nobody but the tenant took.
        Ending::Trapped { refused: Some(Whose::Agent), .. } => End::Orderly,
        Ending::StartFailed(_) if lowered => End::Orderly,
        Ending::StartFailed(error) => match error.kind {
            // The container refused what it was asked for, or the agent had no
            // room: another one may start.
            ErrorKind::Busy
            | ErrorKind::InvalidArguments
            | ErrorKind::PermissionDenied
            | ErrorKind::Unavailable => End::Orderly,
            _ => End::StartFailed(error.message.clone()),
        },
        Ending::Trapped { .. } | Ending::Unhealthy(_) => End::Crashed(ending.cause()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trapped(refused: Option<Whose>) -> Ending {
        Ending::Trapped { cause: "a trap".to_owned(), details: String::new(), refused }
    }

    #[test]
    fn what_fails_for_want_of_the_agents_memory_is_no_crash_of_its_kind() {
        for (refused, is_crash) in [
            (None, true),
            (Some(Whose::Container), true),
            (Some(Whose::Tenant), true),
            (Some(Whose::Agent), false),
        ] {
            let counts = matches!(end(&trapped(refused), false), End::Crashed(_));
            assert_eq!(counts, is_crash, "{refused:?}");
        }
    }

    #[test]
    fn who_is_ended_says_nothing_about_its_kind() {
        for ending in [Ending::Terminated, Ending::Forced("it lives on another agent")] {
            assert_eq!(end(&ending, false), End::Orderly);
        }
    }
}
