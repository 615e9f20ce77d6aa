//! The agents that are registered, the kinds they serve, and whose turn it is.

use std::collections::{BTreeMap, BTreeSet};

use hulynet_protocol::{AgentId, ClientId, Endpoint, Intake, Kind, Labels, Load};

/// One registered agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    /// The peer over whose session it is asked.
    pub(crate) peer: ClientId,
    pub(crate) endpoint: Endpoint,
    pub(crate) kinds: BTreeSet<Kind>,
    pub(crate) labels: Labels,
    /// What it reported last.
    pub(crate) load: Load,
    /// How many containers it had then.
    pub(crate) counted: usize,
}

impl Agent {
    /// Whether both look the same to watchers.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.kinds == other.kinds
            && self.labels == other.labels
            && self.load.intake == other.load.intake
    }
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
    /// Sorted, so that one can be drawn by its number.
    agents: Vec<AgentId>,
    /// Who was chosen last.
    last: Option<AgentId>,
}

impl Agents {
    /// Adds an agent or replaces what is known of it.
    pub(crate) fn insert(&mut self, agent: Agent) {
        let id = agent.endpoint.agent.clone();
        self.remove(&id);
        for kind in &agent.kinds {
            let agents = &mut self.by_kind.entry(kind.clone()).or_default().agents;
            if let Err(place) = agents.binary_search(&id) {
                agents.insert(place, id.clone());
            }
        }
        self.table.insert(id, agent);
    }

    pub(crate) fn remove(&mut self, id: &AgentId) -> Option<Agent> {
        let agent = self.table.remove(id)?;
        for kind in &agent.kinds {
            if let Some(serving) = self.by_kind.get_mut(kind) {
                serving.agents.retain(|other| other != id);
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

    /// The agents that serve a kind, sorted.
    pub(crate) fn serving(&self, kind: &Kind) -> &[AgentId] {
        self.by_kind.get(kind).map_or(&[], |serving| &serving.agents)
    }

    /// Round-robin: the number of the agent after the one that was chosen
    /// last, among those that serve the kind.
    pub(crate) fn turn(&self, kind: &Kind) -> usize {
        let Some(Serving { agents, last: Some(last) }) = self.by_kind.get(kind) else { return 0 };
        let next = agents.partition_point(|agent| agent <= last);
        if next == agents.len() { 0 } else { next }
    }

    /// Notes whose turn it was.
    pub(crate) fn chose(&mut self, kind: &Kind, agent: &AgentId) {
        if let Some(serving) = self.by_kind.get_mut(kind) {
            serving.last = Some(agent.clone());
        }
    }

    /// Notes what an agent reported when it had so many containers; gives what
    /// it said of its intake before.
    pub(crate) fn report(&mut self, id: &AgentId, load: Load, counted: usize) -> Option<Intake> {
        let agent = self.table.get_mut(id)?;
        agent.counted = counted;
        Some(std::mem::replace(&mut agent.load, load).intake)
    }

    /// An agent refused a start for want of room; its next report may tell
    /// otherwise.
    pub(crate) fn is_full(&mut self, id: &AgentId) {
        if let Some(agent) = self.table.get_mut(id)
            && agent.load.intake == Intake::Open
        {
            agent.load.intake = Intake::Full;
        }
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
            load: Load::default(),
            counted: 0,
        }
    }

    fn next(agents: &mut Agents, kind: &Kind) -> Option<String> {
        let chosen = agents.serving(kind).get(agents.turn(kind))?.clone();
        agents.chose(kind, &chosen);
        Some(chosen.as_str().to_owned())
    }

    #[test]
    fn agents_that_serve_a_kind_take_turns() {
        let mut agents = Agents::default();
        for id in ["c", "a", "b"] {
            agents.insert(agent(id, &["echo"]));
        }
        agents.insert(agent("d", &["other"]));
        let echo = Kind::new("echo").unwrap();
        let mut turns = || next(&mut agents, &echo).unwrap();
        assert_eq!([turns(), turns(), turns(), turns()], ["a", "b", "c", "a"]);
    }

    #[test]
    fn the_turn_goes_on_when_the_last_one_is_gone() {
        let mut agents = Agents::default();
        for id in ["a", "b", "c"] {
            agents.insert(agent(id, &["echo"]));
        }
        let echo = Kind::new("echo").unwrap();
        next(&mut agents, &echo);
        next(&mut agents, &echo);
        agents.remove(&AgentId::new("b").unwrap());
        assert_eq!(next(&mut agents, &echo).unwrap(), "c");
        agents.remove(&AgentId::new("a").unwrap());
        agents.remove(&AgentId::new("c").unwrap());
        assert_eq!(next(&mut agents, &echo), None);
        assert_eq!(agents.kinds().count(), 0);
        assert!(agents.is_consistent());
    }
}
