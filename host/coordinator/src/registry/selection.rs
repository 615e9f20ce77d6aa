//! The containers of one kind by their labels.
//!
//! Containers are indexed by each label and by the set of keys that they
//! carry, so that every condition has an index: equality and choice have the
//! labels, presence and absence have the keys, inequality has both. Looking
//! up looks only at those that meet the rarest condition.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use hulynet_protocol::{Condition, Labels, Requirement, Selector, Uuid};

type Label = (String, String);
type Keys = Vec<String>;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    by_label: BTreeMap<Label, BTreeSet<Uuid>>,
    by_keys: BTreeMap<Keys, BTreeSet<Uuid>>,
}

impl Index {
    pub(crate) fn insert(&mut self, uuid: &Uuid, labels: &Labels) {
        self.by_keys.entry(keys(labels)).or_default().insert(uuid.clone());
        for (key, value) in labels {
            self.by_label.entry((key.clone(), value.clone())).or_default().insert(uuid.clone());
        }
    }

    pub(crate) fn remove(&mut self, uuid: &Uuid, labels: &Labels) {
        forget(&mut self.by_keys, &keys(labels), uuid);
        for (key, value) in labels {
            forget(&mut self.by_label, &(key.clone(), value.clone()), uuid);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_keys.is_empty()
    }

    /// All of them, each once.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Uuid> {
        self.by_keys.values().flatten()
    }

    /// Those that meet the rarest condition, each once: a superset of those
    /// that meet all of them.
    pub(crate) fn candidates(&self, selector: &Selector) -> Box<dyn Iterator<Item = &Uuid> + '_> {
        let rarest = selector
            .0
            .iter()
            .map(|requirement| self.meeting(requirement))
            .min_by_key(|sets| sets.iter().map(|set| set.len()).sum::<usize>());
        match rarest {
            Some(sets) => Box::new(sets.into_iter().flatten()),
            None => Box::new(self.all()),
        }
    }

    /// The sets, disjoint, of those that meet one condition.
    fn meeting(&self, Requirement { key, condition }: &Requirement) -> Vec<&BTreeSet<Uuid>> {
        let carriers = |wanted: bool| {
            let carries = move |keys: &Keys| keys.binary_search(key).is_ok() == wanted;
            self.by_keys.iter().filter(move |(keys, _)| carries(keys)).map(|(_, set)| set)
        };
        match condition {
            Condition::In(values) => values
                .iter()
                .filter_map(|value| self.by_label.get(&(key.clone(), value.clone())))
                .collect(),
            Condition::NotIn(values) => {
                let from = Bound::Included((key.clone(), String::new()));
                let others = self
                    .by_label
                    .range((from, Bound::Unbounded))
                    .take_while(|((other, _), _)| other == key)
                    .filter(|((_, value), _)| !values.contains(value))
                    .map(|(_, set)| set);
                others.chain(carriers(false)).collect()
            }
            Condition::Present => carriers(true).collect(),
            Condition::Absent => carriers(false).collect(),
        }
    }
}

fn keys(labels: &Labels) -> Keys {
    labels.keys().cloned().collect()
}

/// Takes a uuid out of one set of an index, and the set with its last one.
pub(crate) fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Uuid>>, key: &K, uuid: &Uuid) {
    if let Some(all) = index.get_mut(key) {
        all.remove(uuid);
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
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        for number in 0..1000 {
            let uuid = Uuid::new(format!("many-{number}")).unwrap();
            index.insert(&uuid, &labels(&[("tier", "1")]));
        }
        index.insert(&Uuid::new("second").unwrap(), &labels(&[("tier", "2")]));
        index.insert(&Uuid::new("spot").unwrap(), &labels(&[("spot", "yes")]));
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
        let (uuid, labels) = (Uuid::new("x").unwrap(), Labels::from([("a".into(), "1".into())]));
        index.insert(&uuid, &labels);
        index.remove(&uuid, &labels);
        assert_eq!(index, Index::default());
    }
}
