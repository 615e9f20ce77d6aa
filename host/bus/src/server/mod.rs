//! The listening side: a ROUTER behind its door.

mod commands;
mod frames;
mod original;
mod service;
mod sessions;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use hulynet_protocol::{Call, ClientId, ErrorKind, Event, Frame, NetworkError, Role};
use tokio::sync::oneshot;

pub(crate) use service::{BATCH, Service};

use crate::{
    ask::{Ask, To},
    bus::Thread,
    calls::Calls,
    counters::{Counters, Dropped},
    door::Link,
    exchange::busy,
    lane::{Command, Lane},
    original::OriginalRequest,
    request::Request,
    response::Response,
    wire::{Draft, Outgoing},
};

/// What a server hands to its service, in the order in which a peer sent it.
/// Requests that find the service too slow get `Busy`, signs of life are left
/// out then, and events disconnect their peer, so that none is lost in
/// silence; joining and leaving are always told.
#[derive(Debug)]
pub enum Incoming {
    /// A peer said hello.
    Joined {
        /// Who.
        peer: ClientId,
        /// What it is; one that speaks the language of the original does not
        /// say, and counts as a client.
        role: Role,
        /// What it speaks.
        language: Language,
        /// Its lease.
        alive_timeout: Duration,
        /// Its session went on (same client id, new connection).
        resumed: bool,
    },
    /// A ping arrived: the peer's leases are renewed.
    Alive(ClientId),
    /// A peer asks something.
    Request(Request),
    /// A peer asks something in the language of the original.
    Original(OriginalRequest),
    /// A peer tells something.
    Event {
        /// Who.
        peer: ClientId,
        /// What.
        event: Event,
        /// Its payload.
        payload: Bytes,
    },
    /// The peer said goodbye (`lost` false) or was silent for its alive
    /// timeout (`lost` true). Comes once per session.
    Left {
        /// Who.
        peer: ClientId,
        /// Silent rather than closed.
        lost: bool,
    },
}

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// The native frames.
    Native,
    /// Those of the original network.
    Original,
}

/// How a client is reached now.
#[derive(Debug)]
pub(crate) struct Contact {
    session: u64,
    link: Arc<Link>,
    /// Numbers the requests of its session.
    calls: Arc<Calls>,
}

/// The clients that are connected now and speak one language.
#[derive(Debug)]
pub(crate) struct Directory<T>(Mutex<HashMap<ClientId, Arc<T>>>);

impl<T> Default for Directory<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Directory<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<ClientId, Arc<T>>> {
        // Nothing panics while it is held, and a map is always whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, peer: &ClientId) -> Result<Arc<T>, NetworkError> {
        self.lock().get(peer).cloned().ok_or_else(|| {
            NetworkError::not_processed(ErrorKind::Unavailable, format!("{peer} is not connected"))
        })
    }
}

/// A listening ROUTER. Cheap to clone; without [`Self::close`] it ends with
/// its last clone.
#[derive(Clone, Debug)]
pub struct Server(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    address: SocketAddr,
    lane: Lane,
    directory: Arc<Directory<Contact>>,
    originals: Arc<Directory<Link>>,
    /// The last number of a request in the language of the original.
    asked: AtomicU64,
    counters: Arc<Counters>,
    /// Keeps the thread of the socket.
    _thread: Arc<Thread>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A closed lane has ended already.
        let _ended = self.lane.send(Command::End);
    }
}

impl Server {
    pub(crate) fn new(
        address: SocketAddr,
        lane: Lane,
        directory: Arc<Directory<Contact>>,
        originals: Arc<Directory<Link>>,
        counters: Arc<Counters>,
        thread: Arc<Thread>,
    ) -> Self {
        let asked = AtomicU64::new(0);
        let _thread = thread;
        Self(Arc::new(Handle { address, lane, directory, originals, asked, counters, _thread }))
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// What had no effect so far.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.0.counters.read()
    }

