//! Changes of the registry, in order.

use serde::{Deserialize, Serialize};

use crate::{AgentId, AgentRecord, ContainerId, ContainerRecord, Epoch};

/// One change of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// An agent joined.
    AgentAdded(AgentRecord),
    /// An agent serves other kinds or has another address.
    AgentUpdated(AgentRecord),
    /// An agent left or was lost.
    AgentRemoved(AgentId),
    /// A container runs that did not before.
    ContainerAdded(ContainerRecord),
    /// A container moved or runs again: it has a new endpoint or epoch. One
    /// that ran nowhere when a watcher's snapshot was made is not in it, so the
    /// watcher learns of it by this.
    ContainerUpdated(ContainerRecord),
    /// A container ended. Like an update, it may be news of one that the
    /// snapshot did not contain.
    ContainerRemoved {
        /// Its identity.
        id: ContainerId,
        /// The activation that ended.
        epoch: Epoch,
    },
}

/// A change and its place in the order of all changes.
///
/// Every change of one server run has a revision, one higher than that of the
/// change before. Changes that happen within a short while travel as one batch,
/// in which several updates of one agent or container may become one, told in
/// the place of the last. So the revisions of a batch may skip some; `since`
/// tells that nothing is missing: what came after it and is not told was
/// superseded within the batch. A removal is never left out, and what comes
/// after one is never merged with what came before it.
///
/// Who has seen everything up to revision R takes an event with `since <= R <
/// revision`, ignores one with `revision <= R`, and otherwise missed something
/// and asks for a fresh [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkEvent {
    /// The place of the event that was told before it, 0 for the first one.
    pub since: u64,
    /// Its place, from 1.
    pub revision: u64,
    /// What changed.
    pub change: Change,
}

/// The whole registry at one revision: the events that follow begin with the
/// next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last change that it contains.
    pub revision: u64,
    /// All agents.
    pub agents: Vec<AgentRecord>,
    /// All running containers.
    pub containers: Vec<ContainerRecord>,
}
