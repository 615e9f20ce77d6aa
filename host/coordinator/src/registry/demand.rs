//! What a container does next, given who wants it.

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{Reply, Uuid};

use super::{
    Action, Registry,
    containers::{Ending, State},
    timers::Timer,
    waiters::Wish,
};

impl Registry {
    /// Brings a container in line with its holders and waiters. Called after
    /// every change of either; does nothing when there is nothing to do.
    pub(crate) fn settle(&mut self, uuid: &Uuid) {
        let Some(container) = self.containers.get(uuid) else { return };
        let held = !container.holders.is_empty();
        let awaited = self.waiters.any(uuid, |wish| wish == Wish::Hold);
        let offered = self.offers.is_offered(&container.id);
        match container.state().clone() {
            State::Vacant { .. } if !held && !awaited && !offered => self.remove(uuid),
            State::Vacant { recovering: false, .. } if awaited => self.start(uuid),
            State::Vacant { .. } | State::Starting(_) => {}
            State::Running(_) => self.settle_running(uuid),
            State::Terminating(place, ending) if !ending.asked => {
                if self.end_is_asked(uuid) {
                    self.ask_to_end(uuid);
                } else if held || awaited || offered {
                    self.enter_state(uuid, State::Running(place));
                    self.settle_running(uuid);
                }
            }
            State::Terminating(_, ending) => {
                if !ending.force && self.waiters.any(uuid, |wish| wish == FORCED) {
                    self.ask_to_end(uuid);
                }
            }
        }
    }

    fn settle_running(&mut self, uuid: &Uuid) {
        self.grant(uuid);
        if self.end_is_asked(uuid) {
            return self.begin_to_end(uuid);
        }
        let timer = Timer::Container(uuid.clone());
        if !self.is_unused(uuid) {
            self.timers.cancel(&timer);
        } else if !self.timers.is_set(&timer) {
            // Clients may need the recovery window to claim what they held.
            self.timers.set(timer, self.after_recovery() + self.config.unused_timeout);
        }
    }

    /// Nobody holds it, and no agent offers it as a singleton.
    pub(crate) fn is_unused(&self, uuid: &Uuid) -> bool {
        let container = self.containers.get(uuid);
        !mutant(Mutant::ImmortalContainers)
            && container.is_some_and(|c| c.holders.is_empty() && !self.offers.is_offered(&c.id))
    }

    /// References are counted from the moment of the answer.
    fn grant(&mut self, uuid: &Uuid) {
        let waiters = self.waiters.take(uuid, |wish| wish == Wish::Hold);
        for waiter in &waiters {
            self.hold(&waiter.client, uuid);
        }
        let Some(record) = self.containers.get(uuid).and_then(|c| self.record(c)) else { return };
        for waiter in waiters {
            self.answer(waiter.token, Ok(Reply::Container(record.clone())));
        }
    }

    fn end_is_asked(&self, uuid: &Uuid) -> bool {
        self.waiters.any(uuid, |wish| matches!(wish, Wish::End { .. }))
    }

    /// The state that a container enters decides what its timer means.
    pub(crate) fn enter_state(&mut self, uuid: &Uuid, state: State) {
        self.timers.cancel(&Timer::Container(uuid.clone()));
        self.containers.set_state(uuid, state);
    }

    pub(crate) fn begin_to_end(&mut self, uuid: &Uuid) {
        let Some(place) = self.containers.get(uuid).and_then(|c| c.state().place()).cloned() else {
            return;
        };
        let deadline = self.now + self.config.drain_deadline;
        let ending = Ending { asked: false, force: false, outdated: false, deadline };
        self.enter_state(uuid, State::Terminating(place, ending));
        self.ask_to_end(uuid);
    }

    /// Asks the agent to end a container that is to end.
    pub(crate) fn ask_to_end(&mut self, uuid: &Uuid) {
        let Some(container) = self.containers.get(uuid) else { return };
        let State::Terminating(place, ending) = container.state().clone() else { return };
        let id = container.id.clone();
        let force = ending.force
            || self.now >= ending.deadline
            || self.waiters.any(uuid, |wish| wish == FORCED);
        let asked = State::Terminating(place.clone(), Ending { asked: true, force, ..ending });
        self.enter_state(uuid, asked);
        self.timers.set(Timer::Container(uuid.clone()), self.now + self.config.terminate_timeout);
        if let Some(agent) = self.agents.get(&place.agent) {
            self.actions.push_back(Action::Terminate {
                peer: agent.peer.clone(),
                agent: place.agent,
                id,
                epoch: place.epoch,
                force,
            });
        }
    }

    /// A container's timer fired.
    pub(crate) fn container_due(&mut self, uuid: &Uuid) {
        let Some(container) = self.containers.get(uuid) else { return };
        match container.state() {
            State::Vacant { .. } => self.start(uuid),
            State::Starting(_) => self.start_timed_out(uuid),
            State::Running(_) => self.begin_to_end(uuid),
            State::Terminating(..) => self.ask_to_end(uuid),
        }
    }
}

/// The wish of those who do not take *not yet* for an answer.
const FORCED: Wish = Wish::End { force: true };
