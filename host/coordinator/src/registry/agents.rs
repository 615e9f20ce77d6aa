//! The agents that are registered, the kinds they serve, and whose turn it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use hulynet_protocol::{AgentId, ClientId, Endpoint, Kind, Labels};

/// One registered agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    /// The peer over whose session it is asked.
    pub(crate) peer: ClientId,
    pub(crate) endpoint: Endpoint,
    pub(crate) kinds: BTreeSet<Kind>,
    pub(crate) labels: Labels,
}

/// All agents, indexed by the kinds they serve.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    table: BTreeMap<AgentId, Agent>,
    by_kind: BTreeMap<Kind, Serving>,
}

/// Those that serve one kind.
#[derive(Debug, Default)]
struct Serving {
    agents: BTreeSet<AgentId>,
    /// Who was chosen last.
    last: Option<AgentId>,
}

impl Agents {
    /// Adds an agent or replaces what is known of it.
    pub(crate) fn insert(&mut self, agent: Agent) {
        let id = agent.endpoint.agent.clone();
        self.remove(&id);
        for kind in &agent.kinds {
            self.by_kind.entry(kind.clone()).or_default().agents.insert(id.clone());
        }
        self.table.insert(id, agent);
    }

    pub(crate) fn remove(&mut self, id: &AgentId) -> Option<Agent> {
        let agent = self.table.remove(id)?;
        for kind in &agent.kinds {
            if let Some(serving) = self.by_kind.get_mut(kind) {
                serving.agents.remove(id);
                if serving.agents.is_empty() {
                    self.by_kind.remove(kind);
                }
            }
        }
        Some(agent)
    }

    pub(crate) fn get(&self, id: &AgentId) -> Option<&Agent> {
        self.table.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AgentId, &Agent)> {
        self.table.iter()
    }

    /// The kinds that are served, sorted, each once.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.by_kind.keys()
    }

    pub(crate) fn serves(&self, id: &AgentId, kind: &Kind) -> bool {
        self.table.get(id).is_some_and(|agent| agent.kinds.contains(kind))
    }

    /// Round-robin: the agent after the one that was chosen last, among those
    /// that serve the kind.
    pub(crate) fn next(&mut self, kind: &Kind) -> Option<AgentId> {
        let serving = self.by_kind.get_mut(kind)?;
        let after = match &serving.last {
            Some(last) => {
                serving.agents.range::<AgentId, _>((Bound::Excluded(last), Bound::Unbounded)).next()
            }
            None => None,
        };
        let chosen = after.or_else(|| serving.agents.first())?.clone();
        serving.last = Some(chosen.clone());
        Some(chosen)
    }

    /// Whether the index holds exactly what the agents serve.
    pub(crate) fn is_consistent(&self) -> bool {
        let indexed: usize = self.by_kind.values().map(|serving| serving.agents.len()).sum();
        let served: usize = self.table.values().map(|agent| agent.kinds.len()).sum();
        indexed == served
            && self.by_kind.iter().all(|(kind, serving)| {
                !serving.agents.is_empty() && serving.agents.iter().all(|id| self.serves(id, kind))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: &str, kinds: &[&str]) -> Agent {
        Agent {
            peer: ClientId::new(id).unwrap(),
            endpoint: Endpoint { agent: AgentId::new(id).unwrap(), address: None },
            kinds: kinds.iter().map(|kind| Kind::new(kind).unwrap()).collect(),
            labels: Labels::new(),
        }
    }

    #[test]
    fn agents_that_serve_a_kind_take_turns() {
        let mut agents = Agents::default();
        for id in ["c", "a", "b"] {
            agents.insert(agent(id, &["echo"]));
        }
        agents.insert(agent("d", &["other"]));
        let echo = Kind::new("echo").unwrap();
        let mut turns = || agents.next(&echo).unwrap().as_str().to_owned();
        assert_eq!([turns(), turns(), turns(), turns()], ["a", "b", "c", "a"]);
    }

    #[test]
    fn the_turn_goes_on_when_the_last_one_is_gone() {
        let mut agents = Agents::default();
        for id in ["a", "b", "c"] {
            agents.insert(agent(id, &["echo"]));
        }
        let echo = Kind::new("echo").unwrap();
        agents.next(&echo);
        agents.next(&echo);
        agents.remove(&AgentId::new("b").unwrap());
        assert_eq!(agents.next(&echo).unwrap().as_str(), "c");
        agents.remove(&AgentId::new("a").unwrap());
        agents.remove(&AgentId::new("c").unwrap());
        assert_eq!(agents.next(&echo), None);
        assert_eq!(agents.kinds().count(), 0);
        assert!(agents.is_consistent());
    }
}
