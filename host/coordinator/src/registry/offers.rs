//! Singletons: containers that run as long as an agent offers them.
//!
//! The agents that offer one stand in a queue in the order in which they first
//! offered it. It runs on the first that can take it; when that one is lost,
//! the next takes over. Registering again keeps an agent's place.

use std::collections::{BTreeMap, BTreeSet};

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{AgentId, ContainerId, Kind, Uuid};

/// Who offers what.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    queues: BTreeMap<Uuid, Queue>,
    by_agent: BTreeMap<AgentId, BTreeSet<Uuid>>,
}

/// The agents that offer one container; never empty.
#[derive(Debug)]
struct Queue {
    kind: Kind,
    agents: Vec<AgentId>,
}

impl Offers {
    /// Replaces what an agent offers; gives what it offers no more. A uuid
    /// that others offer under another kind is theirs.
    pub(crate) fn set(&mut self, agent: &AgentId, offers: &[ContainerId]) -> BTreeSet<Uuid> {
        let before = self.by_agent.remove(agent).unwrap_or_default();
        let mut after = BTreeSet::new();
        for ContainerId { kind, uuid } in offers {
            let queue = self
                .queues
                .entry(uuid.clone())
                .or_insert_with(|| Queue { kind: kind.clone(), agents: Vec::new() });
            let forgotten = mutant(Mutant::ForgottenStandby) && !queue.agents.is_empty();
            if queue.kind == *kind && (!forgotten || queue.agents.contains(agent)) {
                if !queue.agents.contains(agent) {
                    queue.agents.push(agent.clone());
                }
                after.insert(uuid.clone());
            }
        }
        let withdrawn: BTreeSet<Uuid> = before.difference(&after).cloned().collect();
        for uuid in &withdrawn {
            if let Some(queue) = self.queues.get_mut(uuid) {
                queue.agents.retain(|other| other != agent);
                if queue.agents.is_empty() {
                    self.queues.remove(uuid);
                }
            }
        }
        if !after.is_empty() {
            self.by_agent.insert(agent.clone(), after);
        }
        withdrawn
    }

    /// The container that is offered under this uuid.
    pub(crate) fn offered(&self, uuid: &Uuid) -> Option<ContainerId> {
        let queue = self.queues.get(uuid)?;
        Some(ContainerId { kind: queue.kind.clone(), uuid: uuid.clone() })
    }

    /// Whether exactly this container is offered.
    pub(crate) fn is_offered(&self, id: &ContainerId) -> bool {
        self.queues.get(&id.uuid).is_some_and(|queue| queue.kind == id.kind)
    }

    /// Who offers the container, in order.
    pub(crate) fn queue(&self, id: &ContainerId) -> &[AgentId] {
        match self.queues.get(&id.uuid) {
            Some(queue) if queue.kind == id.kind => &queue.agents,
            _ => &[],
        }
    }

    /// Every offer of every agent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Uuid, &AgentId)> {
        self.queues.iter().flat_map(|(uuid, queue)| queue.agents.iter().map(move |a| (uuid, a)))
    }

    /// Whether both views hold the same offers.
    pub(crate) fn is_consistent(&self) -> bool {
        let queued: usize = self.queues.values().map(|queue| queue.agents.len()).sum();
        let owned: usize = self.by_agent.values().map(BTreeSet::len).sum();
        queued == owned
            && self.queues.values().all(|queue| !queue.agents.is_empty())
            && self.iter().all(|(uuid, agent)| {
                self.by_agent.get(agent).is_some_and(|offered| offered.contains(uuid))
            })
    }
}
