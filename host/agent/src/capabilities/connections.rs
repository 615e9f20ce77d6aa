//! `connections`: the clients that receive what this container broadcasts.
//!
//! Sending never waits. Every event goes into the queue of its connection, and
//! the agent has the queues flushed as soon as it comes to it: what came
//! meanwhile leaves in one message. Events wait there while their client takes
//! none, while the bus has no room for it, and while the container may live
//! elsewhere because the agent lost its coordinator. What becomes of those for
//! which there is no room the client chose: see [`Ledger`]. So one client that
//! does not read costs its own queue and holds nobody back. All queues together
//! have as many bytes as the container may have unread; when that is too few,
//! the longest one gives way.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use hulynet_agent_kinds::ContainerLimits;
use hulynet_protocol::{
    Amount, ClientId, ConnectionId, Epoch, ErrorKind, Event, Flow, NetworkError,
    ledger::{Full, Ledger},
    limits,
};
use tokio::sync::mpsc;

use super::{
    Context,
    rate::Rate,
    to_guest,
    usage::{Open, Thing, Usage},
};
use crate::{
    bindings::huly::network::{common::Error, connections::Host},
    container::{Farewell, Mailbox},
};

mod shipment;

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
    /// Whose it is; nobody's to the coordinator. Ways of one client are one.
    fn peer(&self) -> Option<&ClientId>;

    /// The most events in one message.
    fn batch(&self) -> usize {
        limits::BATCH_EVENTS
    }

    /// Sends an event; never waits. `Busy` when there is no room.
    ///
    /// # Errors
    /// Those of the bus.
    fn deliver(&self, event: Event, payload: Bytes) -> Result<(), NetworkError>;

    /// Tells the client that its connection is closed, and why it must not be
    /// made again by itself.
    fn closed(&self, connection: ConnectionId, error: Option<NetworkError>);
}

/// How the events of a container leave the agent.
pub(crate) struct Exit {
    /// Whether they may now: not while the container may live elsewhere.
    pub(crate) is_open: Box<dyn Fn() -> bool + Send + Sync>,
    /// Those that are to be flushed.
    pub(crate) flushes: mpsc::UnboundedSender<Arc<Connections>>,
}

/// What is left after a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Left {
    /// Nothing that could leave.
    Nothing,
    /// Some for which there is no room on the bus, or that may not leave.
    Held,
    /// Some that can leave now.
    More,
}

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
    mailbox: Arc<Mailbox>,
    exit: Exit,
    /// A flush is ordered and did not begin yet.
    ordered: AtomicBool,
}

struct Connection {
    sink: Arc<dyn Sink>,
    /// Until the client knows that it is connected, its events wait.
    open: bool,
    /// Where several clients wait for the same event, it is counted once.
    ledger: Ledger<Arc<Open>>,
    /// Taken when it begins, so that the container always hears of its end.
    farewell: Farewell,
}

impl Connections {
    /// None yet; `mailbox` tells the container which ones ended, and bounds how
    /// many there can be.
    pub(crate) fn new(
        epoch: Epoch,
        limits: &ContainerLimits,
        usage: Arc<Usage>,
        mailbox: Arc<Mailbox>,
        exit: Exit,
    ) -> Self {
        Self {
            epoch,
            event_bytes: limits.event_bytes,
            events: limits.events,
            rate: Mutex::new(Rate::new(limits.events, Instant::now())),
            usage,
            entries: Mutex::default(),
            mailbox,
            exit,
            ordered: AtomicBool::new(false),
        }
    }

    /// Adds a connection; its events wait until [`Connections::open`].
    ///
    /// # Errors
    /// `Busy` when there are too many or the name is in use.
    pub(crate) fn add(
        &self,
        id: ConnectionId,
        flow: Flow,
        sink: Arc<dyn Sink>,
    ) -> Result<(), NetworkError> {
        let farewell = self.mailbox.farewell().ok_or_else(|| {
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
                let ledger = Ledger::new(flow);
                free.insert(Connection { sink, open: false, ledger, farewell });
                Ok(())
            }
        }
    }

    /// The client knows that it is connected: what waited leaves now.
    pub(crate) fn open(self: &Arc<Self>, id: &ConnectionId) {
        if let Some(connection) = self.lock().get_mut(id) {
            connection.open = true;
        }
        self.order();
    }

    /// The client takes so many events in all. `false` when there is no such
    /// connection.
    pub(crate) fn grant(self: &Arc<Self>, id: &ConnectionId, credit: Amount) -> bool {
        let Some(()) = self.lock().get_mut(id).map(|connection| connection.ledger.grant(credit))
        else {
            return false;
        };
        self.order();
        true
    }

