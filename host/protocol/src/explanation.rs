//! Everything that the registry knows about one container, for operators.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{AgentId, ClientId, ContainerId, Endpoint, Epoch, Labels, NetworkError};

/// The answer to [`crate::Call::Explain`]. Durations are in milliseconds
/// before the answer was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Its identity.
    pub id: ContainerId,
    /// Its labels.
    pub labels: Labels,
    /// Where it is in its life.
    pub phase: Phase,
    /// Where it runs; `None` while it is vacant.
    pub endpoint: Option<Endpoint>,
    /// Why it runs there.
    pub reason: Reason,
    /// Its activation, or the last one while it is vacant.
    pub epoch: Epoch,
    /// How long ago its activation, or the last one, began to start or to run.
    pub since_ms: u64,
    /// The clients that hold it, the first [`crate::limits::EXPLAINED`].
    pub holders: Vec<ClientId>,
    /// How many hold it.
    pub holder_count: u64,
    /// Who waits for it to start, the first [`crate::limits::EXPLAINED`].
    pub waiting: Vec<ClientId>,
    /// Who waits for it to end, the first [`crate::limits::EXPLAINED`].
    pub ending: Vec<ClientId>,
    /// When the registry acts next by itself, in milliseconds from now.
    pub next_ms: Option<u64>,
    /// The agents that offer it as a singleton, in their order.
    pub offered_by: Vec<AgentId>,
    /// Failures in a row.
    pub failures: u32,
    /// The last start that failed, unless that is long forgotten.
    pub last_failure: Option<StartFailure>,
}

/// Where a container is in its life, more finely than clients need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// It runs nowhere and waits for an agent that can take it.
    Vacant,
    /// It waits for its agent to bring it back after the coordinator's start.
    Recovering,
    /// Its agent was asked to start it.
    Starting,
    /// It answers requests.
    Running,
    /// It was asked to end and did not answer yet.
    Ending,
    /// It answered *not yet* and is asked again.
    Draining,
}

impl Phase {
    /// The phase as people and programs read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vacant => "vacant",
            Self::Recovering => "recovering",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Ending => "ending",
            Self::Draining => "draining",
        }
    }
}

/// Why a container runs where it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// It was never placed.
    #[default]
    NotPlaced,
    /// It was the agent's turn.
    Turn,
    /// The agent was the less loaded one of two.
    LeastLoaded,
    /// It is the shared container of its kind on this agent.
    Shared,
    /// The agent offers it as a singleton.
    Offered,
    /// The agent ran it already when it registered.
    Brought,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPlaced => "it was never placed",
            Self::Turn => "it was the agent's turn",
            Self::LeastLoaded => "the agent was the less loaded one of two",
            Self::Shared => "it is the shared container of its kind on this agent",
            Self::Offered => "the agent offers it",
            Self::Brought => "the agent ran it already when it registered",
        })
    }
}

/// One limit of a container, and how much of it is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRecord {
    /// What is limited, in kebab-case.
    pub name: String,
    /// How much may be used.
    pub allowed: u64,
    /// How much is in use now; `None` where that is no state of a container.
    pub used: Option<u64>,
    /// What the numbers count.
    pub unit: LimitUnit,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LimitUnit {
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Milliseconds.
    Milliseconds,
}

/// A start that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// What was started.
    pub id: ContainerId,
    /// Where.
    pub agent: AgentId,
    /// Why it failed.
    pub error: NetworkError,
    /// How long ago, in milliseconds.
    pub ago_ms: u64,
    /// Starts of the kind on the agent that failed in a row, for the same
    /// tenant.
    pub failures: u32,
    /// How long the agent is still spared further ones, in milliseconds.
    pub spared_ms: u64,
}
