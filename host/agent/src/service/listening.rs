//! What clients of the original network listen to, and how they hear it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use hulynet_backrpc::{json, records};
use hulynet_bus::Server;
use hulynet_protocol::{ClientId, ConnectionId, Uuid};

/// Containers that one client may listen to.
pub(super) const LISTENED: usize = 4096;

/// The way to one client that listens to one container.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) container: Uuid,
    pub(super) server: Server,
    pub(super) peer: ClientId,
    pub(super) broadcasts: Arc<Broadcasts>,
}

impl Listener {
    /// Sends what the container broadcast, and whether the client missed something
    /// before it. What is not JSON has no form in this language and is left out.
    pub(super) fn tell(&self, missed: bool, payload: &Bytes) {
        if missed {
            self.server.original_missed(&self.peer);
        }
        if let Some(body) = self.broadcasts.write(&self.container, payload) {
            self.server.tell_original(&self.peer, body);
        }
    }
}

/// Broadcasts that are kept as they were written.
const KEPT: usize = 16;

/// Writes what containers broadcast: once for all clients, because the same
/// payload is delivered to one after the other. The last ones are kept, for
/// clients that are a little behind the others.
#[derive(Debug, Default)]
pub(super) struct Broadcasts(Mutex<VecDeque<Written>>);

#[cfg(test)]
thread_local! {
    /// How many broadcasts this thread wrote.
    pub(super) static WRITTEN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[derive(Debug)]
struct Written {
    container: Uuid,
    /// Kept, so that its address is no other's.
    payload: Bytes,
    body: Option<Bytes>,
}

impl Broadcasts {
    /// The event for a payload; `None` when it is not JSON.
    fn write(&self, container: &Uuid, payload: &Bytes) -> Option<Bytes> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |written: &&Written| {
            written.container == *container
                && written.payload.as_ptr() == payload.as_ptr()
                && written.payload.len() == payload.len()
        };
        if let Some(written) = kept.iter().find(same) {
            return written.body.clone();
        }
        #[cfg(test)]
        WRITTEN.set(WRITTEN.get() + 1);
        let body = match json::payload(payload) {
            Ok(data) => Some(records::write_broadcast(container, &data)),
            Err(why) => {
                tracing::debug!(%container, %why, "a broadcast is no JSON and is left out");
                None
            }
        };
        let (container, payload) = (container.clone(), payload.clone());
        kept.truncate(KEPT - 1);
        kept.push_front(Written { container, payload, body: body.clone() });
        body
    }
}

/// Who listens to which container, whether it is here or not; and the name of
/// the connection that is made when it is.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    by_container: BTreeMap<Uuid, BTreeMap<ClientId, ConnectionId>>,
    by_peer: BTreeMap<ClientId, BTreeSet<Uuid>>,
    /// Who is to be connected again to a container that took nobody.
    refused: BTreeSet<(ClientId, Uuid)>,
}

impl Listeners {
    /// A client said hello.
    pub(super) fn joined(&mut self, peer: ClientId) {
        self.by_peer.entry(peer).or_default();
    }

    /// The names of the connections to all of these; `None` when that were more
    /// than the client may listen to, or it is gone, and then nothing is noted.
    pub(super) fn add(
        &mut self,
        peer: &ClientId,
        uuids: &BTreeSet<Uuid>,
    ) -> Option<BTreeMap<Uuid, ConnectionId>> {
        let theirs = self.by_peer.get_mut(peer)?;
        if theirs.union(uuids).nth(LISTENED).is_some() {
            return None;
        }
        theirs.extend(uuids.iter().cloned());
        let named = uuids.iter().map(|uuid| {
            let all = self.by_container.entry(uuid.clone()).or_default();
            let name = all.entry(peer.clone()).or_insert_with(ConnectionId::random);
            (uuid.clone(), name.clone())
        });
        Some(named.collect())
    }

    /// The client does not listen any more; the name of the connection, if it
    /// did.
    pub(super) fn remove(&mut self, peer: &ClientId, uuid: &Uuid) -> Option<ConnectionId> {
        if let Some(theirs) = self.by_peer.get_mut(peer) {
            theirs.remove(uuid);
        }
        let all = self.by_container.get_mut(uuid)?;
        let connection = all.remove(peer);
        if all.is_empty() {
            self.by_container.remove(uuid);
        }
        connection
    }

    /// Whether the client listens to a container, by this connection.
    pub(super) fn has(&self, peer: &ClientId, uuid: &Uuid, connection: &ConnectionId) -> bool {
        self.by_container.get(uuid).and_then(|all| all.get(peer)) == Some(connection)
    }

    /// A container did not take a client that listens to it, but may soon.
    pub(super) fn refused(&mut self, peer: &ClientId, uuid: &Uuid, connection: &ConnectionId) {
        if self.has(peer, uuid, connection) {
            self.refused.insert((peer.clone(), uuid.clone()));
        }
    }

