//! Which clients are connected to which containers.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    hash::Hash,
};

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{ClientId, ConnectionId, ErrorKind, NetworkError, Uuid};

use super::Table;

/// All connections. What one container or one client has of them is found
/// without a look at those of others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Connections {
    all: HashMap<ConnectionId, Attached>,
    of_containers: HashMap<Uuid, BTreeSet<ConnectionId>>,
    of_clients: HashMap<ClientId, BTreeSet<ConnectionId>>,
}

impl Connections {
    /// Notes one, unless its name is in use.
    fn begin(&mut self, id: ConnectionId, new: Attached) -> Result<Begun, NetworkError> {
        let attempt = new.attempt;
        match self.all.entry(id) {
            Entry::Vacant(free) => {
                let (uuid, peer) = (new.uuid.clone(), new.peer.clone());
                self.of_containers.entry(uuid).or_default().insert(free.key().clone());
                self.of_clients.entry(peer).or_default().insert(free.key().clone());
                free.insert(new);
                Ok(Begun { attempt, again: false })
            }
            Entry::Occupied(mut own)
                if own.get().peer == new.peer && own.get().uuid == new.uuid =>
            {
                own.get_mut().attempt = attempt;
                Ok(Begun { attempt, again: true })
            }
            Entry::Occupied(taken) => Err(NetworkError::not_processed(
                ErrorKind::Busy,
                format!(
                    "the connection {} exists still; try again, or name each one differently",
                    taken.key()
                ),
            )),
        }
    }

    fn end(&mut self, id: &ConnectionId) -> Option<Attached> {
        let ended = self.all.remove(id)?;
        leave(&mut self.of_containers, &ended.uuid, id);
        leave(&mut self.of_clients, &ended.peer, id);
        Some(ended)
    }

    /// Ends those of a container.
    pub(super) fn end_all_of(&mut self, uuid: &Uuid) {
        for id in self.of_containers.remove(uuid).into_iter().flatten() {
            self.end(&id);
        }
    }
}

/// One less of a container or a client; nothing is kept of one without any.
fn leave<K: Eq + Hash>(all: &mut HashMap<K, BTreeSet<ConnectionId>>, of: &K, id: &ConnectionId) {
    if let Some(theirs) = all.get_mut(of) {
        theirs.remove(id);
        if theirs.is_empty() {
            all.remove(of);
        }
    }
}

/// Which container a connection leads to, and whose it is.
#[derive(Debug, PartialEq, Eq)]
struct Attached {
    uuid: Uuid,
    peer: ClientId,
    attempt: Attempt,
}

/// Tells the attempts to make one connection apart: a client makes it again
/// under its name while the attempt before is still ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt(u64);

/// An attempt that was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Names it.
    pub attempt: Attempt,
    /// The client had the connection already, from an attempt whose answer was
    /// lost: what the container has of that one must end first.
    pub again: bool,
}

impl<C: Clone> Table<C> {
    /// Notes a connection, before its container is asked.
    ///
    /// # Errors
    /// `Busy` when the name is in use by somebody else. That may be the same
    /// client on a way that it lost, which is free when its lease has ended.
    pub fn attach(
        &mut self,
        connection: ConnectionId,
        uuid: Uuid,
        peer: ClientId,
    ) -> Result<Begun, NetworkError> {
        self.attempts += 1;
        let attempt = Attempt(self.attempts);
        self.connections.begin(connection, Attached { uuid, peer, attempt })
    }

    /// Whether a client has this connection.
    #[must_use]
    pub fn is_attached(&self, connection: &ConnectionId, peer: &ClientId) -> bool {
        self.connections.all.get(connection).is_some_and(|attached| attached.peer == *peer)
    }

    /// The container that a connection of a client leads to.
    #[must_use]
    pub fn attached_to(&self, connection: &ConnectionId, peer: &ClientId) -> Option<C> {
        let attached = self.connections.all.get(connection).filter(|own| own.peer == *peer)?;
        self.containers.get(&attached.uuid).map(|entry| entry.container.clone())
    }

    /// Who has which connection to a container.
    pub fn attached(&self, uuid: &Uuid) -> impl Iterator<Item = (&ConnectionId, &ClientId)> {
        let theirs = self.connections.of_containers.get(uuid).into_iter().flatten();
        theirs.filter_map(|id| Some((id, &self.connections.all.get(id)?.peer)))
    }

    /// An attempt failed. Answers whether nobody has the connection now, so that
    /// what its container has of it must end; not so when its client made it again
    /// meanwhile.
    pub fn attach_failed(&mut self, connection: &ConnectionId, attempt: Attempt) -> bool {
        let latest = self.connections.all.get(connection).map(|attached| attached.attempt);
        if latest == Some(attempt) {
            self.connections.end(connection);
        }
        latest.is_none_or(|latest| latest == attempt)
    }

    /// Ends a connection of a client; answers the container that it led to.
    pub fn detach(&mut self, connection: &ConnectionId, peer: &ClientId) -> Option<C> {
        if self.connections.all.get(connection)?.peer != *peer {
            return None;
        }
        let attached = self.connections.end(connection)?;
        self.containers.get(&attached.uuid).map(|entry| entry.container.clone())
    }

    /// All connections of a client, which is gone.
    pub fn detach_all(&mut self, peer: &ClientId) -> Vec<(ConnectionId, C)> {
        if mutant(Mutant::LeakedSubscribers) {
            return Vec::new();
        }
        let theirs = self.connections.of_clients.get(peer).cloned().unwrap_or_default();
        theirs.into_iter().filter_map(|id| Some((id.clone(), self.detach(&id, peer)?))).collect()
    }
}
