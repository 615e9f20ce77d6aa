//! Which containers an agent runs, and who may talk to them. Pure: it decides,
//! the service acts.
//!
//! An epoch tells activations of one container apart. Calls that name another
//! one than the live one are refused, so a late message never reaches the
//! wrong activation.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use hulynet_protocol::{
    Activation, ClientId, ConnectionId, ContainerId, Epoch, ErrorKind, NetworkError, Target, Uuid,
};

/// The containers of an agent; `C` is how one is reached.
#[derive(Debug)]
pub(crate) struct Table<C> {
    containers: BTreeMap<Uuid, Running<C>>,
    connections: BTreeMap<ConnectionId, Attached>,
    /// The most that may run at a time.
    capacity: usize,
    /// The highest term of a coordinator that was obeyed.
    term: u64,
    fenced: bool,
    closed: bool,
}

#[derive(Debug)]
struct Running<C> {
    activation: Activation,
    container: C,
}

/// A container that may be talked to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Located<C> {
    pub(crate) container: C,
    pub(crate) epoch: Epoch,
}

/// Which container a connection leads to, and whose it is.
#[derive(Debug)]
struct Attached {
    uuid: Uuid,
    peer: ClientId,
}

/// What to do with an order to start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision<C> {
    /// Start it.
    Start,
    /// The same activation is there: an order that came twice.
    Running(C),
    /// An older activation must end first.
    Replace(C),
}