    /// Who was refused since this was last asked and listens still, by what it listens
    /// to, and the names of their connections.
    pub(super) fn take_refused(&mut self) -> BTreeMap<Uuid, BTreeMap<ClientId, ConnectionId>> {
        let mut refused: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (peer, uuid) in std::mem::take(&mut self.refused) {
            let connection = self.by_container.get(&uuid).and_then(|all| all.get(&peer));
            if let Some(connection) = connection {
                refused.entry(uuid).or_default().insert(peer, connection.clone());
            }
        }
        refused
    }

    /// A client is gone.
    pub(super) fn forget(&mut self, peer: &ClientId) {
        for uuid in self.by_peer.remove(peer).unwrap_or_default() {
            self.remove(peer, &uuid);
        }
    }

    /// Who listens to a container, and the names of their connections.
    pub(super) fn of(&self, uuid: &Uuid) -> BTreeMap<ClientId, ConnectionId> {
        self.by_container.get(uuid).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> ClientId {
        ClientId::new(name).unwrap()
    }

    fn uuid(name: &str) -> Uuid {
        Uuid::new(name).unwrap()
    }

    #[test]
    fn a_broadcast_is_written_once_for_all_who_listen() {
        let broadcasts = Broadcasts::default();
        let payload = Bytes::from_static(b"{\"evt\":1}");
        let first = broadcasts.write(&uuid("c"), &payload).unwrap();
        assert_eq!(first, "[\"c\",{\"evt\":1}]");
        let second = broadcasts.write(&uuid("c"), &payload).unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
        let other = broadcasts.write(&uuid("d"), &payload).unwrap();
        assert_eq!(other, "[\"d\",{\"evt\":1}]");
        assert_eq!(broadcasts.write(&uuid("c"), &Bytes::from_static(b"\xff")), None);
    }

    /// One more container that a client listens to.
    fn add(listeners: &mut Listeners, name: &str, container: &str) -> Option<ConnectionId> {
        listeners.add(&peer(name), &[uuid(container)].into())?.remove(&uuid(container))
    }

    #[test]
    fn nothing_of_a_client_that_is_gone_stays() {
        let mut listeners = Listeners::default();
        listeners.joined(peer("a"));
        listeners.joined(peer("b"));
        let first = add(&mut listeners, "a", "c");
        assert!(first.is_some() && add(&mut listeners, "a", "c") == first);
        let other = add(&mut listeners, "b", "c").unwrap();
        assert_ne!(first.as_ref(), Some(&other));
        assert!(listeners.has(&peer("b"), &uuid("c"), &other));
        assert!(!listeners.has(&peer("a"), &uuid("c"), &other));
        add(&mut listeners, "a", "d").unwrap();
        listeners.forget(&peer("a"));
        assert_eq!(listeners.of(&uuid("c")), BTreeMap::from([(peer("b"), other.clone())]));
        assert!(listeners.of(&uuid("d")).is_empty());
        let late = add(&mut listeners, "a", "c");
        assert_eq!(late, None, "what it asked came after its end");
        assert_eq!(listeners.remove(&peer("b"), &uuid("c")), Some(other.clone()));
        assert!(!listeners.has(&peer("b"), &uuid("c"), &other));
        assert_eq!(listeners.remove(&peer("b"), &uuid("c")), None);
        assert!(listeners.by_container.is_empty());
        listeners.refused(&peer("b"), &uuid("c"), &other);
        assert!(listeners.refused.is_empty());
    }

    #[test]
    fn who_was_refused_and_listens_still_is_told_once() {
        let mut listeners = Listeners::default();
        listeners.joined(peer("a"));
        let [first, second] = ["c", "d"].map(|container| {
            let name = add(&mut listeners, "a", container).unwrap();
            listeners.refused(&peer("a"), &uuid(container), &name);
            name
        });
        listeners.remove(&peer("a"), &uuid("d"));
        let refused = BTreeMap::from([(uuid("c"), BTreeMap::from([(peer("a"), first)]))]);
        assert_eq!(listeners.take_refused(), refused);
        assert!(listeners.take_refused().is_empty());
        assert!(!listeners.has(&peer("a"), &uuid("d"), &second));
    }

    #[test]
    fn what_one_client_listens_to_is_bounded_and_noted_whole_or_not_at_all() {
        let mut listeners = Listeners::default();
        listeners.joined(peer("a"));
        listeners.joined(peer("b"));
        let many = |from, to| (from..to).map(|number: usize| uuid(&number.to_string())).collect();
        assert!(listeners.add(&peer("a"), &many(0, LISTENED - 1)).is_some());
        assert!(listeners.add(&peer("a"), &many(LISTENED - 1, LISTENED + 1)).is_none());
        assert!(listeners.of(&uuid(&(LISTENED - 1).to_string())).is_empty());
        assert!(listeners.add(&peer("a"), &many(0, LISTENED)).is_some());
        assert_eq!(add(&mut listeners, "a", "more"), None);
        assert!(add(&mut listeners, "b", "more").is_some());
    }
}
