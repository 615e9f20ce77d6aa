//! Agents that come, come back, and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{
    AgentId, Change, ClientId, ContainerId, Epoch, Intake, Kind, Labels, Load, Reason, Registered,
    Registration, Reply, Uuid,
};

use super::{
    Registry, Token,
    agents::Agent,
    containers::{Container, Place, State},
    endings::Cause,
    errors,
    timers::Timer,
    validate,
    waiters::Wish,
};

impl Registry {
    /// A registration brings the whole truth about an agent: its containers are
    /// adopted unless a newer activation lives elsewhere, and what it does not
    /// bring any more has ended. Repeating it changes nothing.
    pub(crate) fn register(&mut self, client: ClientId, token: Token, registration: Registration) {
        if let Err(error) = validate::registration(&registration) {
            return self.answer(token, Err(error));
        }
        let Registration { endpoint, kinds, labels, containers, doubtful, load, offers } =
            registration;
        let id = endpoint.agent.clone();
        let kinds: BTreeSet<Kind> = kinds.into_iter().collect();
        let agent = Agent {
            peer: client.clone(),
            endpoint,
            kinds: kinds.clone(),
            labels,
            load,
            counted: 0,
        };
        self.insert_agent(agent);

        self.forget_strays(&id);
        self.forget_returning(&id);
        let before = self.containers.on(&id);
        let mut brought = BTreeMap::new();
        let mut terminate = Vec::new();
        let doubt = if doubtful.is_empty() { Duration::ZERO } else { self.recovers_for() };
        let containers = containers.into_iter().map(|activation| (activation, false));
        let doubtful = doubtful.into_iter().map(|activation| (activation, true));
        let all = containers.chain(doubtful);
        for (activation, doubtful) in all.filter(|_| !mutant(Mutant::ForgottenOnRegistration)) {
            let (container, epoch) = (activation.id.clone(), activation.epoch);
            brought.insert(container.uuid.clone(), epoch);
            if !self.adopt(&id, activation, doubtful) {
                terminate.push((container, epoch));
            }
        }
        let lease = self.clients.get(&client).map(|client| self.agents_lease(client));
        let [lease_ms, doubt_ms] = [lease.unwrap_or_default(), doubt].map(|time| {
            let rounded = time.as_micros().div_ceil(1000);
            u32::try_from(rounded).unwrap_or(u32::MAX)
        });
        self.answer(token, Ok(Reply::Registered(Registered { terminate, lease_ms, doubt_ms })));

        for uuid in before {
            if self.is_missing(&uuid, &id, brought.get(&uuid)) {
                self.ended(&uuid, Cause::Itself);
            }
        }
        self.agents.report(&id, load, self.containers.count_on(&id));
        self.set_offers(&id, &offers);
        for kind in &kinds {
            self.start_vacant(kind);
        }
    }

    /// What an agent offers exists from now on, until nobody offers or wants it.
    fn set_offers(&mut self, agent: &AgentId, offers: &[ContainerId]) {
        for uuid in self.offers.set(agent, offers) {
            self.settle(&uuid);
        }
        for id in offers {
            self.want_offered(&id.uuid);
        }
    }

    /// Brings a container to life that an agent offers. In the recovery window
    /// it waits for an agent that runs it already.
    pub(crate) fn want_offered(&mut self, uuid: &Uuid) {
        let Some(id) = self.offers.offered(uuid) else { return };
        match self.containers.get(uuid) {
            // It stays as long as it is offered.
            Some(known) if known.id == id => self.settle(uuid),
            // The uuid belongs to another kind until that container ends.
            Some(_) => {}
            None => {
                let wanted = Container::vacant(id, &Labels::new(), Vec::new());
                if self.is_recovering() {
                    return self.containers.insert(wanted.recovering());
                }
                self.containers.insert(wanted);
                self.start(uuid);
            }
        }
    }

