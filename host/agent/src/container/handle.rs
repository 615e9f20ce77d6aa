//! A container as the rest of the agent sees it.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::FutureExt;
use hulynet_agent_kinds::Termination;
use hulynet_protocol::{Activation, Caller, ConnectionId, ErrorKind, NetworkError, limits};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Ending, runtime};
use crate::{
    bindings::ContainerPre,
    capabilities::{Connections, Context, Services, Sink},
    network::Answer,
};

/// Orders to terminate that wait: there is hardly ever more than one.
const ORDERS: usize = 16;

/// What a container is started with.
pub(crate) struct Start {
    pub(crate) activation: Arc<Activation>,
    pub(crate) extra: Vec<u8>,
    pub(crate) code: ContainerPre<Context>,
    pub(crate) services: Arc<Services>,
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
        reply: oneshot::Sender<Result<Answer, NetworkError>>,
    },
    Connect {
        connection: ConnectionId,
        caller: Caller,
        deadline: Instant,
        reply: oneshot::Sender<Result<(), NetworkError>>,
    },
}

/// An order to terminate; the answer is whether it ended.
pub(super) struct Order {
    pub(super) force: bool,
    pub(super) reply: oneshot::Sender<bool>,
}

/// The container's ends of everything that its task uses.
pub(super) struct Inbox {
    pub(super) messages: mpsc::Receiver<Message>,
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
    pub(super) cause: OnceLock<String>,
    pub(super) kill: Notify,
    /// Cancelled when the task is over.
    pub(super) gone: CancellationToken,
}

/// Whether a container has started; `None` while it does.
pub(super) type Started = Option<Result<(), NetworkError>>;

/// A running container. Cheap to clone; it lives on without its handles.
#[derive(Clone)]
pub(crate) struct Container {
    messages: mpsc::Sender<Message>,
    orders: mpsc::Sender<Order>,
    started: watch::Receiver<Started>,
    shared: Arc<Shared>,
    terminate: Duration,
    termination: Termination,
}

impl Container {
    /// Starts a container in a task of its own; `ended` is called when it is
    /// over.
    pub(crate) fn spawn(start: Start, ended: impl FnOnce(&Ending) + Send + 'static) -> Self {
        let limits = &start.services.limits;
        let (messages, inbox_messages) = mpsc::channel(limits.mailbox);
        let (orders, inbox_orders) = mpsc::channel(ORDERS);
        let (farewells, inbox_farewells) = mpsc::channel(limits.connections);
        let shared = Arc::new(Shared {
            activation: start.activation.clone(),
            connections: Arc::new(Connections::new(start.activation.epoch, farewells)),
            ended: Arc::default(),
            cause: OnceLock::new(),
            kill: Notify::new(),
            gone: CancellationToken::new(),
        });
        let (start_told, started) = watch::channel(None);
        let terminate = limits.terminate;
        let termination = start.services.terms.termination;
        let container =
            Self { messages, orders, started, shared: shared.clone(), terminate, termination };
        let inbox =
            Inbox { messages: inbox_messages, orders: inbox_orders, farewells: inbox_farewells };
        tokio::spawn(async move {
            let gone = shared.gone.clone().drop_guard();
            let running = runtime::run(start, shared.clone(), inbox, &start_told);
            // Everything that it touches is dropped with it or behind a lock
            // that is held for moments.
            let ending = match AssertUnwindSafe(running).catch_unwind().await {
                Ok(ending) => ending,
                Err(_panic) => lost_by_the_host(&shared),
            };
            ended(&ending);
            drop(gone);
        });
        container
    }

    /// This activation.
    pub(crate) fn activation(&self) -> &Activation {
        &self.shared.activation
    }

    /// Ends when it has started.
    ///
    /// # Errors
    /// Why it did not.
    pub(crate) async fn started(&self) -> Result<(), NetworkError> {
        match self.started.clone().wait_for(Option::is_some).await.map(|told| told.clone()) {
            Ok(Some(started)) => started,
            // Its task was lost; the runtime is shutting down.
            Ok(None) | Err(_) => Err(self.lost()),
        }
    }

