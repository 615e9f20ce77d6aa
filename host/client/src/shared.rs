//! What the parts of one client share.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hulynet_bus::{Bus, PeerConfig, Secret};
use hulynet_protocol::{Call, Caller, ClientId, ErrorKind, NetworkError, Reply, Role};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agents::Agents, connections::Connections, coordinator::Coordinator, held::Held, watch::Watchers,
};

/// What the program chose. See [`crate::Builder`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) id: ClientId,
    pub(crate) caller: Caller,
    pub(crate) request_timeout: Duration,
    pub(crate) alive_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) hello_timeout: Duration,
    pub(crate) goodbye_timeout: Duration,
    pub(crate) secret: Option<Secret>,
}

/// Names pieces of work: a random half, and a count, so that a name costs no
/// system call.
#[derive(Debug)]
pub(crate) struct Traces {
    random: u64,
    count: AtomicU64,
}

impl Traces {
    pub(crate) fn new() -> Self {
        let random = RandomState::new().hash_one(());
        Self { random, count: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> u128 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        u128::from(self.random) << 64 | u128::from(count)
    }
}

/// The state behind all clones of a client. Tasks hold it; the program's
/// handles hold [`crate::client::Inner`], whose end cancels `closed`.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) bus: Bus,
    pub(crate) held: Held,
    pub(crate) coordinator: Coordinator,
    pub(crate) agents: Agents,
    pub(crate) connections: Connections,
    pub(crate) watchers: Watchers,
    pub(crate) traces: Traces,
    pub(crate) closed: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn peer_config(&self) -> PeerConfig {
        PeerConfig {
            client: self.settings.id.clone(),
            role: Role::Client,
            alive_timeout: self.settings.alive_timeout,
            ping_interval: self.settings.ping_interval,
            secret: self.settings.secret.clone(),
        }
    }

    /// When a call that begins now has to end.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.request_timeout
    }

    /// Ends with the future, or with an error as soon as the client is closed.
    pub(crate) async fn unless_closed<T>(
        &self,
        work: impl Future<Output = Result<T, NetworkError>>,
    ) -> Result<T, NetworkError> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(closed()),
            result = work => result,
        }
    }

    /// Serves what a coordinator or an agent asks of a client.
    pub(crate) fn serve(self: &Arc<Self>, request: hulynet_bus::Request) {
        let answer = match request.call {
            Call::Disconnected { connection, error } => {
                self.connections.ended(&connection, error);
                Ok((Reply::Done, bytes::Bytes::new()))
            }
            _ => Err(NetworkError::refused(
                ErrorKind::Protocol,
                "a client only takes notice of ended connections; ask an agent",
            )),
        };
        request.responder.reply(answer);
    }
}

/// The error of every call after the client was closed.
pub(crate) fn closed() -> NetworkError {
    NetworkError::refused(ErrorKind::Cancelled, "the client is closed; connect a new one")
}

/// The error of an answer that does not belong to the call.
pub(crate) fn unexpected(call: &str, reply: &Reply) -> NetworkError {
    NetworkError::refused(ErrorKind::Protocol, format!("{call} was answered with {reply:?}"))
}

/// The error of a call whose deadline passed after it was sent.
pub(crate) fn deadline_exceeded(what: &str) -> NetworkError {
    NetworkError::maybe_processed(
        ErrorKind::DeadlineExceeded,
        format!("{what} did not end within its deadline; allow more time or look at its load"),
    )
}

/// Locks; the data behind a lock that a panicking thread left is whole,
/// because it is only changed by code that does not panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
