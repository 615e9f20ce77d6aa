//! Activations that begin.

use hulynet_protocol::{
    AgentId, ContainerId, Epoch, NetworkError, Reply, Retry, StartContainer, Uuid,
};

use super::{
    Action, Registry,
    containers::{Place, State},
    errors,
    timers::Timer,
    waiters::Wish,
};

impl Registry {
    /// Places a container and asks the agent to start it, in a new epoch. When
    /// no agent serves its kind, those who wait are told, and a container that
    /// is referenced waits for such an agent.
    pub(crate) fn start(&mut self, uuid: &Uuid, preferred: Option<&AgentId>) {
        let Some(container) = self.containers.get(uuid) else { return };
        let id = container.id.clone();
        let (labels, extra) = (container.labels.clone(), container.extra.clone());
        let preferred = preferred.filter(|agent| self.agents.serves(agent, &id.kind)).cloned();
        let chosen = preferred.or_else(|| self.agents.next(&id.kind));
        let Some((agent, peer)) =
            chosen.and_then(|id| Some((id.clone(), self.agents.get(&id)?.peer.clone())))
        else {
            let error = errors::unknown_kind(&id.kind, self.agents.kinds());
            self.fail_holds(uuid, &error);
            return self.settle(uuid);
        };
        self.epoch = self.epoch.next();
        let epoch = self.epoch;
        self.enter_state(uuid, State::Starting(Place { agent: agent.clone(), epoch }));
        if let Some(container) = self.containers.get_mut(uuid) {
            container.since = self.now;
        }
        self.timers.set(Timer::Container(uuid.clone()), self.now + self.config.start_timeout);
        let container = StartContainer { id, epoch, labels, extra };
        self.actions.push_back(Action::Start { peer, agent, container });
    }

    /// An agent answered a start.
    pub(crate) fn started(
        &mut self,
        agent: &AgentId,
        id: &ContainerId,
        epoch: Epoch,
        result: Result<(), NetworkError>,
    ) {
        let current =
            self.containers.get(&id.uuid).filter(|container| container.id == *id).filter(|c| {
                c.state().place().is_some_and(|p| p.agent == *agent && p.epoch == epoch)
            });
        match (current.map(|container| container.state()), result) {
            (Some(State::Starting(_)), Ok(())) => self.run(&id.uuid),
            (Some(State::Starting(_)), Err(error)) => self.start_failed(&id.uuid, &error),
            // A registration brought the news first.
            (Some(_), _) => {}
            // It was given up and may run, or begin to, after all.
            (None, result) => {
                if result.map_or_else(|error| error.retry == Retry::MaybeProcessed, |()| true) {
                    self.end_stray(agent, id, epoch);
                }
            }
        }
    }

    /// A start succeeded.
    pub(crate) fn run(&mut self, uuid: &Uuid) {
        let Some(place) = self.containers.get(uuid).and_then(|c| c.state().place()).cloned() else {
            return;
        };
        self.enter_state(uuid, State::Running(place));
        if let Some(container) = self.containers.get_mut(uuid) {
            container.since = self.now;
        }
        self.announce(uuid);
        self.settle(uuid);
    }

    pub(crate) fn start_timed_out(&mut self, uuid: &Uuid) {
        self.start_failed(uuid, &errors::start_timed_out(self.config.start_timeout));
    }

    /// Tells everybody who waits. A failure is not remembered for the next
    /// get; a container that is referenced is tried again after a while.
    pub(crate) fn start_failed(&mut self, uuid: &Uuid, cause: &NetworkError) {
        let Some(container) = self.containers.get(uuid) else { return };
        let Some(Place { agent, epoch }) = container.state().place().cloned() else { return };
        let id = container.id.clone();
        if cause.retry == Retry::MaybeProcessed {
            self.end_stray(&agent, &id, epoch);
        }
        self.fail_holds(uuid, &errors::start_failed(&id, &agent, cause));
        self.answer_ends(uuid);
        self.enter_state(uuid, State::Vacant { last: epoch, recovering: false });
        self.restart_later(uuid);
    }

    /// Counts a failure and tries again after a delay that grows with them.
    pub(crate) fn restart_later(&mut self, uuid: &Uuid) {
        let Some(container) = self.containers.get_mut(uuid) else { return };
        container.failures = container.failures.saturating_add(1);
        let at = self.now + self.config.restart_after(container.failures);
        self.timers.set(Timer::Container(uuid.clone()), at);
        self.settle(uuid);
    }

    /// Those who wanted the container to end have what they wanted, and with
    /// it the references to it are gone.
    pub(crate) fn answer_ends(&mut self, uuid: &Uuid) {
        let waiters = self.waiters.take(uuid, |wish| matches!(wish, Wish::End { .. }));
        if waiters.is_empty() {
            return;
        }
        self.drop_holders(uuid);
        for waiter in waiters {
            self.answer(waiter.token, Ok(Reply::Terminated(true)));
        }
    }

    /// Ends an activation that is not the container's.
    pub(crate) fn end_stray(&mut self, agent: &AgentId, id: &ContainerId, epoch: Epoch) {
        if let Some(known) = self.agents.get(agent) {
            self.actions.push_back(Action::Terminate {
                peer: known.peer.clone(),
                agent: agent.clone(),
                id: id.clone(),
                epoch,
                force: true,
            });
        }
    }
}
