//! Changes in order of their revision, and who wants to hear of them.

use std::collections::BTreeSet;

use hulynet_protocol::{Change, ClientId, NetworkEvent};

/// The numbering of changes and the set of watchers.
#[derive(Debug, Default)]
pub(crate) struct Events {
    revision: u64,
    watchers: BTreeSet<ClientId>,
    /// The driver wants to hear of everything.
    observed: bool,
    /// Since the last batch.
    pending: Vec<NetworkEvent>,
}

impl Events {
    /// Numbers a change and keeps it for the next batch.
    pub(crate) fn push(&mut self, change: Change) {
        self.revision += 1;
        if self.observed || !self.watchers.is_empty() {
            self.pending.push(NetworkEvent { revision: self.revision, change });
        }
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
    }

    /// What there is to tell, and whom.
    pub(crate) fn batch(&mut self) -> Option<(Vec<ClientId>, Vec<NetworkEvent>)> {
        if self.pending.is_empty() {
            return None;
        }
        let events = std::mem::take(&mut self.pending);
        if self.watchers.is_empty() && !self.observed {
            return None;
        }
        Some((self.watchers.iter().cloned().collect(), events))
    }

    pub(crate) fn watchers(&self) -> impl Iterator<Item = &ClientId> {
        self.watchers.iter()
    }
}
