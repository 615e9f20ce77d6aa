//! What the registry tells of itself: records, lists, snapshots.

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{
    AgentId, AgentRecord, Change, ClientId, ContainerRecord, ContainerState, Endpoint, Kind, Reply,
    Selector, Snapshot, Uuid, limits,
};

use super::{
    Registry, Token,
    agents::Agent,
    containers::{Container, State},
    errors, validate,
};

impl Registry {
    /// The record of a container that has a place.
    pub(crate) fn record(&self, container: &Container) -> Option<ContainerRecord> {
        let (place, state) = match container.state() {
            State::Vacant { .. } => return None,
            State::Starting(place) => (place, ContainerState::Starting),
            State::Running(place) => (place, ContainerState::Running),
            State::Terminating(place, _) => (place, ContainerState::Terminating),
        };
        let address = self.agents.get(&place.agent).and_then(|a| a.endpoint.address.clone());
        let address = address.filter(|_| !mutant(Mutant::EmptyEndpoint));
        Some(ContainerRecord {
            id: container.id.clone(),
            endpoint: Endpoint { agent: place.agent.clone(), address },
            epoch: place.epoch,
            state,
            labels: container.labels.unpack(),
            holders: container.holders.len() as u64,
        })
    }

    pub(crate) fn agent_record(&self, id: &AgentId, agent: &Agent) -> AgentRecord {
        AgentRecord {
            endpoint: agent.endpoint.clone(),
            kinds: agent.kinds.iter().cloned().collect(),
            containers: self.containers.count_on(id) as u64,
            labels: agent.labels.clone(),
            load: agent.load,
            failing: self.failing.of_agent(self.now, id),
        }
    }

    /// A container as watchers know it: one that moves is where it was until
    /// it runs elsewhere.
    fn announced_record(&self, container: &Container) -> Option<ContainerRecord> {
        let Some((endpoint, epoch)) = self.moving.get(&container.id.uuid).cloned() else {
            return self.record(container);
        };
        Some(ContainerRecord {
            id: container.id.clone(),
            endpoint,
            epoch,
            state: ContainerState::Starting,
            labels: container.labels.unpack(),
            holders: container.holders.len() as u64,
        })
    }

    /// Remembers where watchers believe a container that leaves its place.
    pub(crate) fn remember_place(&mut self, uuid: &Uuid) {
        if let Some(container) = self.containers.get(uuid)
            && container.announced
            && !self.moving.contains_key(uuid)
            && let Some(record) = self.record(container)
        {
            self.moving.insert(uuid.clone(), (record.endpoint, record.epoch));
        }
    }

    /// Tells watchers that a container runs, here and in this activation.
    pub(crate) fn announce(&mut self, uuid: &Uuid) {
        let Some(container) = self.containers.get(uuid) else { return };
        if container.state().place().is_none() {
            return;
        }
        let known = container.announced;
        self.moving.remove(uuid);
        let record = self.events.are_watched().then(|| self.record(container)).flatten();
        match record {
            Some(record) if known => self.events.push(Change::ContainerUpdated(record)),
            Some(record) => self.events.push(Change::ContainerAdded(record)),
            None => self.events.pass(),
        }
        if let Some(container) = self.containers.get_mut(uuid) {
            container.announced = true;
        }
    }

    pub(crate) fn list_agents(&mut self, token: Token) {
        let agents = self.agents.iter().map(|(id, agent)| self.agent_record(id, agent)).collect();
        self.answer(token, Ok(Reply::Agents(agents)));
    }

    pub(crate) fn list_kinds(&mut self, token: Token) {
        let kinds = if mutant(Mutant::DuplicateKinds) {
            self.agents.iter().flat_map(|(_, agent)| agent.kinds.iter().cloned()).collect()
        } else {
            self.agents.kinds().cloned().collect()
        };
        self.answer(token, Ok(Reply::Kinds(kinds)));
    }

    /// Sorted by uuid.
    pub(crate) fn list_containers(&mut self, token: Token, kind: Option<&Kind>, select: &Selector) {
        if let Err(error) = validate::selector(select) {
            return self.answer(token, Err(error));
        }
        let mut records: Vec<_> =
            self.containers.selected(kind, select).filter_map(|c| self.record(c)).collect();
        if records.len() > limits::LISTED {
            return self.answer(token, Err(errors::too_many("containers", records.len())));
        }
        records.sort_by(|a, b| a.id.uuid.cmp(&b.id.uuid));
        self.answer(token, Ok(Reply::Containers(records)));
    }

    /// A snapshot now, every later change as an event.
    pub(crate) fn watch(&mut self, client: ClientId, token: Token) {
        if self.containers.len() > limits::LISTED {
            let error = errors::too_many("containers", self.containers.len());
            return self.answer(token, Err(error));
        }
        let snapshot = self.snapshot();
        self.events.watch(client);
        self.answer(token, Ok(Reply::Snapshot(snapshot)));
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            revision: self.events.revision(),
            agents: self.agents.iter().map(|(id, agent)| self.agent_record(id, agent)).collect(),
            containers: self
                .containers
                .iter()
                .filter(|container| container.announced)
                .filter_map(|container| self.announced_record(container))
                .collect(),
        }
    }
}
