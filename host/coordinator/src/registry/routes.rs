//! Where a request to a container goes.

use hulynet_protocol::{AgentId, ClientId, Epoch, NetworkError, Target};

use super::{Registry, containers::State, errors};

/// The way to one activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The peer that is the agent.
    pub peer: ClientId,
    /// The agent.
    pub agent: AgentId,
    /// The live activation.
    pub epoch: Epoch,
}

impl Registry {
    /// Finds the activation that a request is meant for.
    ///
    /// # Errors
    /// All of them are safe to retry, because the container saw nothing:
    /// `UnknownContainer` (get it first), `StaleEpoch` (the caller knows an
    /// activation that is over), `Unavailable` (it is being started). A uuid
    /// under another kind is refused for good.
    pub fn route(&self, target: &Target) -> Result<Route, NetworkError> {
        let id = &target.id;
        let Some(container) = self.containers.get(&id.uuid) else {
            return Err(errors::unknown_container(id));
        };
        if container.id.kind != id.kind {
            return Err(errors::other_kind(id, &container.id.kind));
        }
        let place = match container.state() {
            State::Vacant { .. } | State::Starting(_) => return Err(errors::not_running(id)),
            State::Running(place) | State::Terminating(place, _) => place,
        };
        if let Some(epoch) = target.epoch
            && epoch != place.epoch
        {
            return Err(errors::stale_epoch(id, epoch, place.epoch));
        }
        let Some(agent) = self.agents.get(&place.agent) else {
            return Err(errors::not_running(id));
        };
        Ok(Route { peer: agent.peer.clone(), agent: place.agent.clone(), epoch: place.epoch })
    }
}
