//! The containers and every index over them.
//!
//! Only this table changes a container's state, so that the indexes by kind,
//! label and agent cannot disagree with it.

use std::collections::{BTreeMap, HashMap};

use hulynet_protocol::{AgentId, ContainerId, Epoch, Kind, Labels, Reason, Selector, Uuid};

use super::{
    packed::Packed,
    placement::Affinity,
    selection::{Index, forget},
    slots::{Slot, SlotSet},
    table::{Named, Table},
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
    /// A newer activation was given out before: nobody gets this one.
    pub(crate) outdated: bool,
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
    pub(crate) labels: Packed,
    /// Handed over again when it is started elsewhere.
    pub(crate) extra: Box<[u8]>,
    /// Where it would rather run.
    pub(crate) affinity: Option<Box<Affinity>>,
    /// The clients that hold references to it.
    pub(crate) holders: SlotSet,
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
    /// Its labels were checked.
    pub(crate) fn vacant(id: ContainerId, labels: &Labels, extra: Vec<u8>) -> Self {
        Self {
            id,
            labels: Packed::new(labels),
            extra: extra.into(),
            affinity: None,
            holders: SlotSet::default(),
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

impl Named for Container {
    type Name = Uuid;

    fn name(&self) -> &Uuid {
        &self.id.uuid
    }
}

/// All containers, by uuid, kind, label and agent.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    table: Table<Container>,
    indexes: Indexes,
    /// The container of a kind that an agent gives to those who name neither
    /// a uuid nor labels.
    shared: BTreeMap<(AgentId, Kind), Slot>,
}

/// What follows from the containers alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Indexes {
    by_kind: BTreeMap<Kind, Index>,
    /// Never walked, since its order is random.
    by_agent: HashMap<AgentId, SlotSet>,
    vacant: BTreeMap<Kind, SlotSet>,
}

impl Indexes {
    fn insert(&mut self, slot: Slot, container: &Container) {
        let index = self.by_kind.entry(container.id.kind.clone()).or_default();
        index.insert(slot, &container.labels);
        self.link(slot, &container.id.kind, container.state.place());
    }

    fn remove(&mut self, slot: Slot, container: &Container) {
        let kind = &container.id.kind;
        self.unlink(slot, kind, container.state.place());
        if let Some(index) = self.by_kind.get_mut(kind) {
            index.remove(slot, &container.labels);
            if index.is_empty() {
                self.by_kind.remove(kind);
            }
        }
    }

    fn link(&mut self, slot: Slot, kind: &Kind, place: Option<&Place>) {
        match place {
            Some(place) => self.by_agent.entry(place.agent.clone()).or_default().insert(slot),
            None => self.vacant.entry(kind.clone()).or_default().insert(slot),
        };
    }

    fn unlink(&mut self, slot: Slot, kind: &Kind, place: Option<&Place>) {
        match place {
            Some(place) => {
                if let Some(there) = self.by_agent.get_mut(&place.agent) {
                    there.remove(slot);
                    if there.is_empty() {
                        self.by_agent.remove(&place.agent);
                    }
                }
            }
            None => forget(&mut self.vacant, kind, slot),
        }
    }
}

impl Containers {
    pub(crate) fn insert(&mut self, mut container: Container) {
        // One copy of the kind's name for all of its containers.
        if let Some((kind, _)) = self.indexes.by_kind.get_key_value(&container.id.kind) {
            container.id.kind = kind.clone();
        }
        let slot = self.table.insert(container);
        if let Some(container) = self.table.at(slot) {
            self.indexes.insert(slot, container);
        }
    }

    pub(crate) fn remove(&mut self, uuid: &Uuid) -> Option<Container> {
        let (slot, container) = self.table.remove(uuid)?;
        self.indexes.remove(slot, &container);
        self.share_no_more(slot, &container.id.kind, container.state.place());
        Some(container)
    }

    pub(crate) fn get(&self, uuid: &Uuid) -> Option<&Container> {
        self.table.get(uuid)
    }

    /// For what no index covers: the notes about its life.
    pub(crate) fn get_mut(&mut self, uuid: &Uuid) -> Option<&mut Container> {
        self.table.get_mut(uuid)
    }

    pub(crate) fn slot(&self, uuid: &Uuid) -> Option<Slot> {
        self.table.slot(uuid)
    }

    pub(crate) fn at(&self, slot: Slot) -> Option<&Container> {
        self.table.at(slot)
    }

    /// For what no index covers: its holders.
    pub(crate) fn at_mut(&mut self, slot: Slot) -> Option<&mut Container> {
        self.table.at_mut(slot)
    }

    /// Gives a container other labels, which were checked.
    pub(crate) fn set_labels(&mut self, uuid: &Uuid, labels: &Labels) {
        let labels = Packed::new(labels);
        let Some(slot) = self.table.slot(uuid) else { return };
        let Some(container) = self.table.at_mut(slot).filter(|known| known.labels != labels) else {
            return;
        };
        self.indexes.remove(slot, container);
        container.labels = labels;
        self.indexes.insert(slot, container);
    }

    /// Moves a container to another state.
    pub(crate) fn set_state(&mut self, uuid: &Uuid, state: State) {
        let Some(slot) = self.table.slot(uuid) else { return };
        let Some(container) = self.table.at_mut(slot) else { return };
        let before = std::mem::replace(&mut container.state, state);
        let kind = &container.id.kind;
        let (before, after) = (before.place(), container.state.place());
        if before.map(|place| &place.agent) == after.map(|place| &place.agent) {
            return;
        }
        self.indexes.unlink(slot, kind, before);
        self.indexes.link(slot, kind, after);
        let kind = kind.clone();
        self.share_no_more(slot, &kind, before);
    }

    /// A container that left its agent is not shared there any more.
    fn share_no_more(&mut self, slot: Slot, kind: &Kind, place: Option<&Place>) {
        let Some(place) = place.filter(|_| !self.shared.is_empty()) else { return };
        let key = (place.agent.clone(), kind.clone());
        if self.shared.get(&key) == Some(&slot) {
            self.shared.remove(&key);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Container> {
        self.slots().map(|(_, container)| container)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (Slot, &Container)> {
        self.table.iter()
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
        let by_kind = &self.indexes.by_kind;
        let all = kind.is_none().then(|| by_kind.values()).into_iter().flatten();
        let one = kind.and_then(|kind| by_kind.get(kind));
        all.chain(one)
            .flat_map(|index| index.candidates(select))
            .filter_map(|slot| self.table.at(slot))
            .filter(|container| select.is_empty() || select.matches(&container.labels.unpack()))
    }

    /// The containers that an agent starts, runs or ends.
    pub(crate) fn on(&self, agent: &AgentId) -> Vec<Uuid> {
        self.uuids(self.indexes.by_agent.get(agent))
    }

    pub(crate) fn count_on(&self, agent: &AgentId) -> usize {
        self.indexes.by_agent.get(agent).map_or(0, SlotSet::len)
    }

    /// The containers of a kind that run nowhere.
    pub(crate) fn vacant(&self, kind: &Kind) -> Vec<Uuid> {
        self.uuids(self.indexes.vacant.get(kind))
    }

    pub(crate) fn all_vacant(&self) -> Vec<Uuid> {
        self.uuids(self.indexes.vacant.values())
    }

    /// Sorted, for what happens to many at once and may be watched by people.
    fn uuids<'a>(&self, sets: impl IntoIterator<Item = &'a SlotSet>) -> Vec<Uuid> {
        let slots = sets.into_iter().flat_map(SlotSet::iter);
        let mut uuids: Vec<Uuid> =
            slots.filter_map(|slot| Some(self.at(slot)?.id.uuid.clone())).collect();
        uuids.sort_unstable();
        uuids
    }

    pub(crate) fn shared(&self, agent: &AgentId, kind: &Kind) -> Option<&Uuid> {
        let slot = self.shared.get(&(agent.clone(), kind.clone()))?;
        self.at(*slot).map(|container| &container.id.uuid)
    }

    /// One that waits to become the shared container of whichever agent starts
    /// it.
    pub(crate) fn to_share(&self, kind: &Kind) -> Option<&Uuid> {
        let mut waiting = self.indexes.vacant.get(kind)?.iter().filter_map(|slot| self.at(slot));
        waiting.find(|container| container.to_share).map(|container| &container.id.uuid)
    }

    pub(crate) fn set_shared(&mut self, agent: AgentId, kind: Kind, uuid: &Uuid) {
        if let Some(slot) = self.slot(uuid) {
            self.shared.insert((agent, kind), slot);
        }
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
        let mut indexes = Indexes::default();
        for (slot, container) in self.slots() {
            indexes.insert(slot, container);
        }
        self.table.is_consistent()
            && indexes == self.indexes
            && self.shared.iter().all(|((agent, kind), slot)| {
                self.at(*slot).is_some_and(|c| {
                    &c.id.kind == kind && c.state.place().is_some_and(|p| &p.agent == agent)
                })
            })
    }
}