impl<C: Clone> Table<C> {
    /// None yet.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            containers: BTreeMap::new(),
            connections: BTreeMap::new(),
            capacity,
            term: 0,
            fenced: false,
            closed: false,
        }
    }

    /// Decides about an order to start.
    ///
    /// # Errors
    /// `StaleEpoch` for an order that is older than what runs or than the
    /// coordinator that was obeyed last, `Busy` when there is no room,
    /// `Unavailable` while fenced.
    pub(crate) fn decide(
        &self,
        id: &ContainerId,
        epoch: Epoch,
    ) -> Result<Decision<C>, NetworkError> {
        self.check_fence()?;
        if epoch.term < self.term {
            return Err(stale(id, epoch, Epoch { term: self.term, counter: 0 }));
        }
        match self.containers.get(&id.uuid) {
            Some(entry) if entry.activation.epoch > epoch => {
                Err(stale(id, epoch, entry.activation.epoch))
            }
            Some(entry) if entry.activation.epoch == epoch => {
                Ok(Decision::Running(entry.container.clone()))
            }
            Some(entry) => Ok(Decision::Replace(entry.container.clone())),
            None if self.containers.len() >= self.capacity => Err(NetworkError::not_processed(
                ErrorKind::Busy,
                format!("the agent runs {} containers and has no room for more", self.capacity),
            )),
            None => Ok(Decision::Start),
        }
    }

    /// A container was begun.
    pub(crate) fn insert(&mut self, activation: Activation, container: C) {
        self.term = self.term.max(activation.epoch.term);
        self.containers.insert(activation.id.uuid.clone(), Running { activation, container });
    }

    /// An activation ended; answers whether it was there.
    pub(crate) fn remove(&mut self, id: &ContainerId, epoch: Epoch) -> bool {
        if self.containers.get(&id.uuid).is_none_or(|entry| entry.activation.epoch != epoch) {
            return false;
        }
        self.containers.remove(&id.uuid);
        self.connections.retain(|_, attached| attached.uuid != id.uuid);
        true
    }

    /// Takes an activation out that must not be talked to any more; it ends by
    /// itself.
    pub(crate) fn expel(&mut self, id: &ContainerId, epoch: Epoch) -> Option<C> {
        let container = self.find(&Target { id: id.clone(), epoch: Some(epoch) })?;
        self.remove(id, epoch);
        Some(container)
    }

    /// Finds the addressee of a call.
    ///
    /// # Errors
    /// `UnknownContainer`, `StaleEpoch`, `Unavailable` while fenced; the call
    /// was not processed.
    pub(crate) fn locate(&self, target: &Target) -> Result<Located<C>, NetworkError> {
        self.check_fence()?;
        let entry = self
            .containers
            .get(&target.id.uuid)
            .filter(|entry| entry.activation.id == target.id)
            .ok_or_else(|| {
                NetworkError::not_processed(
                    ErrorKind::UnknownContainer,
                    format!(
                        "the container {} does not run on this agent; ask for it again",
                        target.id
                    ),
                )
            })?;
        let live = entry.activation.epoch;
        match target.epoch {
            Some(epoch) if epoch != live => Err(stale(&target.id, epoch, live)),
            _ => Ok(Located { container: entry.container.clone(), epoch: live }),
        }
    }

    /// Notes a connection, before its container is asked. Answers whether the
    /// client has it already, from an attempt whose answer was lost: it begins
    /// anew.
    ///
    /// # Errors
    /// `Busy` when the name is in use by somebody else. That may be the same
    /// client on a way that it lost, which is free when its lease has ended.
    pub(crate) fn attach(
        &mut self,
        connection: ConnectionId,
        uuid: Uuid,
        peer: ClientId,
    ) -> Result<bool, NetworkError> {
        match self.connections.entry(connection) {
            Entry::Vacant(free) => {
                free.insert(Attached { uuid, peer });
                Ok(false)
            }
            Entry::Occupied(own) if own.get().peer == peer && own.get().uuid == uuid => Ok(true),
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
    pub(crate) fn is_attached(&self, connection: &ConnectionId, peer: &ClientId) -> bool {
        self.connections.get(connection).is_some_and(|attached| attached.peer == *peer)
    }

    /// Ends a connection of a client; answers the container that it led to.
    pub(crate) fn detach(&mut self, connection: &ConnectionId, peer: &ClientId) -> Option<C> {
        if self.connections.get(connection)?.peer != *peer {
            return None;
        }
        let attached = self.connections.remove(connection)?;
        self.containers.get(&attached.uuid).map(|entry| entry.container.clone())
    }

    /// All connections of a client, which is gone.
    pub(crate) fn detach_all(&mut self, peer: &ClientId) -> Vec<(ConnectionId, C)> {
        let theirs: BTreeSet<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, attached)| attached.peer == *peer)
            .map(|(id, _)| id.clone())
            .collect();
        theirs.into_iter().filter_map(|id| Some((id.clone(), self.detach(&id, peer)?))).collect()
    }

    /// Whether it serves: it must not while a coordinator may have given its
    /// containers to somebody else.
    pub(crate) fn fence(&mut self, fenced: bool) {
        self.fenced = fenced;
    }

    /// Stops serving for good.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// An activation that runs, fenced or not.
    pub(crate) fn find(&self, target: &Target) -> Option<C> {
        let entry = self.containers.get(&target.id.uuid)?;
        let same = entry.activation.id == target.id
            && target.epoch.is_none_or(|epoch| epoch == entry.activation.epoch);
        same.then(|| entry.container.clone())
    }

    /// What runs.
    pub(crate) fn activations(&self) -> Vec<Activation> {
        self.containers.values().map(|entry| entry.activation.clone()).collect()
    }

    /// All containers.
    pub(crate) fn all(&self) -> Vec<C> {
        self.containers.values().map(|entry| entry.container.clone()).collect()
    }

    fn check_fence(&self) -> Result<(), NetworkError> {
        let reason = match (self.closed, self.fenced) {
            (true, _) => "the agent is shutting down",
            (_, true) => "the agent lost its coordinator, so its containers may live elsewhere",
            (false, false) => return Ok(()),
        };
        Err(NetworkError::not_processed(ErrorKind::Unavailable, reason))
    }
}

fn stale(id: &ContainerId, named: Epoch, live: Epoch) -> NetworkError {
    NetworkError::not_processed(
        ErrorKind::StaleEpoch,
        format!(
            "the epoch {named} of the container {id} is not the live one, {live}; ask for it again"
        ),
    )
}

#[cfg(test)]
mod tests;
