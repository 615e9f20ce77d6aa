//! Activations that were given up and may run after all: a start that was not
//! answered, a container that two agents brought. Their agents are asked to
//! end them until they say so.

use std::collections::{BTreeMap, BTreeSet};

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{AgentId, ContainerId, Epoch, ErrorKind, NetworkError};

use super::{Action, Registry, timers::Timer};

/// What is still to end, by agent; all of it goes with its agent, and a
/// registration tells what is left.
pub(crate) type Strays = BTreeMap<AgentId, BTreeSet<(ContainerId, Epoch)>>;

impl Registry {
    /// Ends an activation that is not the container's.
    pub(crate) fn end_stray(&mut self, agent: &AgentId, id: &ContainerId, epoch: Epoch) {
        if self.agents.get(agent).is_none() || mutant(Mutant::ForgottenStray) {
            return;
        }
        self.strays.entry(agent.clone()).or_default().insert((id.clone(), epoch));
        self.ask_to_end_stray(agent, id, epoch);
        if !self.timers.is_set(&Timer::Strays) {
            self.timers.set(Timer::Strays, self.now + self.config.terminate_timeout);
        }
    }

    fn ask_to_end_stray(&mut self, agent: &AgentId, id: &ContainerId, epoch: Epoch) {
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

    /// An agent answered for an activation that is nobody's.
    pub(crate) fn stray_answered(
        &mut self,
        agent: &AgentId,
        id: &ContainerId,
        epoch: Epoch,
        result: &Result<bool, NetworkError>,
    ) {
        let gone = match result {
            Ok(ended) => *ended,
            Err(error) => {
                matches!(error.kind, ErrorKind::UnknownContainer | ErrorKind::StaleEpoch)
            }
        };
        if gone {
            self.stray_ended(agent, id, epoch);
        } else if self.strays.contains_key(agent) {
            self.timers.set(Timer::Strays, self.now + self.config.ask_interval);
        }
    }

    pub(crate) fn stray_ended(&mut self, agent: &AgentId, id: &ContainerId, epoch: Epoch) {
        if let Some(strays) = self.strays.get_mut(agent) {
            strays.remove(&(id.clone(), epoch));
            if strays.is_empty() {
                self.strays.remove(agent);
            }
        }
        if self.strays.is_empty() {
            self.timers.cancel(&Timer::Strays);
        }
    }

    /// The agent is gone, or told everything that it runs.
    pub(crate) fn forget_strays(&mut self, agent: &AgentId) {
        self.strays.remove(agent);
        if self.strays.is_empty() {
            self.timers.cancel(&Timer::Strays);
        }
    }

    /// Asks again for all that did not end.
    pub(crate) fn strays_due(&mut self) {
        for (agent, strays) in self.strays.clone() {
            for (id, epoch) in strays {
                self.ask_to_end_stray(&agent, &id, epoch);
            }
        }
        if !self.strays.is_empty() {
            self.timers.set(Timer::Strays, self.now + self.config.terminate_timeout);
        }
    }
}
