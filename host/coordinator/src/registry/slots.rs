//! Numbers that stand for containers and clients within the registry.
//!
//! An index that names a container by its slot takes a quarter of what its
//! uuid would take, and comparing two of them touches no other memory.

use std::{collections::BTreeSet, num::NonZeroU32};

/// The place of one thing in its [`Table`](super::table::Table). A slot may be
/// taken again after its thing was removed, so nothing keeps a slot for longer
/// than the thing lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(NonZeroU32);

impl Slot {
    /// The slot of a position. There are four billion of them: memory ends
    /// long before.
    pub(crate) fn at(position: usize) -> Self {
        let number = u32::try_from(position).unwrap_or(u32::MAX).saturating_add(1);
        Self(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX))
    }

    pub(crate) fn position(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// An ordered set of slots. Most sets of the registry are tiny (who holds a
/// container, who carries an unusual label), so a few need no memory of their
/// own.
#[derive(Clone, Debug)]
pub(crate) enum SlotSet {
    /// Sorted, those that are taken last.
    Few([Option<Slot>; 3]),
    #[expect(clippy::box_collection, reason = "the set itself would make every small set larger")]
    Many(Box<BTreeSet<Slot>>),
}

impl Default for SlotSet {
    fn default() -> Self {
        Self::Few([None; 3])
    }
}

impl SlotSet {
    /// Whether it was not there before.
    pub(crate) fn insert(&mut self, slot: Slot) -> bool {
        match self {
            Self::Many(many) => many.insert(slot),
            Self::Few(few) if few.contains(&Some(slot)) => false,
            Self::Few(few) => {
                if let Some(free) = few.iter_mut().find(|place| place.is_none()) {
                    *free = Some(slot);
                    few.sort_unstable();
                } else {
                    let all = few.iter().flatten().copied().chain([slot]);
                    *self = Self::Many(Box::new(all.collect()));
                }
                true
            }
        }
    }

    /// Whether it was there before.
    pub(crate) fn remove(&mut self, slot: Slot) -> bool {
        match self {
            Self::Few(few) => {
                let place = few.iter_mut().find(|place| **place == Some(slot));
                let found = place.is_some();
                if let Some(place) = place {
                    *place = None;
                    few.sort_unstable();
                }
                found
            }
            Self::Many(many) => {
                let found = many.remove(&slot);
                // One below what fits, so that a set around that size does not
                // move to and fro.
                if many.len() == 2 {
                    *self = Self::Few([None, many.first().copied(), many.last().copied()]);
                }
                found
            }
        }
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        match self {
            Self::Few(few) => few.contains(&Some(slot)),
            Self::Many(many) => many.contains(&slot),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.iter().flatten().count(),
            Self::Many(many) => many.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        let few = few.into_iter().flatten().flatten();
        few.chain(many.into_iter().flat_map(|many| many.iter())).copied()
    }
}

impl PartialEq for SlotSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SlotSet {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_slots_is_as_small_as_a_pointer_and_its_length() {
        assert_eq!(size_of::<SlotSet>(), 16);
    }

    #[test]
    fn a_set_of_slots_behaves_like_an_ordered_set_at_every_size() {
        let mut set = SlotSet::default();
        let mut model = BTreeSet::new();
        // Up and down through the size at which it changes its form.
        let steps = [5, 1, 9, 3, 7, 3, 1, 5, 9, 2, 4, 2, 4, 7, 3, 8, 8, 6, 1, 6];
        for step in steps.into_iter().cycle().take(200) {
            let slot = Slot::at(step);
            if model.contains(&slot) {
                assert!(set.remove(slot) && model.remove(&slot));
                assert!(!set.remove(slot));
            } else {
                assert!(set.insert(slot) && model.insert(slot));
                assert!(!set.insert(slot));
            }
            assert!(set.iter().eq(model.iter().copied()));
            assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
            assert_eq!(set.contains(slot), model.contains(&slot));
        }
    }
}
