//! What a coordinator that was just started learns about the network.
//!
//! Its state is soft: agents bring their containers, clients their references.
//! Until the recovery window ends it cannot know who is still to come.
//!
//! | who brings an activation | in the window | later |
//! |---|---|---|
//! | an agent whose lease never ended | serves on: nobody can have started it elsewhere | is told to end it, unless it runs there |
//! | such an agent, and nobody named the epoch yet | may have been given up while it started: nobody gets it before the window ends | is told to end it, unless it runs there |
//! | an agent whose lease ended, in doubt | serves nothing before the window ends | is told to end it, unless it runs there |
//!
//! Of several the newest epoch counts. A client that held a newer one than what
//! runs tells so; then what runs is not what it held, and starts anew, so that
//! epochs never go back.

use std::{collections::BTreeMap, time::Duration};

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{Activation, AgentId, ContainerId, Epoch, Uuid};

use super::{
    Registry,
    containers::{Container, Ending, Place, State},
    time::Time,
};

/// What is known until the recovery window ends.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// When the window ends.
    ends: Time,
    /// The newest activations that were heard of.
    newest: BTreeMap<Uuid, Epoch>,
    /// The newest of those that agents brought in doubt.
    returning: BTreeMap<Uuid, Returning>,
}

#[derive(Debug)]
struct Returning {
    agent: AgentId,
    activation: Activation,
}

impl Recovery {
    pub(crate) fn new(ends: Time) -> Self {
        Self { ends, ..Self::default() }
    }
}

impl Registry {
    /// Agents and clients may still come back.
    pub(crate) fn is_recovering(&self) -> bool {
        self.now < self.recovery.ends
    }

    /// How long that lasts.
    pub(crate) fn recovers_for(&self) -> Duration {
        self.recovery.ends.since(self.now)
    }

    /// When clients had their time to come back, not before now.
    pub(crate) fn after_recovery(&self) -> Time {
        self.now.max(self.recovery.ends)
    }

    /// Remembers an activation of a container that may become unknown.
    pub(crate) fn note_epoch(&mut self, uuid: &Uuid, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
        if self.is_recovering() {
            let newest = self.recovery.newest.entry(uuid.clone()).or_default();
            *newest = epoch.max(*newest);
        }
    }

    /// The newest activation that is known of a container.
    fn newest(&self, uuid: &Uuid) -> Epoch {
        let heard = self.recovery.newest.get(uuid).copied().unwrap_or_default();
        self.containers.get(uuid).map_or(heard, |known| known.state().epoch().max(heard))
    }

    /// Takes an activation over from its agent; `false` when it must end,
    /// because it is not the newest or its uuid belongs to another kind.
    pub(crate) fn adopt(&mut self, agent: &AgentId, brought: Activation, doubtful: bool) -> bool {
        let Activation { id, epoch, .. } = &brought;
        let (uuid, epoch) = (id.uuid.clone(), *epoch);
        let place = Place { agent: agent.clone(), epoch };
        // An earlier coordinator may have had a faster clock.
        let unheard = epoch > self.epoch;
        let newest = self.newest(&uuid);
        self.note_epoch(&uuid, epoch);
        let Some(known) = self.containers.get(&uuid) else {
            return match (self.is_recovering(), doubtful) {
                _ if is_older(epoch, newest) => false,
                (true, true) => self.bring_later(agent, brought),
                (recovering, _) => (recovering || unheard) && self.bring(agent, brought),
            };
        };
        if known.id != *id {
            return false;
        }
        match known.state().clone() {
            State::Starting(current) if current == place => {
                self.run(&uuid);
                true
            }
            state if state.place() == Some(&place) => true,
            _ if is_older(epoch, newest) => false,
            // It is the one that ended with its agent's lease.
            State::Vacant { last, .. } if last == epoch => self.bring(agent, brought),
            State::Vacant { .. } => match (self.is_recovering(), doubtful) {
                (true, true) => self.bring_later(agent, brought),
                (recovering, _) => (recovering || unheard) && self.bring(agent, brought),
            },
            state if state.epoch() == epoch => false,
            state if self.is_recovering() && !doubtful => {
                if let Some(other) = state.place().filter(|other| other.agent != *agent) {
                    self.end_stray(&other.agent.clone(), id, other.epoch);
                }
                self.bring(agent, brought)
            }
            _ => {
                self.renew(&uuid);
                false
            }
        }
    }

