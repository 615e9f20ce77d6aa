//! On which agent a container is started.
//!
//! Never on one that is draining, full or about to fence itself, nor where the
//! kind keeps failing for the tenant; among the others those that suit the
//! request's labels best, and among these by turns or by load.

use std::collections::BTreeSet;

use hulynet_protocol::{AgentId, ContainerId, Intake, Kind, Labels, NetworkError, Reason, Uuid};

use super::{Registry, agents::Agent, errors, time::Time};

/// How an agent is chosen among those that suit equally.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Each in its turn: even numbers of containers.
    #[default]
    RoundRobin,
    /// The less loaded of two that are drawn at random: even load when
    /// containers differ, without everybody running to the idlest agent
    /// between two reports.
    LeastLoaded,
}

/// Where a container would rather run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    pub(crate) near: Labels,
    pub(crate) avoid: Labels,
}

impl Affinity {
    /// Nothing for the usual request, which has no wishes.
    pub(crate) fn new(near: Labels, avoid: Labels) -> Option<Box<Self>> {
        (!near.is_empty() || !avoid.is_empty()).then(|| Box::new(Self { near, avoid }))
    }

    /// How little an agent suits: less is better.
    fn distance(&self, agent: &Agent) -> (usize, usize) {
        let has = |(key, value): &(&String, &String)| agent.labels.get(*key) == Some(*value);
        let unwanted = self.avoid.iter().filter(has).count();
        let wanted = self.near.iter().filter(has).count();
        (unwanted, self.near.len() - wanted)
    }
}

/// A container for which an agent is looked for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    id: &'a ContainerId,
    /// For whom it works.
    tenant: Option<&'a str>,
    /// The agents that refused it in this round.
    tried: &'a BTreeSet<AgentId>,
}

/// What came of looking for an agent.
#[derive(Debug)]
pub(crate) enum Choice {
    /// This one.
    Agent(AgentId, Reason),
    /// All that could take it must be waited for.
    Later(Time),
    /// Every agent was tried in this round.
    Exhausted,
    /// None can.
    Nobody(NetworkError),
}

/// What stands in the way of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// It leaves or has no room.
    Closed,
    /// It is spared or fences itself until then.
    Until(Time),
    /// It was tried in this round.
    Tried,
}

/// A source of choices that are the same for the same history.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound` (SplitMix64; the bias is far below what a choice
    /// among agents could show).
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (bound.max(1) as u64)).unwrap_or(0)
    }
}

impl Registry {
    /// Where a container that runs nowhere is to be started.
    pub(crate) fn place(&mut self, uuid: &Uuid) -> Choice {
        let Some(container) = self.containers.get(uuid) else { return Choice::Exhausted };
        let id = container.id.clone();
        let tried: BTreeSet<AgentId> = container.tried.iter().cloned().collect();
        let tenant = container.labels.tenant().map(str::to_owned);
        let affinity = container.affinity.clone();
        let wanted = Wanted { id: &id, tenant: tenant.as_deref(), tried: &tried };
        let queue = self.offers.queue(&id).to_vec();
        if !queue.is_empty() {
            let serving: Vec<AgentId> =
                queue.into_iter().filter(|agent| self.agents.serves(agent, &id.kind)).collect();
            let first = serving.iter().find(|agent| self.obstacle(agent, wanted).is_none());
            return match first {
                Some(agent) => Choice::Agent(agent.clone(), Reason::Offered),
                None => self.nowhere(&serving, wanted),
            };
        }
        self.choose(wanted, affinity.as_deref(), |_, _| false)
    }

    /// Whose shared container of the kind comes next. An agent without room
    /// still gives the one that it has.
    pub(crate) fn place_shared(
        &mut self,
        kind: &Kind,
        uuid: &Uuid,
        wishes: Option<&Affinity>,
    ) -> Choice {
        let id = ContainerId { kind: kind.clone(), uuid: uuid.clone() };
        let shares = |registry: &Self, agent: &AgentId| {
            registry.agents.get(agent).is_some_and(|agent| agent.load.intake == Intake::Full)
                && registry.containers.shared(agent, kind).is_some()
        };
        // It is for whoever asks, so it works for nobody.
        let wanted = Wanted { id: &id, tenant: None, tried: &BTreeSet::new() };
        self.choose(wanted, wishes, shares)
    }

