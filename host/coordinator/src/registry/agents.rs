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
    /// In which order they came, as long as they are there.
    numbers: BTreeMap<AgentId, u64>,
    latest: u64,
    /// Where turns begin.
    first: usize,
    by_kind: BTreeMap<Kind, Serving>,
}

/// Those that serve one kind, in the order in which they came.
#[derive(Debug, Default)]
struct Serving {
    agents: Vec<AgentId>,
    /// Their numbers.
    numbers: Vec<u64>,
    /// The number of who was chosen last.
    last: Option<u64>,
}

impl Serving {
    fn insert(&mut self, number: u64, id: AgentId) {
        let place = self.numbers.partition_point(|other| *other < number);
        self.numbers.insert(place, number);
        self.agents.insert(place, id);
    }

    fn remove(&mut self, number: u64) {
        if let Ok(place) = self.numbers.binary_search(&number) {
            self.numbers.remove(place);
            self.agents.remove(place);
        }
    }
}

impl Agents {
    /// Adds an agent or replaces what is known of it.
    pub(crate) fn insert(&mut self, agent: Agent) {
        let id = agent.endpoint.agent.clone();
        let number = self.numbers.get(&id).copied().unwrap_or(self.latest + 1);
        self.latest = self.latest.max(number);
        self.remove(&id);
        for kind in &agent.kinds {
            self.by_kind.entry(kind.clone()).or_default().insert(number, id.clone());
        }
        self.numbers.insert(id.clone(), number);
        self.table.insert(id, agent);
    }

    pub(crate) fn remove(&mut self, id: &AgentId) -> Option<Agent> {
        let (agent, number) = (self.table.remove(id)?, self.numbers.remove(id)?);
        for kind in &agent.kinds {
            if let Some(serving) = self.by_kind.get_mut(kind) {
                serving.remove(number);
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

    /// The agents that serve a kind, in the order in which they came.
    pub(crate) fn serving(&self, kind: &Kind) -> &[AgentId] {
        self.by_kind.get(kind).map_or(&[], |serving| &serving.agents)
    }

    /// Round-robin: the place of the agent after the one that was chosen last,
    /// among those that serve the kind.
    pub(crate) fn turn(&self, kind: &Kind) -> usize {
        let Some(Serving { numbers, last, .. }) = self.by_kind.get(kind) else { return 0 };
        let next =
            last.map_or(self.first, |last| numbers.partition_point(|number| *number <= last));
        if next >= numbers.len() { 0 } else { next }
    }

    /// From here on the first turn is the second agent's: peers of the original
    /// network know it so.
    pub(crate) fn begin_with_the_second(&mut self) {
        self.first = 1;
    }

    /// Notes whose turn it was.
    pub(crate) fn chose(&mut self, kind: &Kind, agent: &AgentId) {
        if let Some(serving) = self.by_kind.get_mut(kind) {
            serving.last = self.numbers.get(agent).copied();
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
                let numbers: Option<Vec<u64>> =
                    serving.agents.iter().map(|id| self.numbers.get(id).copied()).collect();
                !serving.agents.is_empty()
                    && numbers.as_ref() == Some(&serving.numbers)
                    && serving.agents.iter().all(|id| self.serves(id, kind))
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
        assert_eq!([turns(), turns(), turns(), turns()], ["c", "a", "b", "c"]);
        // Who registers again keeps its place.
        agents.insert(agent("c", &["echo"]));
        let mut turns = || next(&mut agents, &echo).unwrap();
        assert_eq!([turns(), turns(), turns()], ["a", "b", "c"]);
    }

    #[test]
    fn the_first_turn_is_the_second_agents_where_the_original_is_spoken() {
        let mut agents = Agents::default();
        agents.begin_with_the_second();
        let echo = Kind::new("echo").unwrap();
        agents.insert(agent("a", &["echo"]));
        assert_eq!(agents.turn(&echo), 0);
        agents.insert(agent("b", &["echo"]));
        let mut turns = || next(&mut agents, &echo).unwrap();
        assert_eq!([turns(), turns(), turns()], ["b", "a", "b"]);
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
