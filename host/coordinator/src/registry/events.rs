//! Changes in order of their revision, and who wants to hear of them.
//!
//! A change that comes alone is told at once. Those that follow within
//! [`BATCH`] travel together, so that a storm costs every watcher one message
//! for each such while and not one for each change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use hulynet_protocol::{AgentId, Change, ClientId, ContainerId, NetworkEvent};

use super::time::Time;

/// The longest that a change waits for others to travel with.
pub(crate) const BATCH: Duration = Duration::from_millis(20);

/// What an update is about.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Subject {
    Agent(AgentId),
    Container(ContainerId),
}

/// The numbering of changes and the set of watchers.
#[derive(Debug, Default)]
pub(crate) struct Events {
    revision: u64,
    /// The last change that was told, or that there was nobody to tell of.
    told: u64,
    watchers: BTreeSet<ClientId>,
    /// The driver wants to hear of everything.
    observed: bool,
    /// The changes of the next batch, by revision.
    pending: BTreeMap<u64, Change>,
    /// The update of the next batch that a further one would supersede; never
    /// walked.
    updates: HashMap<Subject, u64>,
    /// No batch is told before.
    rests_until: Time,
}

impl Events {
    /// Numbers a change and keeps it for the next batch.
    pub(crate) fn push(&mut self, change: Change) {
        if !self.are_watched() {
            return self.pass();
        }
        self.revision += 1;
        let superseded = match &change {
            Change::AgentUpdated(record) => {
                let subject = Subject::Agent(record.endpoint.agent.clone());
                self.updates.insert(subject, self.revision)
            }
            Change::ContainerUpdated(record) => {
                self.updates.insert(Subject::Container(record.id.clone()), self.revision)
            }
            // Updates before it and after it are not merged.
            Change::AgentAdded(record) => {
                self.updates.remove(&Subject::Agent(record.endpoint.agent.clone()));
                None
            }
            Change::AgentRemoved(id) => {
                self.updates.remove(&Subject::Agent(id.clone()));
                None
            }
            Change::ContainerAdded(record) => {
                self.updates.remove(&Subject::Container(record.id.clone()));
                None
            }
            Change::ContainerRemoved { id, .. } => {
                self.updates.remove(&Subject::Container(id.clone()));
                None
            }
        };
        if let Some(superseded) = superseded {
            self.pending.remove(&superseded);
        }
        self.pending.insert(self.revision, change);
    }

    /// Numbers a change that nobody watches.
    pub(crate) fn pass(&mut self) {
        self.revision += 1;
        self.told = self.revision;
    }

    pub(crate) fn are_watched(&self) -> bool {
        self.observed || !self.watchers.is_empty()
    }

    /// The last change's number.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The driver hears of everything from here on.
    pub(crate) fn observe(&mut self) {
        self.observed = true;
    }

    pub(crate) fn watch(&mut self, client: ClientId) {
        self.watchers.insert(client);
    }

    pub(crate) fn unwatch(&mut self, client: &ClientId) {
        self.watchers.remove(client);
        if !self.are_watched() {
            self.pending.clear();
            self.updates.clear();
            self.told = self.revision;
        }
    }

    /// What was not told yet, in order.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Change> {
        self.pending.values()
    }

    /// When the next batch is to be told.
    pub(crate) fn due(&self) -> Option<Time> {
        (!self.pending.is_empty()).then_some(self.rests_until)
    }

    /// The batch that is due, and whom to tell.
    pub(crate) fn batch(&mut self, now: Time) -> Option<(Vec<ClientId>, Vec<NetworkEvent>)> {
        if self.due()? > now {
            return None;
        }
        self.rests_until = now + BATCH;
        self.updates.clear();
        let mut events = Vec::with_capacity(self.pending.len());
        for (revision, change) in std::mem::take(&mut self.pending) {
            let since = std::mem::replace(&mut self.told, revision);
            events.push(NetworkEvent { since, revision, change });
        }
        Some((self.watchers.iter().cloned().collect(), events))
    }

    pub(crate) fn watchers(&self) -> impl Iterator<Item = &ClientId> {
        self.watchers.iter()
    }
}