    /// Those that are `allowed` are chosen whatever stands in their way.
    fn choose(
        &mut self,
        wanted: Wanted<'_>,
        wishes: Option<&Affinity>,
        allowed: impl Fn(&Self, &AgentId) -> bool,
    ) -> Choice {
        let id = wanted.id;
        let count = self.agents.serving(&id.kind).len();
        let draws = (self.random.below(count), self.random.below(count));
        let serving = self.agents.serving(&id.kind);
        let free = |agent: &AgentId| self.obstacle(agent, wanted).is_none() || allowed(self, agent);
        let distance = |agent: &AgentId| {
            wishes.and_then(|wishes| Some(wishes.distance(self.agents.get(agent)?)))
        };
        let nearest = match wishes {
            None => None,
            Some(_) => serving.iter().filter(|agent| free(agent)).map(distance).min().flatten(),
        };
        let suits = |agent: &AgentId| free(agent) && distance(agent) == nearest;
        let from = |start: usize| {
            let (before, after) = serving.split_at(start.min(count));
            after.iter().chain(before).filter(|agent| suits(agent))
        };
        let chosen = match self.config.placement {
            Placement::RoundRobin => {
                from(self.agents.turn(&id.kind)).next().map(|agent| (agent.clone(), Reason::Turn))
            }
            Placement::LeastLoaded => {
                let one = from(draws.0).next();
                let other = from(draws.1).find(|agent| Some(*agent) != one);
                let least =
                    [one, other].into_iter().flatten().min_by_key(|agent| self.burden(agent));
                least.map(|agent| (agent.clone(), Reason::LeastLoaded))
            }
        };
        match chosen {
            Some((agent, reason)) => {
                self.agents.chose(&id.kind, &agent);
                Choice::Agent(agent, reason)
            }
            None => self.nowhere(serving, wanted),
        }
    }

    /// Why no agent can be chosen.
    fn nowhere(&self, serving: &[AgentId], wanted: Wanted<'_>) -> Choice {
        let kind = &wanted.id.kind;
        if serving.is_empty() {
            return Choice::Nobody(errors::unknown_kind(kind, self.agents.kinds()));
        }
        if !wanted.tried.is_empty() {
            return Choice::Exhausted;
        }
        let soonest = serving
            .iter()
            .filter_map(|agent| match self.obstacle(agent, wanted) {
                Some(Obstacle::Until(time)) => Some(time),
                _ => None,
            })
            .min();
        soonest.map_or_else(|| Choice::Nobody(errors::no_room(kind, serving.len())), Choice::Later)
    }

    fn obstacle(&self, agent: &AgentId, wanted: Wanted<'_>) -> Option<Obstacle> {
        let known = self.agents.get(agent)?;
        if wanted.tried.contains(agent) {
            return Some(Obstacle::Tried);
        }
        if known.load.intake != Intake::Open {
            return Some(Obstacle::Closed);
        }
        let fenced = self.fenced(known);
        let spared = self.failing.spared(self.now, agent, wanted.id, wanted.tenant);
        fenced.max(spared).map(Obstacle::Until)
    }

    /// An agent that was not heard for two thirds of its lease has fenced
    /// itself: when it is heard again, or lost.
    fn fenced(&self, agent: &Agent) -> Option<Time> {
        let peer = self.clients.get(&agent.peer)?;
        let silent = peer.lease.saturating_sub(peer.expires.since(self.now));
        (silent >= self.agents_lease(peer) * 2 / 3).then_some(peer.expires)
    }

    /// The reported load, grown with the containers since; when that says
    /// nothing, their number.
    fn burden(&self, id: &AgentId) -> (u64, usize) {
        let count = self.containers.count_on(id);
        let Some(agent) = self.agents.get(id) else { return (u64::MAX, count) };
        let grown = u64::from(agent.load.used).saturating_mul(count as u64 + 1);
        (grown / (agent.counted as u64 + 1), count)
    }
}
