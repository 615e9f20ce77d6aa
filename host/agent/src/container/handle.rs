//! A container as the rest of the agent sees it.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use futures::FutureExt;
use hulynet_agent_kinds::{ContainerLimits, Termination};
use hulynet_protocol::{
    Activation, Caller, ConnectionId, ContainerId, ErrorKind, Flow, NetworkError,
};
use tokio::sync::{
    Notify,
    mpsc::{self, Permit},
    oneshot, watch,
};
use tokio_util::sync::CancellationToken;

use super::{
    Ending, Executor, Linked, admission,
    reply::{Asker, Gone, Reply},
    runtime,
};
use crate::{
    capabilities::{Connections, Exit, Services, Share, Sink, Usage},
    network::Answer,
};

/// Orders to terminate that wait: there is hardly ever more than one.
const ORDERS: usize = 16;

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

/// What waits in the mailbox.
pub(super) enum Message {
    Request {
        incoming: Incoming,
        weight: Weight,
        reply: Reply,
    },
    Connect {
        connection: ConnectionId,
        caller: Caller,
        deadline: Instant,
        reply: oneshot::Sender<Result<(), NetworkError>>,
    },
}

/// Bytes of a request that waits or is worked on, until this is dropped.
#[derive(Debug)]
pub(super) struct Weight {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Weight {
    fn put(all: &Arc<AtomicUsize>, bytes: usize) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        Self { all: all.clone(), bytes }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An order to terminate; the answer is whether it ended.
pub(super) struct Order {
    pub(super) force: bool,
    pub(super) reply: oneshot::Sender<bool>,
}

/// The container's ends of everything that its task uses.
pub(super) struct Inbox {
    /// Boxed: the channel has places for many, also of an idle container.
    pub(super) messages: mpsc::Receiver<Box<Message>>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) farewells: mpsc::Receiver<ConnectionId>,
}

/// What the task and the handles share.
pub(super) struct Shared {
    pub(super) activation: Arc<Activation>,
    pub(super) connections: Arc<Connections>,
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
    /// Bytes of the requests that wait or are worked on.
    pub(super) weight: Arc<AtomicUsize>,
    /// It works on a call and hears nothing else until that is done.
    pub(super) deaf: AtomicBool,
    pub(super) kill: Notify,
    /// Why it is killed, when it did not do what it was to.
    pub(super) stuck: OnceLock<String>,
    /// Cancelled when the task is over.
    pub(super) gone: CancellationToken,
}

impl Shared {
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

/// Whether a container has started; `None` while it does.
pub(super) type Started = Option<Result<(), NetworkError>>;

/// A running container. Cheap to clone; it lives on without its handles.
#[derive(Clone)]
pub(crate) struct Container(Arc<Handle>);

struct Handle {
    messages: mpsc::Sender<Box<Message>>,
    orders: mpsc::Sender<Order>,
    started: watch::Receiver<Started>,
    shared: Arc<Shared>,
    executor: Executor,
    services: Arc<Services>,
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
        let (messages, inbox_messages) = mpsc::channel(limits.mailbox);
        let (orders, inbox_orders) = mpsc::channel(ORDERS);
        let (farewells, inbox_farewells) = mpsc::channel(limits.connections);
        let usage = Arc::new(Usage::new(start.activation.id.clone(), limits));
        let epoch = start.activation.epoch;
        let connections = Connections::new(epoch, limits, usage.clone(), farewells, exit);
        let shared = Arc::new(Shared {
            activation: start.activation.clone(),
            connections: Arc::new(connections),
            ended: Arc::default(),
            usage,
            share: start.share.clone(),
            weight: Arc::default(),
            cause: OnceLock::new(),
            orphans: Mutex::default(),
            deaf: AtomicBool::new(false),
            kill: Notify::new(),
            stuck: OnceLock::new(),
            gone: CancellationToken::new(),
        });
        let (start_told, started) = watch::channel(None);
        let (executor, services) = (start.executor.clone(), start.services.clone());
        let handle =
            Handle { messages, orders, started, shared: shared.clone(), executor, services };
        let mut inbox =
            Inbox { messages: inbox_messages, orders: inbox_orders, farewells: inbox_farewells };
        handle.executor.spawn(async move {
            let gone = shared.gone.clone().drop_guard();
            let ending = {
                // Pinned here: whatever took it over would make room for it
                // again, in every container.
                let running = pin!(runtime::run(start, &shared, &mut inbox, &start_told));
                // Everything that it touches is dropped with it or behind a
                // lock that is held for moments.
                match AssertUnwindSafe(running).catch_unwind().await {
                    Ok(ending) => ending,
                    Err(_panic) => lost_by_the_host(),
                }
            };
            runtime::conclude(&ending, &shared, inbox, &start_told).await;
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
        match self.0.started.clone().wait_for(Option::is_some).await.map(|told| told.clone()) {
            Ok(Some(started)) => started,
            // Its task was lost; the runtime is shutting down.
            Ok(None) | Err(_) => Err(self.0.shared.lost()),
        }
    }

    /// Hands over a request whose answer nobody waits for.
    ///
    /// # Errors
    /// Why it is not accepted: those of [`Container::request`].
    pub(crate) fn send(&self, incoming: Incoming) -> Result<(), NetworkError> {
        let place = self.place(&incoming)?;
        let (container, deadline) = (self.activation().id.clone(), incoming.deadline);
        self.deliver(place, incoming, Box::new(Nobody { container, deadline }));
        Ok(())
    }

    /// Hands over a request; `asker` gets the answer, or the reason why there
    /// is none: `Busy` when the mailbox is full, `ContainerEnded`. It ends by
    /// itself only when the container does: whoever asks watches the deadline.
    pub(crate) fn request(&self, incoming: Incoming, asker: Box<dyn Asker>) {
        match self.place(&incoming) {
            Ok(place) => self.deliver(place, incoming, asker),
            Err(error) => asker.answer(Err(error)),
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

    fn place(&self, incoming: &Incoming) -> Result<Permit<'_, Box<Message>>, NetworkError> {
        admission::check(&self.activation().id, self.limits(), incoming)?;
        let weight = self.0.shared.weight.load(Ordering::Relaxed);
        if weight.saturating_add(incoming.payload.len()) > self.limits().mailbox_bytes {
            return Err(self.full());
        }
        self.room()
    }

    fn deliver(&self, place: Permit<'_, Box<Message>>, incoming: Incoming, asker: Box<dyn Asker>) {
        let reply = Reply::new(asker, self.0.shared.clone());
        let weight = Weight::put(&self.0.shared.weight, incoming.payload.len());
        self.0.executor.wake(|| place.send(Box::new(Message::Request { incoming, weight, reply })));
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
        let message = Message::Connect { connection, caller, deadline, reply };
        self.room()?.send(Box::new(message));
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
            self.kill();
            self.0.shared.gone.cancelled().await;
            return true;
        }
        let (reply, answer) = oneshot::channel();
        let limit = self.limits().terminate;
        let agreed = match self.0.orders.try_send(Order { force, reply }) {
            Ok(()) => match tokio::time::timeout(limit, answer).await {
                // The answer is dropped when the container ends before it.
                Ok(answer) => answer.unwrap_or(true),
                Err(_) if !force && self.0.shared.deaf.load(Ordering::Relaxed) => false,
                Err(_) => {
                    let cause =
                        || format!("it was asked to terminate and did not answer within {limit:?}");
                    self.0.shared.stuck.get_or_init(cause);
                    self.kill();
                    true
                }
            },
            Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => false,
        };
        if !agreed && force {
            self.kill();
        }
        if agreed || force {
            self.0.shared.gone.cancelled().await;
        }
        agreed || force
    }

    /// Ends it at once, without asking.
    pub(crate) fn kill(&self) {
        self.0.shared.kill.notify_one();
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
        let waiting = self.0.messages.max_capacity() - self.0.messages.capacity();
        (waiting, self.0.shared.weight.load(Ordering::Relaxed))
    }

    pub(super) fn limits(&self) -> &ContainerLimits {
        &self.0.services.limits
    }

    fn full(&self) -> NetworkError {
        NetworkError::not_processed(
            ErrorKind::Busy,
            format!(
                "the mailbox of the container {} is full; try again later",
                self.activation().id
            ),
        )
    }

    /// A place in the mailbox.
    fn room(&self) -> Result<Permit<'_, Box<Message>>, NetworkError> {
        self.0.messages.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => self.full(),
            mpsc::error::TrySendError::Closed(()) => NetworkError::not_processed(
                ErrorKind::ContainerEnded,
                format!("the container {} ended: {}", self.activation().id, self.0.shared.cause()),
            ),
        })
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
