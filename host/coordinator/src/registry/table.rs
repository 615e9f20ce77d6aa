//! Things that are found by name.
//!
//! Names come from peers, so a hostile one may choose them: the hasher has
//! random keys, and nothing can make its names meet in one place. The order in
//! which things are visited is that of their slots, which depends on what
//! happened only, never on those keys.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hash},
};

use hashbrown::HashTable;
use slab::Slab;

use super::slots::Slot;

/// Something that has a name of its own.
pub(crate) trait Named {
    type Name: Hash + Eq;

    /// Never changes.
    fn name(&self) -> &Self::Name;
}

/// All things of one sort: each in a slot, and the slots by name.
#[derive(Debug)]
pub(crate) struct Table<T> {
    things: Slab<T>,
    names: HashTable<Entry>,
    hasher: RandomState,
}

/// The hash is kept, so that neither growth nor a stranger with the same place
/// touches the name.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    slot: Slot,
}

impl Entry {
    /// What the hash table takes: its highest and lowest bits must differ from
    /// name to name.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { things: Slab::new(), names: HashTable::new(), hasher: RandomState::new() }
    }
}

impl<T: Named> Table<T> {
    /// Adds a thing; one of the same name gives its slot to it.
    pub(crate) fn insert(&mut self, thing: T) -> Slot {
        if let Some(slot) = self.slot(thing.name()) {
            if let Some(known) = self.at_mut(slot) {
                *known = thing;
            }
            return slot;
        }
        let hash = self.hash(thing.name());
        let slot = Slot::at(self.things.insert(thing));
        let hasher = |entry: &Entry| Entry::spread(entry.hash);
        self.names.insert_unique(Entry::spread(hash), Entry { hash, slot }, hasher);
        slot
    }

    pub(crate) fn remove(&mut self, name: &T::Name) -> Option<(Slot, T)> {
        let hash = self.hash(name);
        let entry =
            self.names.find_entry(Entry::spread(hash), is(&self.things, hash, name)).ok()?;
        let (Entry { slot, .. }, _) = entry.remove();
        Some((slot, self.things.try_remove(slot.position())?))
    }

    pub(crate) fn slot(&self, name: &T::Name) -> Option<Slot> {
        let hash = self.hash(name);
        let entry = self.names.find(Entry::spread(hash), is(&self.things, hash, name))?;
        Some(entry.slot)
    }

    pub(crate) fn get(&self, name: &T::Name) -> Option<&T> {
        self.at(self.slot(name)?)
    }

    pub(crate) fn get_mut(&mut self, name: &T::Name) -> Option<&mut T> {
        self.at_mut(self.slot(name)?)
    }

    pub(crate) fn at(&self, slot: Slot) -> Option<&T> {
        self.things.get(slot.position())
    }

    pub(crate) fn at_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.things.get_mut(slot.position())
    }

    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }

    /// In the order of the slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.things.iter().map(|(position, thing)| (Slot::at(position), thing))
    }

    /// Whether every thing is found under its name, and nothing else is.
    pub(crate) fn is_consistent(&self) -> bool {
        self.names.len() == self.things.len()
            && self.iter().all(|(slot, thing)| self.slot(thing.name()) == Some(slot))
    }

    /// Half of a hash: names that share it are told apart by comparing them.
    fn hash(&self, name: &T::Name) -> u32 {
        (self.hasher.hash_one(name) >> 32) as u32
    }
}

fn is<T: Named>(things: &Slab<T>, hash: u32, name: &T::Name) -> impl Fn(&Entry) -> bool {
    move |entry| {
        entry.hash == hash
            && things.get(entry.slot.position()).is_some_and(|thing| thing.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Thing(u32, &'static str);

    impl Named for Thing {
        type Name = u32;

        fn name(&self) -> &u32 {
            &self.0
        }
    }

    #[test]
    fn things_are_found_by_name_and_by_slot_until_they_are_removed() {
        let mut table = Table::default();
        let slots: Vec<Slot> = (0..1000).map(|name| table.insert(Thing(name, "a"))).collect();
        for (name, slot) in (0..1000).zip(&slots).filter(|(name, _)| name % 3 == 0) {
            assert_eq!(table.remove(&name), Some((*slot, Thing(name, "a"))));
            assert_eq!(table.remove(&name), None);
        }
        for (name, slot) in (0..1000).zip(&slots) {
            let left = (name % 3 != 0).then_some(Thing(name, "a"));
            assert_eq!((table.get(&name), table.at(*slot)), (left.as_ref(), left.as_ref()));
        }
        assert_eq!(table.len(), 666);
        assert!(table.is_consistent());
    }

    #[test]
    fn a_thing_of_the_same_name_takes_the_place() {
        let mut table = Table::default();
        let slot = table.insert(Thing(1, "old"));
        assert_eq!(table.insert(Thing(1, "new")), slot);
        assert_eq!((table.len(), table.get(&1)), (1, Some(&Thing(1, "new"))));
    }

    #[test]
    fn the_order_depends_on_the_history_only() {
        let visit = || {
            let mut table = Table::default();
            (0..100).for_each(|name| _ = table.insert(Thing(name, "a")));
            (20..60).for_each(|name| _ = table.remove(&name));
            (200..300).for_each(|name| _ = table.insert(Thing(name, "b")));
            table.iter().map(|(_, thing)| thing.0).collect::<Vec<_>>()
        };
        assert_eq!(visit(), visit());
    }
}
