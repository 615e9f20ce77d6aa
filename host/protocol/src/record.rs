//! What the registry tells about agents and containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AgentId, ContainerId, Epoch, Kind, Load, StartFailure};

/// Names and values by which containers are found and placed.
///
/// At most [`crate::limits::LABELS`] of them, each key and value at most
/// [`crate::limits::LABEL_BYTES`] long and without control characters.
pub type Labels = BTreeMap<String, String>;

/// Where a container is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The agent that runs it.
    pub agent: AgentId,
    /// The agent's own address, `HOST:PORT`; `None` when the agent can only be
    /// reached through the coordinator.
    pub address: Option<String>,
}

/// A live agent as the registry sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Its id and address.
    pub endpoint: Endpoint,
    /// The kinds it serves, sorted, each once.
    pub kinds: Vec<Kind>,
    /// How many containers it runs.
    pub containers: u64,
    /// Its labels.
    pub labels: Labels,
    /// What it reported last.
    pub load: Load,
    /// Kinds that do not start on it now: the last failure of each, whoever
    /// the container works for.
    pub failing: Vec<StartFailure>,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ContainerState {
    /// Its agent was asked to start it.
    Starting,
    /// It answers requests.
    Running,
    /// It was asked to terminate and has not ended yet.
    Terminating,
}

/// A container as the registry sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its identity.
    pub id: ContainerId,
    /// Where it runs.
    pub endpoint: Endpoint,
    /// Its activation.
    pub epoch: Epoch,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Its labels.
    pub labels: Labels,
    /// How many clients hold a reference to it.
    pub holders: u64,
}
