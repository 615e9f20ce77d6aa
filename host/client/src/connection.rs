//! A connection to a container: a stream of what it broadcasts.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use hulynet_protocol::{
    Call, Caller, ConnectionId, ContainerId, ContainerRecord, NetworkError, Reply, Retry, Target,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    connections::{Attached, Slot},
    mailbox::ConnectionEvent,
    reference::{Reference, known, recover, send_once},
    retry::{Attempts, Repeat, pause},
    shared::{GOODBYE, Shared, closed, unexpected},
};

/// Receives what a container broadcasts and sends to its connections; a
/// [`Stream`] of [`ConnectionEvent`]s.
///
/// It holds the container. When the container moves, or the connection is
/// lost, it is made again and [`ConnectionEvent::Reconnected`] tells so. Events
/// that the program does not read in time are dropped, the oldest first, and
/// counted in [`ConnectionEvent::Missed`]. The stream ends with an error when
/// the container refuses the connection, and without one when the client is
/// closed. Dropping it disconnects.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    slot: Arc<Slot>,
    reference: Reference,
    _stop: DropGuard,
}

impl Connection {
    /// The connection's name, by which the container knows it.
    #[must_use]
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }

    /// The container.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }
}

impl Stream for Connection {
    type Item = Result<ConnectionEvent, NetworkError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.slot.poll(context)
    }
}

/// Connects and keeps connected until the connection is dropped.
pub(crate) async fn open(reference: Reference, caller: Caller) -> Result<Connection, NetworkError> {
    let shared = Arc::clone(reference.shared());
    let slot = Arc::new(Slot::new(reference.id().clone()));
    let stop = shared.closed.child_token();
    let id = ConnectionId::random();
    let connection = Connection {
        id: id.clone(),
        slot: Arc::clone(&slot),
        reference,
        _stop: stop.clone().drop_guard(),
    };
    shared.connections.insert(id.clone(), Arc::clone(&slot));
    let keeper = Keeper { shared: Arc::clone(&shared), id, caller, slot, stop };
    // A task of its own, so that an asker that goes away leaves no connection
    // behind that nobody reads.
    let (attached, answer) = oneshot::channel();
    shared.tasks.spawn(keeper.keep(attached));
    answer.await.unwrap_or_else(|_| Err(closed())).map(|()| connection)
}

/// Keeps one connection attached.
struct Keeper {
    shared: Arc<Shared>,
    id: ConnectionId,
    caller: Caller,
    slot: Arc<Slot>,
    stop: CancellationToken,
}

impl Keeper {
    /// Tells how the first attempt ended.
    async fn keep(self, first: oneshot::Sender<Result<(), NetworkError>>) {
        let end = tokio::select! {
            () = self.stop.cancelled() => None,
            error = async {
                match self.attach(self.shared.deadline()).await {
                    // Who gave up meanwhile has stopped this.
                    Ok(_) => drop(first.send(Ok(()))),
                    Err(error) => {
                        drop(first.send(Err(error.clone())));
                        return error;
                    }
                }
                self.follow().await
            } => Some(error),
        };
        self.slot.end(end);
        self.leave().await;
    }

    /// Attaches again whenever that is necessary, until it is refused.
    async fn follow(&self) -> NetworkError {
        let mut failures = 0;
        let mut since = Instant::now();
        loop {
            self.slot.disturbed().await;
            // A container that ends at each connection is not hammered.
            if since.elapsed() > self.shared.settings.alive_timeout {
                failures = 0;
            }
            let attached = loop {
                sleep(pause(failures)).await;
                failures += 1;
                match self.attach(self.shared.deadline()).await {
                    Ok(attached) => break attached,
                    Err(error) if error.retry == Retry::Final => return error,
                    Err(error) => {
                        tracing::warn!(container = %self.container(), %error, "still disconnected");
                    }
                }
            };
            since = Instant::now();
            self.slot.push(ConnectionEvent::Reconnected { epoch: attached.epoch });
        }
    }

    async fn attach(&self, deadline: Instant) -> Result<Attached, NetworkError> {
        let mut attempts = Attempts::new(deadline.into_std(), Repeat::Idempotent);
        loop {
            let record = known(&self.shared, self.container())?;
            match self.attach_once(&record, deadline).await {
                Ok(attached) => return Ok(attached),
                Err(error) => {
                    let ContainerRecord { id, epoch, .. } = &record;
                    recover(&self.shared, &mut attempts, id, *epoch, error).await?;
                }
            }
        }
    }

    async fn attach_once(
        &self,
        record: &ContainerRecord,
        deadline: Instant,
    ) -> Result<Attached, NetworkError> {
        let route = self.shared.agents.route(&self.shared, &record.endpoint, deadline).await?;
        let attached = Attached { path: route.path, epoch: record.epoch };
        self.slot.attach(attached.clone());
        let call = Call::Connect {
            target: Target { id: record.id.clone(), epoch: Some(record.epoch) },
            connection: self.id.clone(),
            caller: self.caller.clone(),
        };
        match send_once(&self.shared, route.agent, call, Bytes::new(), deadline).await?.reply {
            Reply::Done => Ok(attached),
            other => Err(unexpected("a connect", &other)),
        }
    }

    /// Says goodbye where the connection leads to. A peer that does not hear
    /// it ends the connection with the client's lease.
    async fn leave(&self) {
        self.shared.connections.remove(&self.id);
        let Some(attached) = self.slot.attached() else { return };
        let call = Call::Disconnect { connection: self.id.clone() };
        let agent = self.shared.agents.agent(&attached.path);
        let until = Instant::now() + GOODBYE;
        let disconnect = send_once(&self.shared, agent, call, Bytes::new(), until);
        if let Err(error) = self.shared.unless_closed(disconnect).await {
            tracing::debug!(connection = %self.id, %error, "a disconnect was not confirmed");
        }
    }

    fn container(&self) -> &ContainerId {
        &self.slot.container
    }
}
