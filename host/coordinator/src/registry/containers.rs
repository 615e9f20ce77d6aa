//! The containers and every index over them.
//!
//! Only this table changes a container's state, so that the indexes by kind,
//! label and agent cannot disagree with it.

use std::collections::{BTreeMap, BTreeSet};

use hulynet_protocol::{
    AgentId, ClientId, ContainerId, Epoch, Kind, Labels, Reason, Selector, Uuid,
};

use super::{
    placement::Affinity,
    selection::{Index, forget},
    time::Time,
};

/// Where an activation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) agent: AgentId,
    pub(crate) epoch: Epoch,
}

/// How far the end of a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// It was asked and did not answer yet: it may be gone at any moment.
    pub(crate) asked: bool,
    /// It is not allowed to answer *not yet*.
    pub(crate) force: bool,
    /// After this it is forced.
    pub(crate) deadline: Time,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs nowhere, though somebody wants it.
    Vacant {
        /// Its last activation.
        last: Epoch,
        /// It waits for its agent to bring it back after the coordinator's
        /// restart.
        recovering: bool,
    },
    /// An agent was asked to start it.
    Starting(Place),
    Running(Place),
    Terminating(Place, Ending),
}

impl State {
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::Vacant { .. } => None,
            Self::Starting(place) | Self::Running(place) | Self::Terminating(place, _) => {
                Some(place)
            }
        }
    }

    /// The activation, or the last one.
    pub(crate) fn epoch(&self) -> Epoch {
        match self {
            Self::Vacant { last, .. } => *last,
            Self::Starting(place) | Self::Running(place) | Self::Terminating(place, _) => {
                place.epoch
            }
        }
    }
}

/// One container that runs or is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) labels: Labels,
    /// Handed over again when it is started elsewhere.
    pub(crate) extra: Vec<u8>,
    /// Where it would rather run.
    pub(crate) affinity: Option<Box<Affinity>>,
    /// The clients that hold references to it.
    pub(crate) holders: BTreeSet<ClientId>,
    state: State,
    /// Since when it is in this activation.
    pub(crate) since: Time,
    /// Watchers know it: it was announced as added and not as removed.
    pub(crate) announced: bool,
    /// Starts, or activations shorter than the restart delay, that failed in a
    /// row.
    pub(crate) failures: u32,
    /// The agents that refused it since it was last wanted to start.
    pub(crate) tried: Vec<AgentId>,
    /// Its agent reported the end of the activation before it answered the
    /// order to start it.
    pub(crate) over: bool,
    /// Why it is where it is.
    pub(crate) reason: Reason,
    /// It was made for those who name neither a uuid nor labels, and will be
    /// the shared one of the agent that starts it.
    pub(crate) to_share: bool,
}

impl Container {
    pub(crate) fn vacant(id: ContainerId, labels: Labels, extra: Vec<u8>) -> Self {
        Self {
            id,
            labels,
            extra,
            affinity: None,
            holders: BTreeSet::new(),
            state: State::Vacant { last: Epoch::default(), recovering: false },
            since: Time::default(),
            announced: false,
            failures: 0,
            tried: Vec::new(),
            over: false,
            reason: Reason::NotPlaced,
            to_share: false,
        }
    }

    /// The same, waiting for its agent to bring it back.
    pub(crate) fn recovering(self) -> Self {
        let state = State::Vacant { last: self.state.epoch(), recovering: true };
        Self { state, ..self }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

/// All containers, by uuid, kind, label and agent.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    table: BTreeMap<Uuid, Container>,
    by_kind: BTreeMap<Kind, Index>,
    by_agent: BTreeMap<AgentId, BTreeSet<Uuid>>,
    vacant: BTreeMap<Kind, BTreeSet<Uuid>>,
    /// The container of a kind that an agent gives to those who name neither
    /// a uuid nor labels.
    shared: BTreeMap<(AgentId, Kind), Uuid>,
}

impl Containers {
    pub(crate) fn insert(&mut self, container: Container) {
        let ContainerId { kind, uuid } = container.id.clone();
        self.by_kind.entry(kind).or_default().insert(&uuid, &container.labels);
        self.link(&container.id, container.state.place().cloned().as_ref());
        self.table.insert(uuid, container);
    }

    pub(crate) fn remove(&mut self, uuid: &Uuid) -> Option<Container> {
        let container = self.table.remove(uuid)?;
        let kind = &container.id.kind;
        self.unlink(&container.id, container.state.place());
        if let Some(index) = self.by_kind.get_mut(kind) {
            index.remove(uuid, &container.labels);
            if index.is_empty() {
                self.by_kind.remove(kind);
            }
        }
        Some(container)
    }

    pub(crate) fn get(&self, uuid: &Uuid) -> Option<&Container> {
        self.table.get(uuid)
    }

