//! `connections`: the clients that receive what this container broadcasts.
//!
//! Sending never waits. An event goes to the bus at once; while the bus has no
//! room for the client, or the container may live elsewhere because the agent
//! lost its coordinator, events wait in a queue of the connection's own, at
//! most [`QUEUE_EVENTS`] and [`QUEUE_BYTES`], and for all connections together
//! as many bytes as the container may have unread. When that is full, a
//! broadcast closes the connection, so that one client that does not read holds
//! nobody back; a single send fails as busy.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use hulynet_agent_kinds::ContainerLimits;
use hulynet_protocol::{ConnectionId, Epoch, ErrorKind, Event, NetworkError, limits};
use tokio::sync::{Notify, mpsc};

use super::{
    Context,
    rate::Rate,
    to_guest,
    usage::{Open, Thing, Usage},
};
use crate::bindings::huly::network::{common::Error, connections::Host};

/// Events that wait for one client.
const QUEUE_EVENTS: usize = 1024;
/// Bytes that wait for one client: the largest event always fits.
const QUEUE_BYTES: usize = limits::PAYLOAD_BYTES;

impl Host for Context {
    fn broadcast(&mut self, payload: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.connections.broadcast(payload.into()).map_err(to_guest))
    }

    fn send(
        &mut self,
        connection: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.connections.send(&connection, payload.into()).map_err(to_guest))
    }
}

/// The way to one client.
pub(crate) trait Sink: Send + Sync {
    /// Sends an event; never waits. `Busy` when there is no room, or when it is
    /// not certain that the container does not live elsewhere.
    ///
    /// # Errors
    /// Those of the bus.
    fn deliver(&self, event: Event, payload: Bytes) -> Result<(), NetworkError>;

    /// Tells the client that its connection is closed.
    fn closed(&self, connection: ConnectionId);
}

/// Room for the news that a connection ended; taken when it begins, so that
/// the container always hears of its end.
pub(crate) type Farewell = mpsc::OwnedPermit<ConnectionId>;

/// The connections of one container.
pub(crate) struct Connections {
    epoch: Epoch,
    /// Bytes of one event.
    event_bytes: usize,
    /// Events a second.
    events: usize,
    rate: Mutex<Rate>,
    usage: Arc<Usage>,
    entries: Mutex<BTreeMap<ConnectionId, Connection>>,
    farewells: mpsc::Sender<ConnectionId>,
    waiting: Notify,
}

struct Connection {
    sink: Arc<dyn Sink>,
    /// Until the client knows that it is connected, its events wait.
    open: bool,
    queue: VecDeque<Waiting>,
    bytes: usize,
    farewell: Farewell,
}

/// An event that waits. Where several clients wait for the same one, it is
/// counted once.
struct Waiting {
    payload: Bytes,
    _open: Arc<Open>,
}

/// An event on its way to one client or several.
struct Outgoing {
    payload: Bytes,
    open: Option<Arc<Open>>,
}

impl Connections {
    /// None yet; `farewells` tells the container which ones ended, its
    /// capacity is the most connections that there can be.
    pub(crate) fn new(
        epoch: Epoch,
        limits: &ContainerLimits,
        usage: Arc<Usage>,
        farewells: mpsc::Sender<ConnectionId>,
    ) -> Self {
        Self {
            epoch,
            event_bytes: limits.event_bytes,
            events: limits.events,
            rate: Mutex::new(Rate::new(limits.events, Instant::now())),
            usage,
            entries: Mutex::default(),
            farewells,
            waiting: Notify::new(),
        }
    }

    /// Adds a connection; its events wait until [`Connections::open`].
    ///
    /// # Errors
    /// `Busy` when there are too many or the name is in use.
    pub(crate) fn add(&self, id: ConnectionId, sink: Arc<dyn Sink>) -> Result<(), NetworkError> {
        let farewell = self.farewells.clone().try_reserve_owned().map_err(|_| {
            NetworkError::not_processed(
                ErrorKind::Busy,
                "the container has as many connections as it may have, or it ended",
            )
        })?;
        match self.lock().entry(id) {
            Entry::Occupied(taken) => Err(NetworkError::not_processed(
                ErrorKind::Busy,
                format!("the connection {} exists still; try again", taken.key()),
            )),
            Entry::Vacant(free) => {
                let (queue, bytes) = (VecDeque::new(), 0);
                free.insert(Connection { sink, open: false, queue, bytes, farewell });
                Ok(())
            }
        }
    }

    /// The client knows that it is connected: what waited leaves now.
    pub(crate) fn open(&self, id: &ConnectionId) {
        if let Some(connection) = self.lock().get_mut(id) {
            connection.open = true;
        }
        self.flush();
    }