    /// A container lives where its agent says.
    fn bring(&mut self, agent: &AgentId, activation: Activation) -> bool {
        let Activation { id, epoch, labels } = activation;
        let uuid = id.uuid.clone();
        match self.containers.get(&uuid) {
            None => self.containers.insert(Container::vacant(id, &labels, Vec::new())),
            // Whoever asked for it meanwhile does not say for whom it works.
            Some(_) => self.containers.set_labels(&uuid, &labels),
        }
        self.settle_at(&uuid, Place { agent: agent.clone(), epoch });
        true
    }

    /// A container may live where its agent says, unless somebody knows better
    /// before the window ends.
    fn bring_later(&mut self, agent: &AgentId, activation: Activation) -> bool {
        let uuid = activation.id.uuid.clone();
        if let Some(other) = self.recovery.returning.remove(&uuid) {
            let Activation { id, epoch, .. } = &other.activation;
            if !is_older(*epoch, activation.epoch) {
                self.recovery.returning.insert(uuid, other);
                return false;
            }
            self.end_stray(&other.agent, id, *epoch);
        }
        let returning = Returning { agent: agent.clone(), activation };
        self.recovery.returning.insert(uuid, returning);
        true
    }

    /// The agent is gone, or brings everything anew.
    pub(crate) fn forget_returning(&mut self, agent: &AgentId) {
        self.recovery.returning.retain(|_, returning| returning.agent != *agent);
    }

    /// Who did not come back by now does not come.
    pub(crate) fn recovery_ended(&mut self) {
        let returning = std::mem::take(&mut self.recovery.returning);
        for (uuid, Returning { agent, activation }) in returning {
            let Activation { id, epoch, .. } = activation.clone();
            let suits = self.containers.get(&uuid).is_none_or(|known| {
                known.id == id && matches!(known.state(), State::Vacant { .. })
            });
            if suits && !is_older(epoch, self.newest(&uuid)) {
                self.bring(&agent, activation);
            } else {
                self.end_stray(&agent, &id, epoch);
            }
        }
        self.recovery.newest.clear();
        for uuid in self.containers.all_vacant() {
            let Some(container) = self.containers.get(&uuid) else { continue };
            if let State::Vacant { last, recovering: true } = *container.state() {
                self.enter_state(&uuid, State::Vacant { last, recovering: false });
                if self.is_wanted(&uuid) {
                    self.start(&uuid);
                } else {
                    self.settle(&uuid);
                }
            }
        }
    }

    /// A client held this activation. When an older one runs, that one was
    /// brought by an agent which did not know that it had been replaced.
    pub(crate) fn held_before(&mut self, id: &ContainerId, epoch: Epoch) {
        // No coordinator before had a later term than this one and the agents.
        if epoch.term > self.epoch.term {
            return;
        }
        self.note_epoch(&id.uuid, epoch);
        let older = self.containers.get(&id.uuid).is_some_and(|known| {
            known.id == *id && known.state().place().is_some_and(|place| place.epoch < epoch)
        });
        if older {
            self.renew(&id.uuid);
        }
    }

    /// Ends an activation, whoever holds it, so that a newer one follows.
    fn renew(&mut self, uuid: &Uuid) {
        let Some(state) = self.containers.get(uuid).map(Container::state) else { return };
        let (State::Running(place) | State::Terminating(place, _)) = state.clone() else { return };
        let ending = Ending { asked: false, force: true, outdated: true, deadline: self.now };
        self.enter_state(uuid, State::Terminating(place, ending));
        self.ask_to_end(uuid);
    }
}

fn is_older(epoch: Epoch, other: Epoch) -> bool {
    epoch < other && !mutant(Mutant::OlderWins)
}
