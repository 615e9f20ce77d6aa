//! A container as the rest of the agent sees it.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use futures::FutureExt;
use hulynet_agent_kinds::{ContainerLimits, Termination};
use hulynet_protocol::{
    Activation, Caller, ConnectionId, ContainerId, ErrorKind, Flow, NetworkError,
};
use tokio::sync::{SetOnce, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Ending, Executor, Linked, admission, here,
    mailbox::{Inbox, Mailbox, Message, Order, Refused},
    reply::{Asker, Gone, Reply},
    runtime,
};
use crate::{
    capabilities::{Connections, Exit, Services, Share, Sink, Usage},
    network::Answer,
};

/// What a container is started with.
pub(crate) struct Start {
    pub(crate) activation: Arc<Activation>,
    pub(crate) extra: Vec<u8>,
    pub(crate) code: Linked,
    pub(crate) services: Arc<Services>,
    pub(crate) executor: Executor,
    pub(crate) share: Share,
}

/// A request on its way to a container.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) operation: String,
    pub(crate) payload: Bytes,
    pub(crate) caller: Caller,
    pub(crate) deadline: Instant,
    pub(crate) idempotency: Option<String>,
    pub(crate) trace: u128,
}

/// Why a container ends whether it agrees or not.
#[derive(Debug)]
pub(crate) enum Killed {
    /// Somebody decided so, for this reason.
    Forced(&'static str),
    /// It did not do what it was to.
    Stuck(String),
}

/// What the task and the handles share.
pub(super) struct Shared {
    pub(super) activation: Arc<Activation>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) connections: Arc<Connections>,
    started: SetOnce<Result<(), NetworkError>>,
    /// Set before the store is dropped, so that streams can tell a complete
    /// answer from one that broke off.
    pub(super) ended: Arc<AtomicBool>,
    cause: OnceLock<String>,
    /// Who still waited for an answer when the store went, until the cause is
    /// known.
    orphans: Mutex<Vec<Box<dyn Asker>>>,
    /// What it has open.
    pub(super) usage: Arc<Usage>,
    /// What it shares with other containers.
    pub(super) share: Share,
    /// It works on a call and hears nothing else until that is done.
    pub(super) deaf: AtomicBool,
    /// Set when it is to end, whether it agrees or not.
    pub(super) killed: SetOnce<Killed>,
    /// Cancelled when the task is over.
    pub(super) gone: CancellationToken,
}

impl Shared {
    /// The container has started, or why it did not. The first news counts.
    pub(super) fn has_started(&self, started: Result<(), NetworkError>) {
        let _known = self.started.set(started);
    }

    /// The container ended for this reason; who waits for it learns that. The
    /// first reason counts.
    pub(super) fn end(&self, cause: String) {
        let orphans = {
            let mut orphans = self.orphans();
            let _known = self.cause.set(cause);
            std::mem::take(&mut *orphans)
        };
        for asker in orphans {
            asker.answer(Err(self.lost()));
        }
    }

    /// Nobody will answer any more.
    pub(super) fn orphan(&self, asker: Box<dyn Asker>) {
        let mut orphans = self.orphans();
        if self.cause.get().is_none() {
            return orphans.push(asker);
        }
        drop(orphans);
        asker.answer(Err(self.lost()));
    }

    fn orphans(&self) -> MutexGuard<'_, Vec<Box<dyn Asker>>> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the container is over, and tells those who have a part of an
    /// answer why there is no more of it.
    pub(super) async fn broke_off(self: Arc<Self>) -> NetworkError {
        self.gone.cancelled().await;
        self.lost()
    }

    /// The answer to a request that the container had.
    fn lost(&self) -> NetworkError {
        NetworkError::maybe_processed(
            ErrorKind::ContainerEnded,
            format!(
                "the container {} ended during the request: {}",
                self.activation.id,
                self.cause()
            ),
        )
    }

    fn cause(&self) -> &str {
        self.cause.get().map_or("it is ending", String::as_str)
    }
}

/// A running container. Cheap to clone; it lives on without its handles.
#[derive(Clone)]
pub(crate) struct Container(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    services: Arc<Services>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.mailbox.abandon();
    }
}