    /// Ends a connection; the container is told. `false` when there was none.
    pub(crate) fn remove(&self, id: &ConnectionId) -> bool {
        let Some(connection) = self.lock().remove(id) else { return false };
        connection.farewell.send(id.clone());
        true
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Whether the connection is there.
    pub(crate) fn contains(&self, id: &ConnectionId) -> bool {
        self.lock().contains_key(id)
    }

    /// Forgets a connection that the container refused: it is told nothing.
    pub(crate) fn forget(&self, id: &ConnectionId) {
        self.lock().remove(id);
    }

    /// Ends all of them, because the container ended; the clients are told.
    pub(crate) fn close(&self) {
        for (id, connection) in std::mem::take(&mut *self.lock()) {
            connection.sink.closed(id);
        }
    }

    /// Sends an event to all.
    ///
    /// # Errors
    /// `TooLarge`, `Busy` when there are too many a second.
    pub(crate) fn broadcast(&self, payload: Bytes) -> Result<(), NetworkError> {
        self.admit(&payload)?;
        let mut event = Outgoing { payload, open: None };
        let mut entries = self.lock();
        let full: Vec<ConnectionId> = entries
            .iter_mut()
            .filter_map(|(id, connection)| {
                self.push(id, connection, &mut event).err().map(|_| id.clone())
            })
            .collect();
        for id in full {
            if let Some(connection) = entries.remove(&id) {
                tracing::warn!(connection = %id, "closed: the client does not read its events");
                connection.sink.closed(id.clone());
                connection.farewell.send(id);
            }
        }
        Ok(())
    }

    /// Sends an event to one.
    ///
    /// # Errors
    /// `UnknownContainer` when there is no such connection, `Busy` when its
    /// queue is full or there are too many a second, `TooLarge`.
    pub(crate) fn send(&self, id: &str, payload: Bytes) -> Result<(), NetworkError> {
        self.admit(&payload)?;
        let mut event = Outgoing { payload, open: None };
        let mut entries = self.lock();
        let connection = ConnectionId::new(id).ok().and_then(|id| {
            let connection = entries.get_mut(&id)?;
            Some((id, connection))
        });
        match connection {
            Some((id, connection)) => self.push(&id, connection, &mut event),
            None => Err(NetworkError::refused(
                ErrorKind::UnknownContainer,
                format!("there is no connection {id:?}; it may have ended"),
            )),
        }
    }

    /// Sends what waits, as far as there is room. Answers whether some is left.
    pub(crate) fn flush(&self) -> bool {
        let mut left = false;
        for (id, connection) in self.lock().iter_mut().filter(|(_, connection)| connection.open) {
            while let Some(Waiting { payload, .. }) = connection.queue.front() {
                if self.deliver(id, connection, payload).is_err() {
                    left = true;
                    break;
                }
                connection.bytes = connection.bytes.saturating_sub(payload.len());
                connection.queue.pop_front();
            }
        }
        left
    }

    /// Ends when events wait that [`Connections::flush`] should try.
    pub(crate) async fn waiting(&self) {
        self.waiting.notified().await;
    }

    fn push(
        &self,
        id: &ConnectionId,
        connection: &mut Connection,
        event: &mut Outgoing,
    ) -> Result<(), NetworkError> {
        let Outgoing { payload, open } = event;
        if connection.open && connection.queue.is_empty() {
            match self.deliver(id, connection, payload) {
                Err(error) if error.kind == ErrorKind::Busy => {}
                delivered => return delivered,
            }
        }
        if connection.queue.len() >= QUEUE_EVENTS
            || connection.bytes.saturating_add(payload.len()) > QUEUE_BYTES
        {
            return Err(NetworkError::not_processed(
                ErrorKind::Busy,
                format!("the connection {id} does not read its events; its queue is full"),
            ));
        }
        let open = match open {
            Some(open) => open.clone(),
            None => {
                let opened = self.usage.open_many(Thing::UnreadByte, payload.len())?;
                open.insert(Arc::new(opened)).clone()
            }
        };
        connection.bytes += payload.len();
        connection.queue.push_back(Waiting { payload: payload.clone(), _open: open });
        self.waiting.notify_one();
        Ok(())
    }

    fn deliver(
        &self,
        id: &ConnectionId,
        connection: &Connection,
        payload: &Bytes,
    ) -> Result<(), NetworkError> {
        let event = Event::Container { connection: id.clone(), epoch: self.epoch };
        connection.sink.deliver(event, payload.clone())
    }

    /// Checks one event against the limits.
    fn admit(&self, payload: &Bytes) -> Result<(), NetworkError> {
        if payload.len() > self.event_bytes {
            return Err(NetworkError::refused(
                ErrorKind::TooLarge,
                format!(
                    "an event of {} bytes; at most {} are allowed",
                    payload.len(),
                    self.event_bytes
                ),
            ));
        }
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if !rate.has(Instant::now(), 1) {
            return Err(NetworkError::not_processed(
                ErrorKind::Busy,
                format!(
                    "the container sends more than {} events a second; put several into one",
                    self.events
                ),
            ));
        }
        rate.used(1);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Connection>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
