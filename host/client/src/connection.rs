//! A connection to a container: a stream of what it broadcasts.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use hulynet_bus::Response;
use hulynet_protocol::{
    Amount, Call, Caller, ConnectionId, Epoch, ErrorKind, NetworkError, Reply, Target,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    agents::{Agent, Route},
    attachment::{Attached, Attachment, News, Step},
    connections::Slot,
    mailbox::ConnectionEvent,
    paths::Path,
    reference::{Reference, known, send_once},
    shared::{Settings, Shared, closed, unexpected},
    subscription::Subscription,
};

/// Receives what a container broadcasts and sends to its connections; a
/// [`Stream`] of [`ConnectionEvent`]s.
///
/// It holds the container. When the container moves, or the connection is
/// lost, it is made again and [`ConnectionEvent::Reconnected`] tells so. The
/// agent sends as much as the program takes. What it does not take waits there,
/// and when too much does, the policy of the [`Subscription`] decides: the
/// oldest are dropped and counted in [`ConnectionEvent::Missed`], or the stream
/// ends with an error. It also ends with an error when the container refuses
/// the connection, and without one when the client is closed. Dropping it
/// disconnects.
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
pub(crate) async fn open(
    reference: Reference,
    subscription: Subscription,
) -> Result<Connection, NetworkError> {
    let Subscription { caller, policy } = subscription;
    let shared = Arc::clone(reference.shared());
    let now = Instant::now().into_std();
    let Settings { request_timeout, alive_timeout, .. } = shared.settings;
    let attachment = Attachment::new(now, request_timeout, alive_timeout);
    let slot = Arc::new(Slot::new(reference.id().clone(), policy, attachment));
    let caller = caller.unwrap_or_else(|| shared.settings.caller.clone());
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

/// The pause after a grant that was not taken.
const AGAIN: Duration = Duration::from_millis(50);

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
        let mut first = Some(first);
        let end = tokio::select! {
            () = self.stop.cancelled() => None,
            error = self.carry_out(&mut first) => Some(error),
        };
        if let (Some(first), Some(error)) = (first, &end) {
            // Who gave up meanwhile has stopped this.
            let _gone = first.send(Err(error.clone()));
        }
        self.slot.end(end);
        self.close().await;
    }

    /// Does what the attachment asks for, until it is over.
    async fn carry_out(
        &self,
        first: &mut Option<oneshot::Sender<Result<(), NetworkError>>>,
    ) -> NetworkError {
        loop {
            match self.slot.update(|attachment| attachment.step(now())) {
                Step::Route(deadline) => self.route(deadline.into()).await,
                Step::Leave(place) => {
                    let heard = self.leave(&place).await;
                    self.slot.update(|attachment| attachment.left(heard));
                }
                Step::Connect(place, deadline) => match self.connect(&place, deadline.into()).await
                {
                    Ok(()) => match self.slot.update(|attachment| attachment.connected(now())) {
                        // As above.
                        News::Opened => drop(first.take().map(|first| first.send(Ok(())))),
                        News::Reconnected(epoch) => {
                            self.slot.push(ConnectionEvent::Reconnected { epoch });
                        }
                    },
                    Err(error) => self.failed(place.epoch, error),
                },
                Step::Locate { tried, deadline } => {
                    let located = self.shared.held.locate(&self.slot.container, tried);
                    match timeout_at(deadline.into(), located).await {
                        Ok(Ok(result)) => self.slot.update(|attachment| {
                            attachment.located(now(), result.map(|_| ()));
                        }),
                        Ok(Err(_)) | Err(_) => self.slot.update(|a| a.unlocated(now())),
                    }
                }
                Step::Wait(until) => match self.slot.ask() {
                    Some((place, credit)) => self.grant(&place, credit).await,
                    None => tokio::select! {
                        () = self.slot.disturbed() => {}
                        () = self.slot.due() => {}
                        () = sleep_until(until.map_or_else(Instant::now, Instant::from)),
                            if until.is_some() => {}
                    },
                },
                Step::End(error) => return error,
            }
        }
    }

    async fn route(&self, deadline: Instant) {
        let record = match known(&self.shared, &self.slot.container) {
            Ok(record) => record,
            Err(error) => return self.failed(Epoch::default(), error),
        };
        match self.shared.agents.route(&self.shared, &record.endpoint, deadline).await {
            Ok(Route { path, .. }) => {
                let place = Attached { path, epoch: record.epoch };
                self.slot.update(|attachment| attachment.routed(place));
            }
            Err(error) => self.failed(record.epoch, error),
        }
    }

    async fn connect(&self, place: &Attached, deadline: Instant) -> Result<(), NetworkError> {
        let call = Call::Connect {
            target: Target { id: self.slot.container.clone(), epoch: Some(place.epoch) },
            connection: self.id.clone(),
            caller: self.caller.clone(),
            flow: self.slot.flow(),
        };
        match self.send(&place.path, call, deadline).await?.reply {
            Reply::Done => Ok(()),
            other => Err(unexpected("a connect", &other)),
        }
    }

    /// Lets the other side send more. News of the attachment come first.
    async fn grant(&self, place: &Attached, credit: Amount) {
        let call = Call::Credit { connection: self.id.clone(), credit };
        let deadline = Instant::now() + self.shared.settings.alive_timeout;
        let told = tokio::select! {
            () = self.slot.disturbed() => None,
            told = self.send(&place.path, call, deadline) => Some(told),
        };
        self.slot.asked(matches!(told, Some(Ok(_))).then_some(credit));
        match told {
            None | Some(Ok(_)) => {}
            // It forgot the connection, and could not tell.
            Some(Err(error)) if error.kind == ErrorKind::UnknownContainer => {
                self.slot.disturb(Attachment::disturb);
            }
            Some(Err(error)) => {
                tracing::debug!(connection = %self.id, %error, "events were not granted");
                tokio::select! {
                    () = self.slot.disturbed() => {}
                    () = sleep(AGAIN) => {}
                }
            }
        }
    }

    fn failed(&self, tried: Epoch, error: NetworkError) {
        let container = &self.slot.container;
        tracing::debug!(connection = %self.id, %container, %error, "an attempt to connect failed");
        if self.slot.update(|attachment| attachment.failed(now(), tried, error.clone())) {
            tracing::warn!(%container, %error, "still disconnected");
        }
    }

    /// Says goodbye where the connection may still be attached, for a moment.
    /// Answers whether it is not any more.
    async fn leave(&self, place: &Attached) -> bool {
        let call = Call::Disconnect { connection: self.id.clone() };
        let deadline = Instant::now() + self.shared.settings.goodbye_timeout;
        let left = self.send(&place.path, call, deadline).await;
        if let Err(error) = &left {
            tracing::debug!(connection = %self.id, %error, "a disconnect was not confirmed");
        }
        left.is_ok()
    }

    /// Says goodbye everywhere. A peer that is being reconnected hears it when
    /// its session goes on; otherwise the connection ends with the session.
    async fn close(&self) {
        self.shared.connections.remove(&self.id);
        let places: Vec<Attached> =
            self.slot.update(|attachment| attachment.places().cloned().collect());
        let patience = self.shared.settings.alive_timeout;
        for Attached { path, .. } in places {
            let call = Call::Disconnect { connection: self.id.clone() };
            let left = async {
                match self.agent(&path)? {
                    Some(agent) => agent.tell(call, patience).await,
                    None => {
                        let until = Instant::now() + patience;
                        self.shared.coordinator.call(call, Bytes::new(), until).await
                    }
                }
            };
            if let Err(error) = self.shared.unless_closed(left).await {
                tracing::debug!(connection = %self.id, %error, "a disconnect was not confirmed");
            }
        }
    }

    /// Sends a call over this very path, on the connection of now.
    async fn send(
        &self,
        path: &Path,
        call: Call,
        deadline: Instant,
    ) -> Result<Response, NetworkError> {
        let agent = self.agent(path)?;
        let sent = send_once(&self.shared, agent.as_ref(), call, Bytes::new(), deadline);
        self.shared.unless_closed(sent).await
    }

    /// The agent at the end of a path, unless that is the coordinator's.
    fn agent(&self, path: &Path) -> Result<Option<Agent>, NetworkError> {
        let Path::Direct(address) = path else { return Ok(None) };
        match self.shared.agents.agent(address) {
            Some(agent) => Ok(Some(agent)),
            None => Err(NetworkError::not_processed(
                ErrorKind::Unavailable,
                format!("the link to the agent at {address} is closed"),
            )),
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