impl Container {
    /// Starts a container in a task of its own, whose events leave through
    /// `exit`; `ended` is called when it is over.
    pub(crate) fn spawn(
        start: Start,
        exit: Exit,
        ended: impl FnOnce(&Ending) + Send + 'static,
    ) -> Self {
        let limits = &start.services.limits;
        let mailbox = Arc::new(Mailbox::new(limits));
        let usage = Arc::new(Usage::new(start.activation.id.clone(), limits));
        let epoch = start.activation.epoch;
        let connections = Connections::new(epoch, limits, usage.clone(), mailbox.clone(), exit);
        let shared = Arc::new(Shared {
            activation: start.activation.clone(),
            mailbox: mailbox.clone(),
            started: SetOnce::new(),
            connections: Arc::new(connections),
            ended: Arc::default(),
            usage,
            share: start.share.clone(),
            cause: OnceLock::new(),
            orphans: Mutex::default(),
            deaf: AtomicBool::new(false),
            killed: SetOnce::new(),
            gone: CancellationToken::new(),
        });
        let (executor, services) = (start.executor.clone(), start.services.clone());
        let handle = Handle { shared: shared.clone(), services };
        let mut inbox = Inbox::new(mailbox, executor.letters().clone());
        // Made here: a runtime that shuts down drops what it never ran.
        let gone = shared.gone.clone().drop_guard();
        executor.spawn(async move {
            let ending = {
                // Pinned here: whatever took it over would make room for it
                // again, in every container.
                let running = pin!(runtime::run(start, &shared, &mut inbox));
                // Everything that it touches is dropped with it or behind a
                // lock that is held for moments.
                match AssertUnwindSafe(running).catch_unwind().await {
                    Ok(ending) => ending,
                    Err(_panic) => lost_by_the_host(),
                }
            };
            runtime::conclude(&ending, &shared, inbox);
            ended(&ending);
            drop(gone);
        });
        Self(Arc::new(handle))
    }

    /// This activation.
    pub(crate) fn activation(&self) -> &Activation {
        &self.0.shared.activation
    }

    /// Ends when it has started.
    ///
    /// # Errors
    /// Why it did not.
    pub(crate) async fn started(&self) -> Result<(), NetworkError> {
        let shared = &self.0.shared;
        tokio::select! {
            biased;
            started = shared.started.wait() => started.clone(),
            // Its task was lost; the runtime is shutting down.
            () = shared.gone.cancelled() => Err(shared.lost()),
        }
    }

    /// Until when it may work on what it is asked now and nobody waits for.
    pub(crate) fn unattended(&self) -> Instant {
        Instant::now() + self.limits().request
    }

    /// Hands over a request whose answer nobody waits for.
    ///
    /// # Errors
    /// Why it is not accepted: those of [`Container::request`].
    pub(crate) fn send(&self, incoming: Incoming) -> Result<(), NetworkError> {
        let (container, deadline) = (self.activation().id.clone(), incoming.deadline);
        self.deliver(incoming, Box::new(Nobody { container, deadline })).map_err(|(error, _)| error)
    }

    /// Hands over a request; `asker` gets the answer, or the reason why there
    /// is none: `Busy` when the mailbox is full, `ContainerEnded`. It ends by
    /// itself only when the container does: whoever asks watches the deadline.
    pub(crate) fn request(&self, incoming: Incoming, asker: Box<dyn Asker>) {
        if let Err((error, asker)) = self.deliver(incoming, asker) {
            asker.answer(Err(error));
        }
    }

    /// The same, waiting for the answer.
    ///
    /// # Errors
    /// Those of [`Container::request`], and what the container answers.
    pub(crate) async fn answer(&self, incoming: Incoming) -> Result<Answer, NetworkError> {
        let (asker, answer) = oneshot::channel();
        self.request(incoming, Box::new(asker));
        // Whoever has the asker answers.
        answer.await.unwrap_or_else(|_dropped| Err(self.0.shared.lost()))
    }

    /// Puts a request in the mailbox; on failure, here is again who asked.
    fn deliver(
        &self,
        incoming: Incoming,
        asker: Box<dyn Asker>,
    ) -> Result<(), (NetworkError, Box<dyn Asker>)> {
        let shared = &self.0.shared;
        let waiting = if asker.waits() { &incoming.caller.path[..] } else { &[] };
        let checked = admission::check(&shared.activation.id, self.limits(), &incoming, waiting);
        if let Err(error) = checked {
            return Err((error, asker));
        }
        let Some(weight) = shared.mailbox.weigh(incoming.payload.len()) else {
            return Err((self.refusal(Refused::Full), asker));
        };
        let reply = Reply::new(asker, shared.clone());
        let message = Box::new(Message::Request { incoming, weight, reply });
        let Err((why, message)) = here(|| shared.mailbox.put(message)) else {
            return Ok(());
        };
        message.asker().map_or(Ok(()), |asker| Err((self.refusal(why), asker)))
    }

