//! Starts that failed: which agents are spared which kinds of which tenants,
//! and for how long.
//!
//! Nothing here is ever an answer: a spared agent is only passed over, and a
//! get that finds all agents spared waits for the first of them. While only
//! one container fails, only that container waits, so that what is wrong with
//! it does not delay others of its kind. Where several fail, those of the same
//! tenant wait: what one tenant asks a kind to do, or has used up, does not
//! delay the containers of others.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use hulynet_protocol::{AgentId, ContainerId, Kind, NetworkError, StartFailure, Uuid};

use super::{config::RegistryConfig, time::Time};

/// How many failures are remembered for explanations.
const REMEMBERED: usize = 256;

/// For how many parties an agent is spared at most: who asks for a container
/// chooses the name of its tenant.
const PARTIES: usize = 256;

/// What fails to start, by agent.
#[derive(Debug, Default)]
pub(crate) struct Failing {
    by_agent: BTreeMap<AgentId, BTreeMap<Party, Failed>>,
    recent: VecDeque<Failed>,
}

/// Whose failures are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Party {
    kind: Kind,
    /// `None` for containers that work for nobody.
    tenant: Option<Box<str>>,
}

impl Party {
    fn new(kind: &Kind, tenant: Option<&str>) -> Self {
        Self { kind: kind.clone(), tenant: tenant.map(Into::into) }
    }
}

/// Starts for one party on one agent that failed in a row.
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
    /// been an accident, and somebody may wait for the next attempt. Of too many
    /// parties the one that is spared the shortest is forgotten, which costs the
    /// agent some attempts and delays nobody.
    pub(crate) fn failed(
        &mut self,
        now: Time,
        config: &RegistryConfig,
        agent: &AgentId,
        id: &ContainerId,
        tenant: Option<&str>,
        error: &NetworkError,
    ) {
        let parties = self.by_agent.entry(agent.clone()).or_default();
        let party = Party::new(&id.kind, tenant);
        let before = parties.get(&party);
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
        if before.is_none() && parties.len() == PARTIES {
            let shortest = parties.iter().min_by_key(|(_, failed)| failed.spared_until);
            if let Some(party) = shortest.map(|(party, _)| party.clone()) {
                parties.remove(&party);
            }
        }
        parties.insert(party, failed);
    }

    /// A start of the kind for the tenant succeeded on the agent.
    pub(crate) fn succeeded(&mut self, agent: &AgentId, kind: &Kind, tenant: Option<&str>) {
        if let Some(parties) = self.by_agent.get_mut(agent) {
            parties.remove(&Party::new(kind, tenant));
            if parties.is_empty() {
                self.by_agent.remove(agent);
            }
        }
    }

    /// The agent is gone.
    pub(crate) fn forget(&mut self, agent: &AgentId) {
        self.by_agent.remove(agent);
    }

    /// Until when the agent is spared a start of the tenant's container.
    pub(crate) fn spared(
        &self,
        now: Time,
        agent: &AgentId,
        id: &ContainerId,
        tenant: Option<&str>,
    ) -> Option<Time> {
        let failed = self.by_agent.get(agent)?.get(&Party::new(&id.kind, tenant))?;
        let concerned = failed.several || failed.id == *id;
        (concerned && failed.spared_until > now).then_some(failed.spared_until)
    }

    /// What does not start on an agent, for the operator: of each kind the last
    /// failure.
    pub(crate) fn of_agent(&self, now: Time, agent: &AgentId) -> Vec<StartFailure> {
        let mut kinds: BTreeMap<&Kind, &Failed> = BTreeMap::new();
        for (Party { kind, .. }, failed) in self.by_agent.get(agent).into_iter().flatten() {
            let last = kinds.entry(kind).or_insert(failed);
            if failed.at > last.at {
                *last = failed;
            }
        }
        kinds.into_values().map(|failed| failed.tell(now)).collect()
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

#[cfg(test)]
mod tests {
    use hulynet_protocol::ErrorKind;

    use super::*;

    fn id(uuid: &str) -> ContainerId {
        ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new(uuid).unwrap() }
    }

    /// Fails on the agent `a` at a time.
    fn fail(failing: &mut Failing, now: Time, tenant: Option<&str>, uuid: &str) {
        let agent = AgentId::new("a").unwrap();
        let error = NetworkError::refused(ErrorKind::StartFailed, "it trapped");
        let config = RegistryConfig::default();
        failing.failed(now, &config, &agent, &id(uuid), tenant, &error);
    }

    #[test]
    fn tenants_without_end_are_remembered_within_a_bound_and_the_worst_one_stays() {
        let (agent, mut now) = (AgentId::new("a").unwrap(), Time::default());
        let mut failing = Failing::default();
        for _ in 0..10 {
            fail(&mut failing, now, Some("worst"), "w");
        }
        for number in 0..10_000 {
            let name = number.to_string();
            fail(&mut failing, now, Some(&name), &name);
            fail(&mut failing, now, Some(&name), &name);
            now = now + Duration::from_millis(1);
        }
        assert_eq!(failing.by_agent[&agent].len(), PARTIES);
        let spared = |uuid: &str, tenant| failing.spared(now, &agent, &id(uuid), tenant);
        assert!(spared("w", Some("worst")) > spared("9999", Some("9999")));
        assert!(spared("9999", Some("9999")).is_some());
        assert_eq!(spared("0", Some("0")), None);
    }

    #[test]
    fn an_operator_sees_the_last_failure_of_each_kind() {
        let (agent, now) = (AgentId::new("a").unwrap(), Time::default());
        let mut failing = Failing::default();
        fail(&mut failing, now + Duration::from_secs(2), Some("b"), "last");
        fail(&mut failing, now + Duration::from_secs(1), Some("a"), "first");
        fail(&mut failing, now + Duration::from_secs(1), None, "nobodys");
        let told = failing.of_agent(now + Duration::from_secs(3), &agent);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].id.clone(), told[0].ago_ms), (id("last"), 1000));
        let kind = id("any").kind;
        for tenant in [Some("a"), Some("b"), None] {
            failing.succeeded(&agent, &kind, tenant);
        }
        assert_eq!(failing.agents().count(), 0);
    }
}
