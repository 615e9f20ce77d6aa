//! The connecting side: a DEALER under a supervisor.

mod backoff;
mod confirm;
mod dial;
mod line;
mod online;
mod supervisor;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hulynet_protocol::{Call, ErrorKind, Event, Frame, NetworkError, ServerId};
use tokio::sync::oneshot;

pub(crate) use dial::{DialError, dial};
pub(crate) use line::{Line, LineError, ORIGINAL};
pub(crate) use supervisor::Supervisor;

use crate::{
    account::Account,
    ask::{Ask, To},
    bus::Thread,
    calls::Calls,
    exchange::busy,
    lane::{ANY, Command, Lane},
    request::Request,
    response::Response,
    wire::{Draft, Outgoing},
};

/// What a peer hands to its owner. Requests that find the owner too slow get
/// `Busy`; events that do end the connection, so that none is lost in silence;
/// joining and losing are always told.
#[derive(Debug)]
pub enum PeerEvent {
    /// Hello was answered. `resumed` false: the server does not know us (first
    /// time, restart, or lease expired): register and reclaim again.
    Joined {
        /// The run of the server.
        server: ServerId,
        /// It still knew us.
        resumed: bool,
    },
    /// The server asks something.
    Request(Request),
    /// The server tells something.
    Event {
        /// What.
        event: Event,
        /// Its payload.
        payload: Bytes,
    },
    /// The server refuses us, or is of another version; waiting calls ended
    /// with this error. Told when the reason is a new one; the supervisor tries
    /// again.
    Refused(NetworkError),
    /// The connection is lost; the supervisor tries again. Pending calls wait
    /// for the session to go on, at most for the alive timeout; streams have
    /// ended.
    Lost {
        /// Why, for people.
        reason: String,
    },
}

/// What the handles of a peer share with its supervisor.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) address: String,
    pub(crate) account: Arc<Account>,
    /// Numbers the requests to the server, in all sessions.
    pub(crate) calls: Arc<Calls>,
    status: Mutex<Status>,
}

/// Whether calls are sent.
#[derive(Debug)]
enum Status {
    /// On the connection of this name.
    Joined(u64),
    /// And why.
    Apart(String),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Status> {
        // Nothing panics while it is held.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on calls are handed to the socket.
    fn joined(&self, connection: u64) {
        *self.lock() = Status::Joined(connection);
    }

    /// From here on calls are kept.
    fn apart(&self, why: impl Into<String>) {
        *self.lock() = Status::Apart(why.into());
    }

    /// The error of a call that was never sent.
    fn unsent(&self) -> NetworkError {
        match &*self.lock() {
            Status::Joined(_) => unreachable(&self.address, "it did not take the request in time"),
            Status::Apart(why) => unreachable(&self.address, why),
        }
    }
}

/// The error of a call that was never sent.
fn unreachable(address: &str, why: &str) -> NetworkError {
    NetworkError::not_processed(
        ErrorKind::Unavailable,
        format!("{address} cannot be reached: {why}; check the address and that its server runs"),
    )
}

/// A supervised DEALER. Cheap to clone; without [`Self::close`] it ends with
/// its last clone, and the server hears no goodbye.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    lane: Lane,
    /// Keeps the thread of the socket.
    _thread: Arc<Thread>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A closed lane has ended already.
        let _ended = self.lane.send(Command::End);
    }
}

impl Peer {
    pub(crate) fn new(address: &str, lane: Lane, thread: Arc<Thread>) -> Self {
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            account: Arc::default(),
            calls: Arc::default(),
            status: Mutex::new(Status::Apart("no connection was made yet".to_owned())),
        });
        Self(Arc::new(Handle { shared, lane, _thread: thread }))
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0.shared)
    }

    /// Asks the server, at once; waits for a connection within the timeout.
    /// Dropping the future cancels. The timeout is for the beginning of an answer; a
    /// stream goes on after it. Requests that the server refuses because it
    /// forgot us are sent again after another hello.
    ///
    /// # Errors
    /// What the server answers; `Unavailable`, not processed, naming the
    /// address when there was no connection in time; `Unavailable`, maybe
    /// processed, when the session was lost after sending;
    /// `DeadlineExceeded`; `Busy` and `TooLarge` before sending.
    pub fn call(
        &self,
        call: Call,
        payload: Bytes,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response, NetworkError>> + Send + use<'_> {
        self.end(self.begin(ANY, call, payload, timeout), timeout)
    }

    /// Like [`Self::call`], but fails at once without a connection, for callers
    /// that know another way.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_joined(
        &self,
        call: Call,
        payload: Bytes,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response, NetworkError>> + Send + use<'_> {
        let begun =
            self.connection().and_then(|connection| self.begin(connection, call, payload, timeout));
        self.end(begun, timeout)
    }

    /// The connection that calls are sent on.
    fn connection(&self) -> Result<u64, NetworkError> {
        match &*self.0.shared.lock() {
            Status::Joined(connection) => Ok(*connection),
            Status::Apart(why) => Err(unreachable(&self.0.shared.address, why)),
        }
    }

    /// Sends a request. Not a part of the future that waits for its answer,
    /// which would carry it along.
    fn begin(
        &self,
        connection: u64,
        call: Call,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<(Cost<'_>, Ask), NetworkError> {
        let Handle { shared, lane, .. } = &*self.0;
        let draft = Draft::new(call, payload, timeout)?;
        let cost = Cost::new(&shared.account, draft.cost());
        let to = To { to: connection, session: ANY };
        let ask = Ask::begin(lane, &shared.account, &shared.calls, to, draft)?;
        Ok((cost, ask))
    }

    async fn end(
        &self,
        begun: Result<(Cost<'_>, Ask), NetworkError>,
        timeout: Duration,
    ) -> Result<Response, NetworkError> {
        let (_cost, ask) = begun?;
        ask.end(timeout).await
    }

    /// Sends an event; never waits. Accepted means on its way: it is lost with
    /// the connection.
    ///
    /// # Errors
    /// `Unavailable`, not processed, without a connection; `Busy` when too
    /// much waits to be received by the server; `TooLarge`.
    pub fn event(&self, event: Event, payload: Bytes) -> Result<(), NetworkError> {
        let Handle { shared, lane, .. } = &*self.0;
        if let Status::Apart(why) = &*shared.lock() {
            return Err(unreachable(&shared.address, why));
        }
        if !shared.account.takes_events() {
            return Err(busy("too much waits to be received by the server"));
        }
        let message = Outgoing::new(&Frame::Event(event), payload)?;
        shared.account.add(message.cost());
        lane.send(Command::Event { connection: ANY, message }).map_err(|_| crate::ask::unsent())
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.shared.address
    }

    /// Says goodbye, waits for its answer or the deadline, and closes.
    pub async fn close(&self, deadline: Duration) {
        let (done, end) = oneshot::channel();
        if self.0.lane.send(Command::Close { deadline, done }).is_ok() {
            // Dropped unsent means closed as well.
            let _closed = end.await;
        }
    }
}

/// Counts a request's bytes until its answer.
struct Cost<'account>(&'account Account, usize);

impl<'account> Cost<'account> {
    fn new(account: &'account Account, cost: usize) -> Self {
        account.add(cost);
        Self(account, cost)
    }
}

impl Drop for Cost<'_> {
    fn drop(&mut self) {
        self.0.sub(self.1);
    }
}
