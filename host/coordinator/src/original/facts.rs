//! What is known of agents and containers.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use hulynet_backrpc::{
    calls::Register,
    endpoints::{self, Way},
    records::{Brought, Change, ContainerEvent, Record, Started},
};
use hulynet_protocol::{AgentId, AgentRecord, ContainerRecord, Endpoint, Kind, Uuid};

use super::Desk;
use crate::registry::Time;

/// How many containers are remembered that an agent was asked to end.
const ENDED: usize = 1024;

/// An agent.
#[derive(Debug, Default)]
pub(super) struct Agent {
    pub(super) order: u64,
    /// In the agent's own order.
    pub(super) kinds: Vec<Kind>,
    /// `None` for a native agent.
    pub(super) original: Option<Original>,
}

/// What an agent of the original network told of itself.
#[derive(Debug, Default)]
pub(super) struct Original {
    /// The reference to it.
    pub(super) endpoint: Option<String>,
    /// The containers that it brought last.
    pub(super) brought: BTreeSet<Uuid>,
    /// Those that it was asked to end, the latest last.
    pub(super) ended: VecDeque<Uuid>,
    /// Those that it keeps to itself and brings again and again: it offers
    /// them.
    pub(super) offered: BTreeSet<Uuid>,
}

impl Original {
    pub(super) fn ends(&mut self, uuid: &Uuid) {
        if self.ended.len() >= ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(uuid.clone());
    }
}

/// A container as it was told last.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) order: u64,
    pub(super) agent: AgentId,
    pub(super) record: Record,
}

impl Desk {
    pub(super) fn learn_agent(&mut self, record: &AgentRecord) -> Vec<Kind> {
        let id = &record.endpoint.agent;
        let order = self.agents.get(id).map_or_else(|| self.order + 1, |agent| agent.order);
        self.order = self.order.max(order);
        let agent = self.agents.entry(id.clone()).or_default();
        agent.order = order;
        if agent.original.is_none() {
            agent.kinds.clone_from(&record.kinds);
        }
        agent.kinds.clone()
    }

    /// An agent of the original registers.
    pub(super) fn learn_original(&mut self, register: &Register) {
        let order = self.agents.get(&register.agent).map_or_else(|| self.order + 1, |a| a.order);
        self.order = self.order.max(order);
        let agent = self.agents.entry(register.agent.clone()).or_default();
        agent.order = order;
        agent.kinds.clone_from(&register.kinds);
        let original = agent.original.get_or_insert_default();
        original.endpoint.clone_from(&register.endpoint);
        let brought: BTreeSet<Uuid> =
            register.containers.iter().map(|container| container.uuid.clone()).collect();
        // What it was asked to end and brings again is its own for good.
        original.ended.retain(|uuid| {
            let again = brought.contains(uuid);
            if again {
                original.offered.insert(uuid.clone());
            }
            !again
        });
        original.offered.retain(|uuid| brought.contains(uuid));
        original.brought = brought;
    }

    /// Takes note of a container that runs, and gives what to tell of it.
    pub(super) fn learn_container(&mut self, record: &ContainerRecord, extra: &[u8]) -> Record {
        let uuid = record.id.uuid.clone();
        let told = self.record(record, extra);
        let order = match self.containers.get(&uuid) {
            Some(known) => known.order,
            None => self.next_order(),
        };
        let agent = record.endpoint.agent.clone();
        self.containers.insert(uuid, Container { order, agent, record: told.clone() });
        told
    }

    /// Takes note of a container as its agent brought it.
    pub(super) fn learn_brought(&mut self, brought: Brought) {
        let (uuid, agent) = (brought.uuid.clone(), brought.agent.clone());
        let known = self.containers.get(&uuid).filter(|known| known.agent == agent);
        let moved = known.filter(|known| known.record.endpoint() != brought.endpoint);
        self.references.insert(uuid.clone(), (agent.clone(), brought.endpoint.clone()));
        if let Some(known) = moved {
            let (order, record) = (known.order, Record::Brought(brought));
            let event = ContainerEvent { container: record.clone(), event: Change::Updated };
            self.events.containers.push(event);
            self.containers.insert(uuid, Container { order, agent, record });
        } else if known.is_none() {
            let order = self.containers.get(&uuid).map(|elsewhere| elsewhere.order);
            let order = order.unwrap_or_else(|| self.next_order());
            let record = Record::Brought(brought);
            self.containers.insert(uuid, Container { order, agent, record });
        }
    }

    /// The record of a container as the original makes it.
    pub(super) fn record(&self, record: &ContainerRecord, extra: &[u8]) -> Record {
        let ContainerRecord { id, endpoint, labels, .. } = record;
        let known = self.containers.get(&id.uuid).filter(|known| known.agent == endpoint.agent);
        let reference = self.reference(endpoint, &id.uuid);
        if let Some(known) = known
            && known.record.endpoint() == reference
        {
            return known.record.clone();
        }
        Record::Started(Started {
            uuid: id.uuid.clone(),
            agent: endpoint.agent.clone(),
            kind: id.kind.clone(),
            last_visit: milliseconds(self.now.since(Time::default())),
            endpoint: reference,
            labels: labels.clone(),
            extra: extra.to_vec(),
        })
    }

    /// The reference to a container: the one that its agent gave, if it did.
    pub(super) fn reference(&self, endpoint: &Endpoint, uuid: &Uuid) -> String {
        match self.references.get(uuid) {
            Some((agent, reference)) if *agent == endpoint.agent => reference.clone(),
            _ => endpoints::to_container(&endpoint.agent, endpoint.address.as_deref(), uuid),
        }
    }

    /// Where a container on an agent of the original is heard.
    #[must_use]
    pub fn way(&self, agent: &AgentId, uuid: &Uuid) -> Way {
        match self.references.get(uuid) {
            Some((owner, reference)) if owner == agent => endpoints::read(reference),
            _ => Way::Unreachable,
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
