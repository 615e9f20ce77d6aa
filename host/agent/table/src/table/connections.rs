//! Which clients are connected to which containers.

use std::collections::btree_map::Entry;

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{ClientId, ConnectionId, ErrorKind, NetworkError, Uuid};

use super::Table;

/// Which container a connection leads to, and whose it is.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) uuid: Uuid,
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
        match self.connections.entry(connection) {
            Entry::Vacant(free) => {
                free.insert(Attached { uuid, peer, attempt });
                Ok(Begun { attempt, again: false })
            }
            Entry::Occupied(mut own) if own.get().peer == peer && own.get().uuid == uuid => {
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

    /// Whether a client has this connection.
    #[must_use]
    pub fn is_attached(&self, connection: &ConnectionId, peer: &ClientId) -> bool {
        self.connections.get(connection).is_some_and(|attached| attached.peer == *peer)
    }

    /// The container that a connection of a client leads to.
    #[must_use]
    pub fn attached_to(&self, connection: &ConnectionId, peer: &ClientId) -> Option<C> {
        let attached = self.connections.get(connection).filter(|own| own.peer == *peer)?;
        self.containers.get(&attached.uuid).map(|entry| entry.container.clone())
    }

    /// Who has which connection to a container.
    pub fn attached(&self, uuid: &Uuid) -> impl Iterator<Item = (&ConnectionId, &ClientId)> {
        let there = |(_, attached): &(_, &Attached)| attached.uuid == *uuid;
        self.connections.iter().filter(there).map(|(id, attached)| (id, &attached.peer))
    }

    /// An attempt failed. Answers whether the connection ended with it; not so
    /// when its client made it again meanwhile.
    pub fn attach_failed(&mut self, connection: &ConnectionId, attempt: Attempt) -> bool {
        let latest = self.connections.get(connection).map(|attached| attached.attempt);
        let current = latest == Some(attempt);
        if current {
            self.connections.remove(connection);
        }
        current
    }

    /// Ends a connection of a client; answers the container that it led to.
    pub fn detach(&mut self, connection: &ConnectionId, peer: &ClientId) -> Option<C> {
        if self.connections.get(connection)?.peer != *peer {
            return None;
        }
        let attached = self.connections.remove(connection)?;
        self.containers.get(&attached.uuid).map(|entry| entry.container.clone())
    }

    /// All connections of a client, which is gone.
    pub fn detach_all(&mut self, peer: &ClientId) -> Vec<(ConnectionId, C)> {
        if mutant(Mutant::LeakedSubscribers) {
            return Vec::new();
        }
        let theirs: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, attached)| attached.peer == *peer)
            .map(|(id, _)| id.clone())
            .collect();
        theirs.into_iter().filter_map(|id| Some((id.clone(), self.detach(&id, peer)?))).collect()
    }
}
