//! Starts that failed: which agents are spared which kinds, and for how long.
//!
//! Nothing here is ever an answer: a spared agent is only passed over, and a
//! get that finds all agents spared waits for the first of them. While only
//! one container fails, only that container waits, so that what is wrong with
//! it does not delay others of its kind.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use hulynet_protocol::{AgentId, ContainerId, Kind, NetworkError, StartFailure, Uuid};

use super::{config::RegistryConfig, time::Time};

/// How many failures are remembered for explanations.
const REMEMBERED: usize = 256;

/// The kinds that fail to start, by agent; as many as there are, at most one
/// entry for each kind of each agent.
#[derive(Debug, Default)]
pub(crate) struct Failing {
    by_agent: BTreeMap<AgentId, BTreeMap<Kind, Failed>>,
    recent: VecDeque<Failed>,
}

/// Starts of one kind on one agent that failed in a row.
#[derive(Clone, Debug)]
struct Failed {
    agent: AgentId,
    /// The last container that failed.
    id: ContainerId,
    /// Others than the last one failed, too.
    several: bool,
    error: NetworkError,
    at: Time,
    failures: u32,
    spared_until: Time,
}

impl Failed {
    fn tell(&self, now: Time) -> StartFailure {
        StartFailure {
            id: self.id.clone(),
            agent: self.agent.clone(),
            error: self.error.clone(),
            ago_ms: millis(now.since(self.at)),
            failures: self.failures,
            spared_ms: millis(self.spared_until.since(now)),
        }
    }
}

impl Failing {
    /// Counts a failure. The first one spares the agent nothing: it may have
    /// been an accident, and somebody may wait for the next attempt.
    pub(crate) fn failed(
        &mut self,
        now: Time,
        config: &RegistryConfig,
        agent: &AgentId,
        id: &ContainerId,
        error: &NetworkError,
    ) {
        let kinds = self.by_agent.entry(agent.clone()).or_default();
        let before = kinds.get(&id.kind);
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        let several = before.is_some_and(|before| before.several || before.id != *id);
        let spared = match failures {
            1 => Duration::ZERO,
            _ => config.restart_after(failures - 1),
        };
        let failed = Failed {
            agent: agent.clone(),
            id: id.clone(),
            several,
            error: error.clone(),
            at: now,
            failures,
            spared_until: now + spared,
        };
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(failed.clone());
        kinds.insert(id.kind.clone(), failed);
    }

    /// A start of the kind succeeded on the agent.
    pub(crate) fn succeeded(&mut self, agent: &AgentId, kind: &Kind) {
        if let Some(kinds) = self.by_agent.get_mut(agent) {
            kinds.remove(kind);
            if kinds.is_empty() {
                self.by_agent.remove(agent);
            }
        }
    }

    /// The agent is gone.
    pub(crate) fn forget(&mut self, agent: &AgentId) {
        self.by_agent.remove(agent);
    }

    /// Until when the agent is spared a start of the container.
    pub(crate) fn spared(&self, now: Time, agent: &AgentId, id: &ContainerId) -> Option<Time> {
        let failed = self.by_agent.get(agent)?.get(&id.kind)?;
        let concerned = failed.several || failed.id == *id;
        (concerned && failed.spared_until > now).then_some(failed.spared_until)
    }

    /// What does not start on an agent, for the operator.
    pub(crate) fn of_agent(&self, now: Time, agent: &AgentId) -> Vec<StartFailure> {
        let kinds = self.by_agent.get(agent).into_iter().flatten();
        kinds.map(|(_, failed)| failed.tell(now)).collect()
    }

    /// The last failure of a container, as far as it is remembered.
    pub(crate) fn last(&self, now: Time, uuid: &Uuid) -> Option<StartFailure> {
        let found = self.recent.iter().rev().find(|failed| failed.id.uuid == *uuid)?;
        Some(found.tell(now))
    }

    pub(crate) fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.by_agent.keys()
    }
}

/// For the wire.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