    /// Connects a client: its events wait until [`Container::connections`] are
    /// opened for it.
    ///
    /// # Errors
    /// Those of [`Container::request`]; when the container refuses. The caller
    /// has the connection forgotten then, unless it was made again meanwhile.
    pub(crate) async fn connect(
        &self,
        connection: ConnectionId,
        caller: Caller,
        deadline: Instant,
        flow: Flow,
        sink: Arc<dyn Sink>,
    ) -> Result<(), NetworkError> {
        self.connections().add(connection.clone(), flow, sink)?;
        let (reply, answer) = oneshot::channel();
        let message = Box::new(Message::Connect { connection, caller, deadline, reply });
        self.0.shared.mailbox.put(message).map_err(|(why, _message)| self.refusal(why))?;
        match answer.await {
            Ok(connected) => connected,
            Err(_) => {
                // Calls end a moment before it is known why.
                self.0.shared.gone.cancelled().await;
                Err(self.0.shared.lost())
            }
        }
    }

    /// Its connections.
    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.0.shared.connections
    }

    /// Asks it to end, unless its kind is not asked; with `force`, and when it
    /// does not answer in time, it ends in any case. Answers whether it ended:
    /// one that cannot hear the question yet did not.
    pub(crate) async fn terminate(&self, force: bool) -> bool {
        if self.0.services.terms.termination == Termination::AtOnce {
            self.kill(Killed::Forced("it was terminated"));
            self.0.shared.gone.cancelled().await;
            return true;
        }
        let (reply, answer) = oneshot::channel();
        let limit = self.limits().terminate;
        let agreed = match self.0.shared.mailbox.order(Order { force, reply }) {
            Ok(()) => match tokio::time::timeout(limit, answer).await {
                // The answer is dropped when the container ends before it.
                Ok(answer) => answer.unwrap_or(true),
                Err(_) if !force && self.0.shared.deaf.load(Ordering::Relaxed) => false,
                Err(_) => {
                    self.kill(Killed::Stuck(format!(
                        "it was asked to terminate and did not answer within {limit:?}"
                    )));
                    true
                }
            },
            Err(Refused::Closed) => true,
            Err(Refused::Full) => false,
        };
        if !agreed && force {
            self.kill(Killed::Forced("it was terminated with force"));
        }
        if agreed || force {
            self.0.shared.gone.cancelled().await;
        }
        agreed || force
    }

    /// Ends it at once, without asking. The first reason counts.
    pub(crate) fn kill(&self, why: Killed) {
        let _known = self.0.shared.killed.set(why);
    }

    /// What it has open.
    pub(super) fn usage(&self) -> &Usage {
        &self.0.shared.usage
    }

    /// What it shares with other containers.
    pub(super) fn share(&self) -> &Share {
        &self.0.shared.share
    }

    /// Requests that wait, and their bytes with those that are worked on.
    pub(super) fn mailbox(&self) -> (usize, usize) {
        self.0.shared.mailbox.used()
    }

    pub(super) fn limits(&self) -> &ContainerLimits {
        &self.0.services.limits
    }

    /// Why a message is not taken.
    fn refusal(&self, why: Refused) -> NetworkError {
        let id = &self.activation().id;
        let (kind, text) = match why {
            Refused::Full => (
                ErrorKind::Busy,
                format!("the mailbox of the container {id} is full; try again later"),
            ),
            Refused::Closed => (
                ErrorKind::ContainerEnded,
                format!("the container {id} ended: {}", self.0.shared.cause()),
            ),
        };
        NetworkError::not_processed(kind, text)
    }
}

impl Asker for oneshot::Sender<Result<Answer, NetworkError>> {
    fn is_gone(&self) -> bool {
        self.is_closed()
    }

    fn gone(&mut self) -> Gone<'_> {
        Box::pin(self.closed())
    }

    fn answer(self: Box<Self>, answer: Result<Answer, NetworkError>) {
        // Who gave up needs no answer.
        drop(self.send(answer));
    }
}

/// Asked, and does not wait; the request is to be carried out all the same,
/// until its deadline.
struct Nobody {
    container: ContainerId,
    deadline: Instant,
}

impl Asker for Nobody {
    fn waits(&self) -> bool {
        false
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn gone(&mut self) -> Gone<'_> {
        Box::pin(tokio::time::sleep_until(self.deadline.into()))
    }

    fn answer(self: Box<Self>, answer: Result<Answer, NetworkError>) {
        if let Err(error) = answer {
            tracing::debug!(container = %self.container, "a request without an answer failed: {error}");
        }
    }
}

/// A defect of the host ended the container: it must end like any other, so
/// that its callers, its clients and the coordinator are told. The panic itself
/// is on stderr.
fn lost_by_the_host() -> Ending {
    Ending::Unhealthy("a defect of the host ended it; the host's log has the details".to_owned())
}