    /// Ends a connection; the container is told. `false` when there was none.
    pub(crate) fn remove(&self, id: &ConnectionId) -> bool {
        let Some(connection) = self.lock().remove(id) else { return false };
        connection.farewell.say(id.clone());
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

    /// Ends all of them, because the container ended; the clients are told,
    /// after what they take still.
    pub(crate) fn close(&self) {
        while self.flush() == Left::More {}
        for (id, connection) in std::mem::take(&mut *self.lock()) {
            connection.sink.closed(id, None);
        }
    }

    /// Sends an event to all.
    ///
    /// # Errors
    /// `TooLarge`, `Busy` when there are too many a second, or when nobody who
    /// waits can give way.
    pub(crate) fn broadcast(self: &Arc<Self>, payload: Bytes) -> Result<(), NetworkError> {
        self.admit(&payload)?;
        let mut entries = self.lock();
        if entries.is_empty() {
            return Ok(());
        }
        let open = Arc::new(self.make_room(&mut entries, payload.len())?);
        let full: Vec<ConnectionId> = entries
            .iter_mut()
            .filter_map(|(id, connection)| {
                let pushed = connection.ledger.push(&payload, open.clone());
                pushed.err().map(|Full| id.clone())
            })
            .collect();
        for id in full {
            end(&mut entries, &id);
        }
        drop(entries);
        self.order();
        Ok(())
    }

    /// Sends an event to one.
    ///
    /// # Errors
    /// `UnknownContainer` when there is no such connection, `Busy` when its
    /// queue is full and nothing may be dropped, when there are too many a
    /// second, or too many bytes wait; `TooLarge`.
    pub(crate) fn send(self: &Arc<Self>, id: &str, payload: Bytes) -> Result<(), NetworkError> {
        self.admit(&payload)?;
        let mut entries = self.lock();
        let id = ConnectionId::new(id).map_err(|_| no_connection(id))?;
        let connection = entries.get_mut(&id).ok_or_else(|| no_connection(id.as_str()))?;
        let open = Arc::new(self.usage.open_many(Thing::UnreadByte, payload.len())?);
        connection.ledger.push(&payload, open).map_err(|Full| {
            NetworkError::not_processed(
                ErrorKind::Busy,
                format!("the connection {id} does not read its events; its queue is full"),
            )
        })?;
        drop(entries);
        self.order();
        Ok(())
    }

    /// Counts the bytes of an event. While there are too many, the longest
    /// queue gives way, as its client chose.
    fn make_room(
        &self,
        entries: &mut BTreeMap<ConnectionId, Connection>,
        bytes: usize,
    ) -> Result<Open, NetworkError> {
        loop {
            let error = match self.usage.open_many(Thing::UnreadByte, bytes) {
                Ok(open) => return Ok(open),
                Err(error) => error,
            };
            let longest =
                entries.iter_mut().max_by_key(|(_, connection)| connection.ledger.bytes());
            let Some((id, connection)) = longest.filter(|(_, one)| one.ledger.bytes() > 0) else {
                return Err(error);
            };
            if connection.ledger.make_room().is_err() {
                let id = id.clone();
                end(entries, &id);
            }
        }
    }

    /// Sends what may leave, one message for each connection at most.
    pub(crate) fn flush(&self) -> Left {
        // First: what comes from now on orders another one.
        self.ordered.store(false, Ordering::SeqCst);
        let mut entries = self.lock();
        let shipments = shipment::load(entries.iter());
        if shipments.is_empty() {
            return Left::Nothing;
        }
        if !(self.exit.is_open)() {
            return Left::Held;
        }
        let mut left = Left::Nothing;
        for shipment in shipments {
            let delivered =
                shipment.sink.deliver(shipment.event(self.epoch), shipment.payload.clone());
            match delivered {
                Ok(()) => {
                    for id in &shipment.connections {
                        let Some(connection) = entries.get_mut(id) else { continue };
                        connection.ledger.left(shipment.count);
                        if left < Left::More && connection.ledger.ready(1) > 0 {
                            left = Left::More;
                        }
                    }
                }
                Err(error) if error.kind == ErrorKind::Busy => left = left.max(Left::Held),
                // It is gone, or reconnecting, and then it connects anew.
                Err(error) => {
                    for id in shipment.connections {
                        let Some(connection) = entries.remove(&id) else { continue };
                        tracing::debug!(connection = %id, %error, "closed");
                        connection.sink.closed(id.clone(), None);
                        connection.farewell.say(id);
                    }
                }
            }
        }
        left
    }

    /// Has the queues flushed.
    pub(crate) fn order(self: &Arc<Self>) {
        if !self.ordered.swap(true, Ordering::SeqCst) {
            // Without a receiver the agent is gone, and with it its clients.
            let _gone = self.exit.flushes.send(self.clone());
        }
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

/// Ends a connection for whose events there is no room; client and container
/// are told.
fn end(entries: &mut BTreeMap<ConnectionId, Connection>, id: &ConnectionId) {
    let Some(connection) = entries.remove(id) else { return };
    let error = Full.ended(id, connection.ledger.len());
    tracing::warn!(connection = %id, "closed: the client does not read its events");
    connection.sink.closed(id.clone(), Some(error));
    connection.farewell.say(id.clone());
}

fn no_connection(id: &str) -> NetworkError {
    NetworkError::refused(
        ErrorKind::UnknownContainer,
        format!("there is no connection {id:?}; it may have ended"),
    )
}

#[cfg(test)]
mod tests;