    /// Takes note of an agent's load. One that takes containers again gets
    /// those that waited for it.
    pub(crate) fn reported_load(&mut self, id: &AgentId, load: Load) {
        let before = self.agents.report(id, load, self.containers.count_on(id));
        if before.is_none_or(|before| before == load.intake) {
            return;
        }
        let Some(agent) = self.agents.get(id).cloned() else { return };
        self.events.push(Change::AgentUpdated(self.agent_record(id, &agent)));
        if load.intake == Intake::Open {
            for kind in &agent.kinds {
                self.start_vacant(kind);
            }
        }
    }

    fn insert_agent(&mut self, agent: Agent) {
        let id = agent.endpoint.agent.clone();
        let known = self.agents.get(&id).cloned();
        if let Some(known) = &known
            && let Some(owner) = self.clients.get_mut(&known.peer)
        {
            owner.agents.remove(&id);
        }
        if let Some(owner) = self.clients.get_mut(&agent.peer) {
            owner.agents.insert(id.clone());
        }
        let record = self.agent_record(&id, &agent);
        match known {
            None => self.events.push(Change::AgentAdded(record)),
            Some(known) if known.looks_like(&agent) => {}
            Some(_) => self.events.push(Change::AgentUpdated(record)),
        }
        self.agents.insert(agent);
    }

    pub(crate) fn settle_at(&mut self, uuid: &Uuid, place: Place) {
        self.enter_state(uuid, State::Starting(place));
        if let Some(container) = self.containers.get_mut(uuid) {
            container.reason = Reason::Brought;
        }
        self.run(uuid);
    }

    /// Whether the registry believes in an activation that the agent does not
    /// have. One that is starting may not have reached the agent yet.
    fn is_missing(&self, uuid: &Uuid, agent: &AgentId, brought: Option<&Epoch>) -> bool {
        let Some(container) = self.containers.get(uuid) else { return false };
        match container.state() {
            State::Vacant { .. } | State::Starting(_) => false,
            State::Running(place) | State::Terminating(place, _) => {
                place.agent == *agent && brought != Some(&place.epoch)
            }
        }
    }

    /// Starts what waited for an agent of this kind.
    fn start_vacant(&mut self, kind: &Kind) {
        for uuid in self.containers.vacant(kind) {
            let delayed = self.timers.is_set(&Timer::Container(uuid.clone()));
            let waits = self.containers.get(&uuid).is_some_and(|container| {
                matches!(container.state(), State::Vacant { recovering: false, .. })
            });
            let awaited = self.waiters.any(&uuid, |wish| wish == Wish::Hold);
            if waits && (awaited || !delayed) {
                self.start(&uuid);
            }
        }
    }

    /// The agent stopped all its containers and leaves. Idempotent.
    pub(crate) fn unregister(&mut self, client: &ClientId, token: Token, agent: &AgentId) {
        match self.agents.get(agent) {
            Some(known) if known.peer != *client => {
                self.answer(token, Err(errors::foreign_agent(agent)));
            }
            Some(_) => {
                if let Some(client) = self.clients.get_mut(client) {
                    client.agents.remove(agent);
                }
                self.answer(token, Ok(Reply::Done));
                self.lose_agent(agent);
            }
            None => self.answer(token, Ok(Reply::Done)),
        }
    }

    /// Nothing of a lost agent stays: what is wanted moves, the rest is
    /// removed.
    pub(crate) fn lose_agent(&mut self, agent: &AgentId) {
        let there = self.containers.on(agent);
        for uuid in &there {
            self.remember_place(uuid);
        }
        if self.agents.remove(agent).is_none() {
            return;
        }
        self.failing.forget(agent);
        self.forget_strays(agent);
        self.forget_returning(agent);
        let withdrawn = self.offers.set(agent, &[]);
        self.events.push(Change::AgentRemoved(agent.clone()));
        for uuid in there.into_iter().filter(|_| !mutant(Mutant::StrandedReferences)) {
            self.ended(&uuid, Cause::AgentLost);
        }
        for uuid in withdrawn {
            self.settle(&uuid);
        }
    }
}