    /// For what no index covers: holders and the notes about its life.
    pub(crate) fn get_mut(&mut self, uuid: &Uuid) -> Option<&mut Container> {
        self.table.get_mut(uuid)
    }

    /// Moves a container to another state.
    pub(crate) fn set_state(&mut self, uuid: &Uuid, state: State) {
        let Some(container) = self.table.get_mut(uuid) else { return };
        let before = std::mem::replace(&mut container.state, state);
        let id = container.id.clone();
        let after = container.state.place().cloned();
        if before.place().map(|place| &place.agent) != after.as_ref().map(|place| &place.agent) {
            self.unlink(&id, before.place());
            self.link(&id, after.as_ref());
        }
    }

    fn link(&mut self, id: &ContainerId, place: Option<&Place>) {
        let uuid = id.uuid.clone();
        match place {
            Some(place) => self.by_agent.entry(place.agent.clone()).or_default().insert(uuid),
            None => self.vacant.entry(id.kind.clone()).or_default().insert(uuid),
        };
    }

    fn unlink(&mut self, id: &ContainerId, place: Option<&Place>) {
        match place {
            Some(place) => {
                forget(&mut self.by_agent, &place.agent, &id.uuid);
                let key = (place.agent.clone(), id.kind.clone());
                if self.shared.get(&key) == Some(&id.uuid) {
                    self.shared.remove(&key);
                }
            }
            None => forget(&mut self.vacant, &id.kind, &id.uuid),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Container> {
        self.table.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Those whose labels meet the conditions, of one kind or of all.
    pub(crate) fn selected<'a>(
        &'a self,
        kind: Option<&'a Kind>,
        select: &'a Selector,
    ) -> impl Iterator<Item = &'a Container> {
        let all = kind.is_none().then(|| self.by_kind.values()).into_iter().flatten();
        let one = kind.and_then(|kind| self.by_kind.get(kind));
        all.chain(one)
            .flat_map(|index| index.candidates(select))
            .filter_map(|uuid| self.table.get(uuid))
            .filter(|container| select.matches(&container.labels))
    }

    /// The containers that an agent starts, runs or ends.
    pub(crate) fn at(&self, agent: &AgentId) -> BTreeSet<Uuid> {
        self.by_agent.get(agent).cloned().unwrap_or_default()
    }

    pub(crate) fn count_at(&self, agent: &AgentId) -> usize {
        self.by_agent.get(agent).map_or(0, BTreeSet::len)
    }

    /// The containers of a kind that run nowhere.
    pub(crate) fn vacant(&self, kind: &Kind) -> BTreeSet<Uuid> {
        self.vacant.get(kind).cloned().unwrap_or_default()
    }

    pub(crate) fn all_vacant(&self) -> BTreeSet<Uuid> {
        self.vacant.values().flatten().cloned().collect()
    }

    pub(crate) fn shared(&self, agent: &AgentId, kind: &Kind) -> Option<&Uuid> {
        self.shared.get(&(agent.clone(), kind.clone()))
    }

    /// One that waits to become the shared container of whichever agent starts
    /// it.
    pub(crate) fn to_share(&self, kind: &Kind) -> Option<&Uuid> {
        let waiting = self.vacant.get(kind)?.iter();
        waiting.into_iter().find(|uuid| self.table.get(*uuid).is_some_and(|c| c.to_share))
    }

    pub(crate) fn set_shared(&mut self, agent: AgentId, kind: Kind, uuid: Uuid) {
        self.shared.insert((agent, kind), uuid);
    }

    /// A container of the kind whose labels meet the conditions: one that
    /// runs, else one that starts, else one that would have to be brought
    /// back.
    pub(crate) fn best(&self, kind: &Kind, select: &Selector) -> Option<Uuid> {
        let mut best: Option<(u8, &Uuid)> = None;
        for container in self.selected(Some(kind), select) {
            let uuid = &container.id.uuid;
            let rank = match container.state {
                State::Running(_) => return Some(uuid.clone()),
                State::Starting(_) => 0,
                State::Terminating(..) => 1,
                State::Vacant { .. } => 2,
            };
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, uuid));
            }
        }
        best.map(|(_, uuid)| uuid.clone())
    }

    /// Whether every index holds exactly what the containers say.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut copy = Self::default();
        for container in self.table.values() {
            copy.insert(container.clone());
        }
        copy.by_kind == self.by_kind
            && copy.by_agent == self.by_agent
            && copy.vacant == self.vacant
            && self.shared.iter().all(|((agent, kind), uuid)| {
                self.table.get(uuid).is_some_and(|c| {
                    &c.id.kind == kind && c.state.place().is_some_and(|p| &p.agent == agent)
                })
            })
    }
}
