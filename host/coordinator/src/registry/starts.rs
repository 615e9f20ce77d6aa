//! Activations that begin.

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{
    AgentId, ContainerId, Epoch, ErrorKind, NetworkError, Reason, Reply, Retry, StartContainer,
    Uuid,
};

use super::{
    Action, Registry,
    containers::{Place, State},
    errors,
    placement::Choice,
    timers::Timer,
    waiters::Wish,
};

impl Registry {
    /// Places a container and asks the agent to start it. When no agent can,
    /// those who wait are told, and a container that is referenced waits for
    /// such an agent.
    pub(crate) fn start(&mut self, uuid: &Uuid) {
        match self.place(uuid) {
            Choice::Agent(agent, reason) => self.start_at(uuid, agent, reason),
            Choice::Later(at) => self.timers.set(Timer::Container(uuid.clone()), at),
            Choice::Nobody(error) => {
                self.fail_holds(uuid, &error);
                self.settle(uuid);
            }
            // Only a round of starts that failed exhausts the agents, and its
            // end forgets whom it tried.
            Choice::Exhausted => self.settle(uuid),
        }
    }

    /// Asks an agent to start a container, in a new epoch.
    pub(crate) fn start_at(&mut self, uuid: &Uuid, agent: AgentId, reason: Reason) {
        let Some(peer) = self.agents.get(&agent).map(|agent| agent.peer.clone()) else { return };
        if !mutant(Mutant::SameEpoch) {
            self.epoch = self.epoch.next();
        }
        let epoch = self.epoch;
        self.enter_state(uuid, State::Starting(Place { agent: agent.clone(), epoch }));
        let Some(container) = self.containers.get_mut(uuid) else { return };
        container.since = self.now;
        container.reason = reason;
        container.over = false;
        let id = container.id.clone();
        let share = container.to_share;
        let (labels, extra) = (container.labels.unpack(), container.extra.to_vec());
        if share && self.containers.shared(&agent, &id.kind).is_none() {
            self.containers.set_shared(agent.clone(), id.kind.clone(), uuid);
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
        let over = current.is_some_and(|container| container.over);
        match (current.map(|container| container.state()), result) {
            (Some(State::Starting(_)), Ok(())) if over => {
                self.start_failed(&id.uuid, &errors::ended_while_starting());
            }
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
        let agent = place.agent.clone();
        self.enter_state(uuid, State::Running(place));
        if let Some(container) = self.containers.get_mut(uuid) {
            container.since = self.now;
            container.tried.clear();
            self.failing.succeeded(&agent, &container.id.kind, container.labels.tenant());
        }
        self.announce(uuid);
        self.settle(uuid);
    }

    pub(crate) fn start_timed_out(&mut self, uuid: &Uuid) {
        self.start_failed(uuid, &errors::start_timed_out(self.config.start_timeout));
    }

    /// Tries the next agent. When there is none, or the kind itself refuses,
    /// everybody who waits is told. A failure is not remembered as an answer
    /// to the next get; a container that is referenced is tried again after a
    /// while.
    pub(crate) fn start_failed(&mut self, uuid: &Uuid, cause: &NetworkError) {
        let Some(container) = self.containers.get(uuid) else { return };
        let Some(Place { agent, epoch }) = container.state().place().cloned() else { return };
        let id = container.id.clone();
        if cause.retry == Retry::MaybeProcessed {
            self.end_stray(&agent, &id, epoch);
        }
        self.note_failure(&agent, &id, cause);
        self.answer_ends(uuid);
        self.enter_state(uuid, State::Vacant { last: epoch, recovering: false });
        let Some(container) = self.containers.get_mut(uuid) else { return };
        container.tried.push(agent.clone());
        let wanted = self.is_wanted(uuid);
        if wanted
            && cause.retry != Retry::Final
            && let Choice::Agent(next, reason) = self.place(uuid)
        {
            return self.start_at(uuid, next, reason);
        }
        if let Some(container) = self.containers.get_mut(uuid) {
            container.tried.clear();
        }
        self.fail_holds(uuid, &errors::start_failed(&id, &agent, cause));
        self.restart_later(uuid);
    }

    /// What is no failure of the kind is not counted against it.
    fn note_failure(&mut self, agent: &AgentId, id: &ContainerId, cause: &NetworkError) {
        let tenant = self.containers.get(&id.uuid).and_then(|c| c.labels.tenant());
        match cause.kind {
            ErrorKind::Busy => self.agents.is_full(agent),
            ErrorKind::UnknownKind
            | ErrorKind::StaleEpoch
            | ErrorKind::Unavailable
            | ErrorKind::Cancelled => {}
            _ => self.failing.failed(self.now, &self.config, agent, id, tenant, cause),
        }
    }

    /// Somebody waits for it, holds it or offers it.
    pub(crate) fn is_wanted(&self, uuid: &Uuid) -> bool {
        self.waiters.any(uuid, |wish| wish == Wish::Hold) || !self.is_unused(uuid)
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
}
