//! Events, in batches: every batch is written once for all peers.

use bytes::Bytes;
use hulynet_backrpc::records::{AgentEvent, Change as Told, ContainerEvent, write};
use hulynet_protocol::{AgentId, AgentRecord, Change, ContainerRecord, NetworkEvent};

use super::Desk;
use crate::registry::{Registry, Time};

impl Desk {
    /// Takes in what the registry tells.
    pub fn observe(&mut self, now: Time, registry: &Registry, events: &[NetworkEvent]) {
        if !self.listens {
            return;
        }
        self.now = now;
        for event in events {
            match &event.change {
                Change::AgentAdded(record) => self.agent(record, Told::Added),
                Change::AgentUpdated(record) => self.agent(record, Told::Updated),
                Change::AgentRemoved(agent) => self.agent_removed(agent),
                Change::ContainerAdded(record) => self.container(registry, record, Told::Added),
                Change::ContainerUpdated(record) => self.container(registry, record, Told::Updated),
                Change::ContainerRemoved { id, .. } => {
                    self.references.remove(&id.uuid);
                    if let Some(known) = self.containers.remove(&id.uuid) {
                        let (container, event) = (known.record, Told::Removed);
                        self.events.containers.push(ContainerEvent { container, event });
                    }
                }
            }
        }
    }

    /// What there is to tell everybody, since the last time.
    pub fn flush(&mut self) -> Option<Bytes> {
        if self.events.is_empty() {
            return None;
        }
        Some(write(&std::mem::take(&mut self.events)))
    }

    /// Whether there is something to tell.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.events.is_empty()
    }

    fn agent(&mut self, record: &AgentRecord, event: Told) {
        let (id, kinds) = (record.endpoint.agent.clone(), self.learn_agent(record));
        let told = AgentEvent { id, kinds, event };
        // A registration was told already.
        if self.events.agents.last() != Some(&told) {
            self.events.agents.push(told);
        }
    }

    fn container(&mut self, registry: &Registry, record: &ContainerRecord, event: Told) {
        let container = self.learn_container(record, registry.extra(&record.id.uuid));
        self.events.containers.push(ContainerEvent { container, event });
    }

    /// Agents of the original take a singleton over when they hear that it is
    /// gone; so they are told, even when it is being started elsewhere.
    fn agent_removed(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.remove(id) else { return };
        let (id, kinds, event) = (id.clone(), agent.kinds, Told::Removed);
        for uuid in agent.original.iter().flat_map(|original| &original.brought) {
            let others = self.agents.values().filter_map(|agent| agent.original.as_ref());
            let has_standby = others.into_iter().any(|other| other.brought.contains(uuid));
            if let Some(known) = self.containers.get(uuid).filter(|known| known.agent == id)
                && has_standby
            {
                let (container, event) = (known.record.clone(), Told::Removed);
                self.events.containers.push(ContainerEvent { container, event });
            }
        }
        self.events.agents.push(AgentEvent { id, kinds, event });
    }
}