    /// Asks a peer that said hello, at once; ends with the answer, its loss, or the
    /// timeout. Dropping the future cancels. The timeout is for the beginning
    /// of an answer; a stream goes on after it.
    ///
    /// # Errors
    /// What the peer answers; `Unavailable` when it is unknown or reconnecting
    /// now, and, maybe processed, when its session ended meanwhile; `DeadlineExceeded`; `Busy` and `TooLarge` before sending.
    pub fn call(
        &self,
        peer: &ClientId,
        call: Call,
        payload: Bytes,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response, NetworkError>> + Send + use<> {
        let begun = self.begin(peer, call, payload, timeout);
        async move { begun?.end(timeout).await }
    }

    fn begin(
        &self,
        peer: &ClientId,
        call: Call,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Ask, NetworkError> {
        let contact = self.0.directory.get(peer)?;
        let Contact { session, link, calls } = &*contact;
        let draft = Draft::new(call, payload, timeout)?;
        let cost = draft.cost();
        // Before the door can have written it: what is taken off an account
        // first and put on it later would stay there for ever.
        link.account.add(cost);
        let to = To { to: link.number, session: *session };
        Ask::begin(&self.0.lane, &link.account, calls, to, draft)
            .inspect_err(|_| link.account.sub(cost))
    }

    /// Sends an event; never waits.
    ///
    /// # Errors
    /// `Busy` when too much waits to be sent to the peer, `Unavailable` when
    /// it is unknown or reconnecting, `TooLarge`.
    pub fn event(&self, peer: &ClientId, event: Event, payload: Bytes) -> Result<(), NetworkError> {
        let link = &self.0.directory.get(peer)?.link;
        self.send_event(link, || Outgoing::new(&Frame::Event(event), payload))
    }

    /// Sends one event without a payload to many peers, encoded once; never
    /// waits. Gives those that it could not be sent to, with the errors of
    /// [`Self::event`].
    pub fn broadcast(&self, peers: &[ClientId], event: Event) -> Vec<(ClientId, NetworkError)> {
        let message = Outgoing::new(&Frame::Event(event), Bytes::new());
        let send = |peer: &ClientId| {
            let link = &self.0.directory.get(peer)?.link;
            self.send_event(link, || message.clone())
        };
        peers.iter().filter_map(|peer| Some((peer.clone(), send(peer).err()?))).collect()
    }

    fn send_event(
        &self,
        link: &Link,
        message: impl FnOnce() -> Result<Outgoing, NetworkError>,
    ) -> Result<(), NetworkError> {
        if !link.account.takes_events() {
            return Err(busy("too much waits to be sent to this peer"));
        }
        let message = message()?;
        link.account.add(message.cost());
        let command = Command::Event { connection: link.number, message };
        self.0.lane.send(command).map_err(|_| crate::ask::unsent())
    }

    /// Forgets a peer: its pending calls end, its next frame gets ask-hello.
    pub fn forget(&self, peer: &ClientId) {
        // A closed lane has forgotten everybody.
        let _ended = self.0.lane.send(Command::Forget(peer.clone()));
    }

    /// Stops accepting, lets requests in progress and their answers end,
    /// closes. Ends within the deadline.
    pub async fn close(&self, deadline: Duration) {
        let (done, end) = oneshot::channel();
        if self.0.lane.send(Command::Close { deadline, done }).is_ok() {
            // Dropped unsent means closed as well.
            let _closed = end.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::ServerId;

    use super::*;
    use crate::{Bus, PeerConfig, PeerEvent, ServerConfig, wire::ENCODED};

    const PEERS: usize = 5;

    #[tokio::test]
    async fn an_event_for_many_peers_is_encoded_once() {
        let config = ServerConfig { role: Role::Coordinator, id: ServerId::random() };
        let (near, far) = (Bus::start("near").unwrap(), Bus::start("far").unwrap());
        let (server, _incoming) = near.bind("127.0.0.1:0", config).await.unwrap();
        let address = server.local_addr().to_string();
        let mut all = Vec::new();
        for _ in 0..PEERS {
            let name = ClientId::random();
            let (peer, mut events) =
                far.connect(&address, PeerConfig::new(name.clone(), Role::Client));
            assert!(matches!(events.recv().await, Some(PeerEvent::Joined { .. })));
            all.push((name, peer, events));
        }
        let names: Vec<_> = all.iter().map(|(name, ..)| name.clone()).collect();
        let before = ENCODED.get();
        assert!(server.broadcast(&names, Event::Network(Vec::new())).is_empty());
        assert_eq!(ENCODED.get() - before, 1);
        for (_, _, events) in &mut all {
            let told = events.recv().await;
            assert!(matches!(told, Some(PeerEvent::Event { event: Event::Network(_), .. })));
        }
    }
}
