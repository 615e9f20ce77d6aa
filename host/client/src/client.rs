//! The handle of a client.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hulynet_protocol::{
    AgentId, AgentRecord, Call, ClientId, ContainerId, ContainerRecord, Endpoint, ErrorKind,
    Explanation, GetOptions, Kind, KindReport, Labels, LimitRecord, NetworkError, Reply, Selector,
    Target, Uuid, limits,
};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    builder::Builder,
    reference::Reference,
    request::too_large,
    shared::{Shared, closed, unexpected},
    watch::{self, Watch},
};

/// A member of a network that uses containers. Cheap to clone.
///
/// It stays connected while a clone, a [`Reference`], a
/// [`Connection`](crate::Connection) or a [`Watch`] of it lives; then it leaves
/// and gives up what it held.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

/// The end of the last handle closes the client.
#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { inner: Arc::new(Inner { shared }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Connects with the defaults; see [`Builder::connect`].
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn connect(
        addresses: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, NetworkError> {
        Self::builder().connect(addresses).await
    }

    /// Sets a client up.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The client's name in the network.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.shared().settings.id
    }

    /// Finds or starts a container and holds it: by uuid, by labels, or any of
    /// the kind. `kind` is a [`Kind`] or its text.
    ///
    /// # Errors
    /// `UnknownKind` at once when no agent serves the kind, `StartFailed` when
    /// the container could not be started, `InvalidArguments` or `TooLarge`
    /// when the kind or the options are not well-formed, `Unavailable` when no
    /// coordinator answers within the request timeout.
    pub async fn get(
        &self,
        kind: impl AsRef<str>,
        options: GetOptions,
    ) -> Result<Reference, NetworkError> {
        let kind = Kind::new(kind).map_err(|error| {
            NetworkError::refused(ErrorKind::InvalidArguments, error.to_string())
        })?;
        check(&options)?;
        // A task of its own: an asker that goes away leaves a reference that
        // is released, not a hold that nobody knows of.
        let (answer, answered) = oneshot::channel();
        let client = self.clone();
        self.shared().tasks.spawn(async move {
            drop(answer.send(client.hold(kind, options).await));
        });
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn hold(self, kind: Kind, options: GetOptions) -> Result<Reference, NetworkError> {
        let shared = self.shared();
        let ticket = shared.held.update(|table| table.begin_get());
        let call = Call::Get { kind, options: options.clone() };
        let record = match self.ask(call).await {
            Ok(Reply::Container(record)) => Ok(record),
            Ok(other) => Err(unexpected("a get", &other)),
            Err(error) => Err(error),
        };
        match record {
            Ok(record) => {
                let id = record.id.clone();
                shared.held.update(|table| table.got(ticket, record, &options));
                Ok(Reference::new(self, id))
            }
            Err(error) => {
                shared.held.update(|table| table.get_failed(ticket));
                Err(error)
            }
        }
    }

    /// The containers of one kind, or all.
    ///
    /// # Errors
    /// `Unavailable` when no coordinator answers within the request timeout.
    pub async fn list(&self, kind: Option<Kind>) -> Result<Vec<ContainerRecord>, NetworkError> {
        self.select(kind, Selector::default()).await
    }

    /// The containers, of one kind or of all, whose labels meet the conditions.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn select(
        &self,
        kind: Option<Kind>,
        select: Selector,
    ) -> Result<Vec<ContainerRecord>, NetworkError> {
        match self.ask(Call::List { kind, select }).await? {
            Reply::Containers(containers) => Ok(containers),
            other => Err(unexpected("a list", &other)),
        }
    }

    /// Everything that the coordinator knows about one container: where it
    /// runs and why there, who holds it, what it waits for, what failed last.
    ///
    /// # Errors
    /// `UnknownContainer`, with the last failed start if there was one, when
    /// it is neither live nor wanted; else as [`Self::list`].
    pub async fn explain(&self, uuid: Uuid) -> Result<Explanation, NetworkError> {
        match self.ask(Call::Explain(uuid)).await? {
            Reply::Explanation(explanation) => Ok(*explanation),
            other => Err(unexpected("a question about a container", &other)),
        }
    }

    /// How much a container may use, and uses, as its agent tells.
    ///
    /// # Errors
    /// `UnknownContainer` when it is not live; else as [`Self::list`].
    pub async fn limits(&self, id: ContainerId) -> Result<Vec<LimitRecord>, NetworkError> {
        match self.ask(Call::Limits(Target { id, epoch: None })).await? {
            Reply::Limits(limits) => Ok(limits),
            other => Err(unexpected("a question about limits", &other)),
        }
    }

    /// The live agents.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn agents(&self) -> Result<Vec<AgentRecord>, NetworkError> {
        match self.ask(Call::Agents).await? {
            Reply::Agents(agents) => Ok(agents),
            other => Err(unexpected("a question for agents", &other)),
        }
    }

    /// Lets an agent take no new containers, or take them again. What it runs
    /// goes on: it ends when nobody holds it, and stays as long as somebody
    /// does. Answers the agent as it is then. Lasts as long as the agent's
    /// process, also over a restart of the coordinator.
    ///
    /// # Errors
    /// `InvalidArguments` when there is no such agent, `Unavailable` when it
    /// does not answer; else as [`Self::list`].
    pub async fn drain(&self, agent: AgentId, drain: bool) -> Result<AgentRecord, NetworkError> {
        match self.ask(Call::Drain { agent, drain }).await? {
            Reply::Agent(agent) => Ok(agent),
            other => Err(unexpected("a wish to drain", &other)),
        }
    }

    /// Everything about the kinds of one agent, asked of the agent itself.
    ///
    /// # Errors
    /// `Unavailable` when the agent cannot be reached directly, and those of
    /// [`Self::list`].
    pub async fn kind_reports(&self, agent: &Endpoint) -> Result<Vec<KindReport>, NetworkError> {
        let shared = self.shared();
        let timeout = shared.settings.request_timeout;
        let route = shared.agents.route(shared, agent, shared.deadline()).await?;
        let direct = route.agent.ok_or_else(|| {
            NetworkError::not_processed(
                ErrorKind::Unavailable,
                format!(
                    "the agent {} cannot be reached directly, so it cannot be asked",
                    agent.agent
                ),
            )
        })?;
        match direct.call(Call::ReportKinds, Bytes::new(), timeout).await?.reply {
            Reply::KindReports(reports) => Ok(reports),
            other => Err(unexpected("a question for an agent's kinds", &other)),
        }
    }

    /// The kinds that agents serve now, sorted.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn kinds(&self) -> Result<Vec<Kind>, NetworkError> {
        match self.ask(Call::Kinds).await? {
            Reply::Kinds(kinds) => Ok(kinds),
            other => Err(unexpected("a question for kinds", &other)),
        }
    }

    /// Ends a container, whoever holds it. With `force` false the container
    /// may answer *not yet*; the result tells whether it ended. A container
    /// that is still referenced starts again when it is next used.
    ///
    /// # Errors
    /// `UnknownContainer` when it is not live; not repeated after a lost
    /// connection, since it may have ended the container then.
    pub async fn terminate(&self, id: ContainerId, force: bool) -> Result<bool, NetworkError> {
        let shared = self.shared();
        let call = Call::Terminate { target: Target { id, epoch: None }, force };
        let terminate = shared.coordinator.call(call, Bytes::new(), shared.deadline());
        match shared.unless_closed(terminate).await?.reply {
            Reply::Terminated(ended) => Ok(ended),
            other => Err(unexpected("a terminate", &other)),
        }
    }

    /// Watches the network: a snapshot, then every change after it.
    ///
    /// # Errors
    /// `Unavailable` when no coordinator answers within the request timeout.
    pub async fn watch(&self) -> Result<Watch, NetworkError> {
        watch::begin(self).await
    }

    /// Leaves the network and gives up everything that is held, for all clones.
    /// Ends when peers confirmed, after the deadline at the latest. Calls under
    /// way and later ones fail with `Cancelled`.
    pub async fn close(&self, deadline: Duration) {
        let shared = self.shared();
        shared.closed.cancel();
        shared.tasks.close();
        if timeout(deadline, shared.tasks.wait()).await.is_err() {
            tracing::debug!("peers did not confirm the client's goodbye in time");
        }
    }

    /// Asks the coordinator something that has the same effect twice.
    async fn ask(&self, call: Call) -> Result<Reply, NetworkError> {
        let shared = self.shared();
        let ask = shared.coordinator.ask(call, shared.deadline());
        Ok(shared.unless_closed(ask).await?.reply)
    }
}

fn check(options: &GetOptions) -> Result<(), NetworkError> {
    for labels in [&options.labels, &options.near, &options.avoid] {
        check_labels(labels)?;
    }
    if options.extra.len() > limits::EXTRA_BYTES {
        return Err(too_large("the extra argument", options.extra.len(), limits::EXTRA_BYTES));
    }
    Ok(())
}

fn check_labels(labels: &Labels) -> Result<(), NetworkError> {
    if labels.len() > limits::LABELS {
        return Err(NetworkError::refused(
            ErrorKind::TooLarge,
            format!("{} labels are given; at most {} are allowed", labels.len(), limits::LABELS),
        ));
    }
    match labels
        .iter()
        .flat_map(|(key, value)| [key, value])
        .find(|s| s.len() > limits::LABEL_BYTES)
    {
        Some(text) => Err(too_large("a label's key or value", text.len(), limits::LABEL_BYTES)),
        None => Ok(()),
    }
}
