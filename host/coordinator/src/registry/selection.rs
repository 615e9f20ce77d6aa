//! The containers of one kind by their labels.
//!
//! Containers are indexed by each label and by the set of keys that they
//! carry, so that every condition has an index: equality and choice have the
//! labels, presence and absence have the keys, inequality has both. Looking
//! up looks only at those that meet the rarest condition.

use std::collections::{BTreeMap, BTreeSet};

use hulynet_protocol::{Condition, Labels, Requirement, Selector};
use indexmap::IndexMap;

use super::{
    packed::Packed,
    slots::{Slot, SlotSet},
};

/// The containers that carry one key, by its value. Values are as many as
/// containers where each has its own; the map is hashed for that, and keeps an
/// order that depends on its history only.
type Values = IndexMap<Box<str>, SlotSet>;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    by_label: BTreeMap<Box<str>, Values>,
    by_keys: BTreeMap<Vec<Box<str>>, SlotSet>,
}

impl Index {
    pub(crate) fn insert(&mut self, slot: Slot, labels: &Packed) {
        self.by_keys.entry(keys(labels)).or_default().insert(slot);
        for (key, value) in labels.iter() {
            if let Some(carriers) = self.by_label.get_mut(key).and_then(|v| v.get_mut(value)) {
                carriers.insert(slot);
            } else {
                let values = self.by_label.entry(key.into()).or_default();
                values.entry(value.into()).or_default().insert(slot);
            }
        }
    }

    pub(crate) fn remove(&mut self, slot: Slot, labels: &Packed) {
        forget(&mut self.by_keys, &keys(labels), slot);
        for (key, value) in labels.iter() {
            let Some(values) = self.by_label.get_mut(key) else { continue };
            if let Some(carriers) = values.get_mut(value) {
                carriers.remove(slot);
                if carriers.is_empty() {
                    values.swap_remove(value);
                }
            }
            if values.is_empty() {
                self.by_label.remove(key);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_keys.is_empty()
    }

    /// Those that meet the rarest condition, each once: a superset of those
    /// that meet all of them.
    pub(crate) fn candidates(&self, selector: &Selector) -> impl Iterator<Item = Slot> {
        let rarest = selector
            .0
            .iter()
            .map(|requirement| self.meeting(requirement))
            .min_by_key(|sets| sets.iter().map(|set| set.len()).sum::<usize>());
        let sets = rarest.unwrap_or_else(|| self.by_keys.values().collect());
        sets.into_iter().flat_map(SlotSet::iter)
    }

    /// The sets, disjoint, of those that meet one condition.
    fn meeting(&self, Requirement { key, condition }: &Requirement) -> Vec<&SlotSet> {
        let carriers = |wanted: bool| {
            let carries =
                move |keys: &[Box<str>]| keys.binary_search_by(|k| (**k).cmp(key)).is_ok();
            self.by_keys.iter().filter(move |(keys, _)| carries(keys) == wanted).map(|(_, set)| set)
        };
        let values = self.by_label.get(key.as_str());
        match condition {
            Condition::In(wanted) => {
                wanted.iter().filter_map(|value| values?.get(value.as_str())).collect()
            }
            Condition::NotIn(unwanted) => {
                let others = values.into_iter().flatten();
                let others = others.filter(|(value, _)| !unwanted.contains(&***value));
                others.map(|(_, set)| set).chain(carriers(false)).collect()
            }
            Condition::Present => carriers(true).collect(),
            Condition::Absent => carriers(false).collect(),
        }
    }
}

fn keys(labels: &Packed) -> Vec<Box<str>> {
    labels.iter().map(|(key, _)| key.into()).collect()
}

/// Takes a slot out of one set of an index, and the set with its last one.
pub(crate) fn forget<K: Ord>(index: &mut BTreeMap<K, SlotSet>, key: &K, slot: Slot) {
    if let Some(all) = index.get_mut(key) {
        all.remove(slot);
        if all.is_empty() {
            index.remove(key);
        }
    }
}

/// The selector of those that carry all of these labels.
pub(crate) fn containing(labels: &Labels) -> Selector {
    let equal = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        condition: Condition::In(BTreeSet::from([value.clone()])),
    };
    Selector(labels.iter().map(equal).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand containers of `tier=1`, one of `tier=2`, one of `spot=yes`.
    fn index() -> Index {
        let mut index = Index::default();
        let label =
            |key: &str, value: &str| Packed::new(&Labels::from([(key.into(), value.into())]));
        for number in 0..1000 {
            index.insert(Slot::at(number), &label("tier", "1"));
        }
        index.insert(Slot::at(1000), &label("tier", "2"));
        index.insert(Slot::at(1001), &label("spot", "yes"));
        index
    }

    #[test]
    fn a_lookup_looks_only_at_those_that_meet_the_rarest_condition() {
        let index = index();
        for (text, looked_at) in [
            ("tier=2", 1),
            ("tier in (2,3)", 1),
            ("tier!=1", 2),
            ("tier notin (1,2)", 1),
            ("spot", 1),
            ("!tier", 1),
            ("tier,tier=2", 1),
            ("tier=1,!tier", 1),
            ("nothing=1", 0),
            ("tier", 1001),
            ("", 1002),
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(index.candidates(&selector).count(), looked_at, "{text}");
        }
    }

    #[test]
    fn an_index_that_lost_everything_is_empty() {
        let mut index = Index::default();
        let labels = Packed::new(&Labels::from([("a".into(), "1".into())]));
        index.insert(Slot::at(7), &labels);
        index.remove(Slot::at(7), &labels);
        assert_eq!(index, Index::default());
    }
}