    /// Sends a request whose answer nobody waits for.
    ///
    /// # Errors
    /// Those of [`Container::request`], when it is not accepted.
    pub(crate) fn send(&self, incoming: Incoming) -> Result<(), NetworkError> {
        check_operation(&incoming.operation)?;
        let (reply, answer) = oneshot::channel();
        self.post(Message::Request { incoming, reply })?;
        let id = self.activation().id.clone();
        tokio::spawn(async move {
            if let Ok(Err(error)) = answer.await {
                tracing::debug!(container = %id, "a request without an answer failed: {error}");
            }
        });
        Ok(())
    }

    /// Sends a request and waits for the answer. It ends by itself only when
    /// the container does: the caller watches the deadline.
    ///
    /// # Errors
    /// `Busy` when the mailbox is full, `ContainerEnded`, and what the
    /// container answers.
    pub(crate) async fn request(&self, incoming: Incoming) -> Result<Answer, NetworkError> {
        check_operation(&incoming.operation)?;
        let (reply, answer) = oneshot::channel();
        self.post(Message::Request { incoming, reply })?;
        answer.await.unwrap_or_else(|_| Err(self.lost()))
    }

    /// Connects a client: its events wait until [`Container::connections`] are
    /// opened for it.
    ///
    /// # Errors
    /// Those of [`Container::request`]; when the container refuses.
    pub(crate) async fn connect(
        &self,
        connection: ConnectionId,
        caller: Caller,
        deadline: Instant,
        sink: Arc<dyn Sink>,
    ) -> Result<(), NetworkError> {
        self.connections().add(connection.clone(), sink)?;
        let (reply, answer) = oneshot::channel();
        let message = Message::Connect { connection: connection.clone(), caller, deadline, reply };
        let posted = self.post(message);
        let connected = match posted {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.lost())),
            Err(error) => Err(error),
        };
        if connected.is_err() {
            self.connections().forget(&connection);
        }
        connected
    }

    /// Its connections.
    pub(crate) fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    /// Asks it to end, unless its kind is not asked; with `force` it ends in any
    /// case. Answers whether it ended.
    pub(crate) async fn terminate(&self, force: bool) -> bool {
        if self.termination == Termination::AtOnce {
            self.kill();
            self.shared.gone.cancelled().await;
            return true;
        }
        let (reply, answer) = oneshot::channel();
        let agreed = match self.orders.try_send(Order { force, reply }) {
            // The answer is dropped when the container ends before it.
            Ok(()) => {
                tokio::time::timeout(self.terminate, answer).await.is_ok_and(|a| a.unwrap_or(true))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => false,
        };
        if !agreed && force {
            self.kill();
        }
        if agreed || force {
            self.shared.gone.cancelled().await;
        }
        agreed || force
    }

    /// Ends it at once, without asking.
    pub(crate) fn kill(&self) {
        self.shared.kill.notify_one();
    }

    fn post(&self, message: Message) -> Result<(), NetworkError> {
        self.messages.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NetworkError::not_processed(
                ErrorKind::Busy,
                format!(
                    "the mailbox of the container {} is full; try again later",
                    self.activation().id
                ),
            ),
            mpsc::error::TrySendError::Closed(_) => NetworkError::not_processed(
                ErrorKind::ContainerEnded,
                format!("the container {} ended: {}", self.activation().id, self.cause()),
            ),
        })
    }

    /// The answer to a request that the container had.
    fn lost(&self) -> NetworkError {
        NetworkError::maybe_processed(
            ErrorKind::ContainerEnded,
            format!(
                "the container {} ended during the request: {}",
                self.activation().id,
                self.cause()
            ),
        )
    }

    fn cause(&self) -> &str {
        self.shared.cause.get().map_or("it is ending", String::as_str)
    }
}

/// A defect of the host ended the container: it must end like any other, so
/// that its callers, its clients and the coordinator are told. The panic itself
/// is on stderr.
fn lost_by_the_host(shared: &Shared) -> Ending {
    let cause = "a defect of the host ended it; the host's log has the details".to_owned();
    let ending = Ending::Unhealthy(cause);
    // Set before, when the panic came late.
    let _ = shared.cause.set(ending.cause());
    shared.connections.close();
    ending.log(&shared.activation);
    ending
}

fn check_operation(operation: &str) -> Result<(), NetworkError> {
    if operation.len() > limits::OPERATION_BYTES {
        return Err(NetworkError::refused(
            ErrorKind::InvalidArguments,
            format!("the operation's name is over {} bytes", limits::OPERATION_BYTES),
        ));
    }
    Ok(())
}
