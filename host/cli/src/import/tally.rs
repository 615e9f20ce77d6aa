//! What an import did.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::step::{Does, Step};

/// Documents of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Documents {
    created: u64,
    updated: u64,
    removed: u64,
}

/// Counts what was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    applied: u64,
    already: u64,
    classes: BTreeMap<String, Documents>,
}

impl Tally {
    /// A transaction was acknowledged; `new` if it was not in the log before.
    pub(crate) fn count(&mut self, step: &Step, new: bool) {
        if !new {
            self.already += 1;
            return;
        }
        self.applied += 1;
        let documents = self.classes.entry(step.class.clone()).or_default();
        match step.does {
            Does::Create => documents.created += 1,
            Does::Update => documents.updated += 1,
            Does::Remove => documents.removed += 1,
        }
    }

    /// How many were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.applied + self.already
    }

    /// How many were new.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// How many were there already.
    pub(crate) fn already(&self) -> u64 {
        self.already
    }

    /// Acknowledged transactions a second.
    pub(crate) fn rate(&self, took: Duration) -> f64 {
        self.acknowledged() as f64 / took.as_secs_f64().max(0.001)
    }

    /// The documents by class, for people.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let row = |(class, documents): (&String, &Documents)| {
            vec![
                class.clone(),
                documents.created.to_string(),
                documents.updated.to_string(),
                documents.removed.to_string(),
            ]
        };
        self.classes.iter().map(row).collect()
    }

    /// The documents by class, for programs.
    pub(crate) fn classes(&self) -> Value {
        let class = |(class, documents): (&String, &Documents)| {
            let counts = json!({ "created": documents.created, "updated": documents.updated, "removed": documents.removed });
            (class.clone(), counts)
        };
        self.classes.iter().map(class).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::step::Place;

    #[test]
    fn documents_count_by_class_and_only_when_they_are_new() {
        let step = |class: &str, does| Step {
            place: Place::Project,
            class: class.into(),
            does,
            text: String::new(),
        };
        let mut tally = Tally::default();
        tally.count(&step("b", Does::Create), true);
        tally.count(&step("b", Does::Update), true);
        tally.count(&step("a", Does::Remove), true);
        tally.count(&step("a", Does::Create), false);
        assert_eq!((tally.applied(), tally.already(), tally.acknowledged()), (3, 1, 4));
        let classes = json!({
            "a": {"created": 0, "updated": 0, "removed": 1},
            "b": {"created": 1, "updated": 1, "removed": 0}
        });
        assert_eq!(tally.classes(), classes);
        assert_eq!(tally.rows().len(), 2);
        assert!((tally.rate(Duration::from_secs(2)) - 2.0).abs() < 1e-9);
    }
}
