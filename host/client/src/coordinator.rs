//! The link to the coordinator: a list of addresses, of which one is used.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hulynet_bus::{Peer, PeerEvent, Response};
use hulynet_protocol::{Call, ErrorKind, Event, NetworkError, ServerId};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    connections::Sent,
    paths::Path,
    retry::{Attempts, Next, Repeat},
    shared::Shared,
};

/// The peer of the address in use.
#[derive(Clone, Debug)]
struct Link {
    peer: Peer,
    state: State,
}

/// How far a link is.
#[derive(Clone, Debug)]
enum State {
    /// Hello was not answered yet, or the connection was lost.
    Apart,
    /// It answered hello.
    Joined,
    /// The only address refuses us.
    Refused(NetworkError),
}

/// The addresses and the live link.
#[derive(Debug)]
pub(crate) struct Coordinator {
    addresses: Vec<String>,
    link: watch::Sender<Option<Link>>,
}

impl Coordinator {
    pub(crate) fn new(addresses: Vec<String>) -> Self {
        Self { addresses, link: watch::Sender::new(None) }
    }

    /// Waits for a coordinator.
    ///
    /// # Errors
    /// `Unavailable`, not processed, when none answers before the deadline;
    /// why it refuses us when the only one does.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<Peer, NetworkError> {
        let mut link = self.link.subscribe();
        let settled = |link: &Option<Link>| {
            link.as_ref().is_some_and(|link| !matches!(link.state, State::Apart))
        };
        if let Ok(Ok(link)) = timeout_at(deadline, link.wait_for(settled)).await
            && let Some(Link { peer, state }) = &*link
        {
            return match state {
                State::Refused(error) => Err(error.clone()),
                State::Apart | State::Joined => Ok(peer.clone()),
            };
        }
        Err(NetworkError::not_processed(
            ErrorKind::Unavailable,
            format!(
                "no coordinator answers at {}: {}",
                self.addresses.join(", "),
                self.reason().await
            ),
        ))
    }

    /// Why the address in use does not answer: a call without patience tells.
    async fn reason(&self) -> String {
        let link = self.link.borrow().clone();
        let late = "it did not answer in time".to_owned();
        let Some(Link { peer, .. }) = link else { return late };
        match peer.call(Call::Kinds, Bytes::new(), Duration::ZERO).await {
            Ok(_) => late,
            Err(error) => error.message,
        }
    }

    fn set(&self, peer: &Peer, state: State) {
        self.link.send_replace(Some(Link { peer: peer.clone(), state }));
    }

    /// Makes a call once.
    pub(crate) async fn call(
        &self,
        call: Call,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Response, NetworkError> {
        let peer = self.ready(deadline).await?;
        peer.call(call, payload, deadline.saturating_duration_since(Instant::now())).await
    }

    /// Makes a call that has the same effect when it is carried out twice, and
    /// repeats it while that can help. Tells once that it waits for room, which
    /// may take as long as the call has.
    pub(crate) async fn ask(
        &self,
        call: Call,
        deadline: Instant,
    ) -> Result<Response, NetworkError> {
        let mut attempts = Attempts::new(deadline.into_std(), Repeat::Idempotent);
        let mut told = false;
        loop {
            let error = match self.call(call.clone(), Bytes::new(), deadline).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match attempts.after(Instant::now().into_std(), &error) {
                Next::Again { pause, .. } => {
                    if error.kind == ErrorKind::Busy && !told {
                        told = true;
                        let left = deadline.saturating_duration_since(Instant::now());
                        tracing::warn!("trying again for {:.0?}: {error}", left);
                    }
                    sleep(pause).await;
                }
                Next::Fail => return Err(error),
            }
        }
    }
}

/// Keeps a link to one of the addresses until the client is closed.
///
/// An address that does not answer soon, or that was lost and does not come
/// back within the alive timeout, makes room for the next one. A single
/// address is never left: its peer tries again by itself.
pub(crate) async fn supervise(shared: Arc<Shared>) {
    let mut known = None;
    for address in shared.coordinator.addresses.iter().cycle() {
        let (peer, events) = shared.bus.connect(address, shared.peer_config());
        shared.coordinator.set(&peer, State::Apart);
        let ended = serve(&shared, &peer, events, &mut known).await;
        shared.coordinator.set(&peer, State::Apart);
        match ended {
            Ended::Closed => {
                peer.close(shared.settings.goodbye_timeout).await;
                return;
            }
            Ended::Lost => {
                tracing::warn!(%address, "no coordinator answers; trying the next address");
                peer.close(Duration::ZERO).await;
            }
        }
    }
}

enum Ended {
    Closed,
    Lost,
}

/// Serves the events of one address. `known` is the server that last answered.
async fn serve(
    shared: &Arc<Shared>,
    peer: &Peer,
    mut events: mpsc::Receiver<PeerEvent>,
    known: &mut Option<ServerId>,
) -> Ended {
    let alone = shared.coordinator.addresses.len() == 1;
    let mut until = Some(Instant::now() + shared.settings.hello_timeout);
    loop {
        let event = tokio::select! {
            () = shared.closed.cancelled() => return Ended::Closed,
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() && !alone => {
                return Ended::Lost;
            }
            event = events.recv() => event,
        };
        match event {
            Some(PeerEvent::Joined { server, resumed }) => {
                let resumed = resumed && known.as_ref() == Some(&server);
                *known = Some(server);
                until = None;
                // Also when it still knew us: what it relayed meanwhile is lost,
                // and the connections that this was for have ended there. Watchers
                // first: one that begins once calls can be made needs no second
                // snapshot.
                shared.watchers.restart();
                shared.connections.renew_path(&Path::Proxied, || {
                    shared.coordinator.set(peer, State::Joined);
                });
                shared.held.update(|table| table.joined(resumed));
            }
            Some(PeerEvent::Lost { reason }) => {
                tracing::warn!(address = peer.address(), %reason, "the coordinator is lost");
                shared.coordinator.set(peer, State::Apart);
                until = Some(Instant::now() + shared.settings.alive_timeout);
            }
            Some(PeerEvent::Refused(error)) => {
                tracing::warn!(
                    address = peer.address(),
                    "the coordinator refuses this client: {error}"
                );
                if alone {
                    shared.coordinator.set(peer, State::Refused(error));
                }
            }
            Some(PeerEvent::Request(request)) => shared.serve(request),
            Some(PeerEvent::Event { event: Event::Network(events), .. }) => {
                shared.held.update(|table| {
                    events.iter().for_each(|event| table.observe(&event.change));
                });
                shared.watchers.changes(&events);
            }
            Some(PeerEvent::Event {
                event: Event::Container { connections, epoch, missed, lengths },
                payload,
            }) => {
                let sent = Sent { epoch, missed, lengths: &lengths };
                shared.connections.deliver(&Path::Proxied, &connections, &sent, &payload);
            }
            // The thread of the bus is gone; nothing can be reached any more.
            None => return Ended::Closed,
        }
    }
}
