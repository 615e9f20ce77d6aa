//! Activations that end.

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{
    AgentId, ClientId, ContainerId, Epoch, ErrorKind, Load, NetworkError, Reply, Retry, Uuid,
};

use super::{
    Registry, Token,
    containers::{Ending, State},
    errors,
    timers::Timer,
    waiters::Wish,
};

/// Why an activation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// By itself, or because it was asked to.
    Itself,
    /// Its agent is gone.
    AgentLost,
}

impl Registry {
    /// An agent answered whether a container ended.
    pub(crate) fn terminated(
        &mut self,
        agent: &AgentId,
        id: &ContainerId,
        epoch: Epoch,
        result: Result<bool, NetworkError>,
    ) {
        let uuid = &id.uuid;
        let Some(state) = self.activation(agent, id, epoch) else {
            return self.stray_answered(agent, id, epoch, &result);
        };
        let gone = match &result {
            Ok(ended) => *ended,
            Err(error) => {
                matches!(error.kind, ErrorKind::UnknownContainer | ErrorKind::StaleEpoch)
            }
        };
        if gone {
            return self.ended(uuid, Cause::Itself);
        }
        let State::Terminating(place, ending) = state else { return };
        match result {
            Ok(_) => {
                for waiter in self.waiters.take(uuid, |wish| wish == Wish::End { force: false }) {
                    self.answer(waiter.token, Ok(Reply::Terminated(false)));
                }
            }
            Err(error) => {
                let ends = self.waiters.take(uuid, |wish| matches!(wish, Wish::End { .. }));
                for waiter in ends {
                    self.answer(waiter.token, Err(error.clone()));
                }
                if error.retry != Retry::NotProcessed || ending.outdated {
                    // It may be gone, or must go: nobody gets it before the
                    // agent says so.
                    let again = self.now + self.config.ask_interval;
                    return self.timers.set(Timer::Container(uuid.clone()), again);
                }
            }
        }
        // Those who insist wait for the answer to the forced question.
        if self.waiters.any(uuid, |wish| matches!(wish, Wish::End { .. })) {
            return;
        }
        self.enter_state(uuid, State::Terminating(place, Ending { asked: false, ..ending }));
        let mut again = self.now + self.config.ask_interval;
        if !ending.force {
            again = again.min(ending.deadline);
        }
        self.timers.set(Timer::Container(uuid.clone()), again);
        self.settle(uuid);
    }

    /// The state of the container if this is its activation.
    fn activation(&self, agent: &AgentId, id: &ContainerId, epoch: Epoch) -> Option<State> {
        let container = self.containers.get(&id.uuid).filter(|container| container.id == *id)?;
        let place = container.state().place()?;
        (place.agent == *agent && place.epoch == epoch).then(|| container.state().clone())
    }

    /// An agent renews its lease and reports containers that ended without being
    /// asked, and its load.
    pub(crate) fn reported_ended(
        &mut self,
        client: &ClientId,
        token: Token,
        agent: &AgentId,
        containers: Vec<(ContainerId, Epoch)>,
        load: Load,
    ) {
        match self.agents.get(agent) {
            Some(known) if known.peer == *client => {}
            Some(_) => return self.answer(token, Err(errors::foreign_agent(agent))),
            None => return self.answer(token, Err(errors::unknown_agent(agent))),
        }
        self.answer(token, Ok(Reply::Done));
        for (id, epoch) in containers {
            match self.activation(agent, &id, epoch) {
                // The answer to the order is on its way, and tells the cause.
                Some(State::Starting(_)) => {
                    if let Some(container) = self.containers.get_mut(&id.uuid) {
                        container.over = true;
                    }
                }
                Some(_) => self.ended(&id.uuid, Cause::Itself),
                None => self.stray_ended(agent, &id, epoch),
            }
        }
        self.reported_load(agent, load);
    }

    /// An activation is over. Who waits for the container gets a new one; a
    /// container that is referenced is started again, at once unless it ended
    /// soon after its start; any other is removed.
    pub(crate) fn ended(&mut self, uuid: &Uuid, cause: Cause) {
        if cause != Cause::AgentLost || !mutant(Mutant::HangingRequests) {
            self.answer_ends(uuid);
        }
        self.remember_place(uuid);
        let Some(container) = self.containers.get(uuid) else { return };
        let last = container.state().epoch();
        let held = !container.holders.is_empty() || self.offers.is_offered(&container.id);
        let lived = self.now.since(container.since) >= self.config.restart_delay;
        self.enter_state(uuid, State::Vacant { last, recovering: false });
        if let Some(container) = self.containers.get_mut(uuid) {
            container.tried.clear();
            container.to_share = false;
        }
        if self.waiters.any(uuid, |wish| wish == Wish::Hold) || !held {
            self.settle(uuid);
        } else if cause == Cause::AgentLost || lived {
            if let Some(container) = self.containers.get_mut(uuid) {
                container.failures = 0;
            }
            self.start(uuid);
        } else {
            self.restart_later(uuid);
        }
    }
}
