//! Which files of a directory changed and are complete. Pure: listings in,
//! changes out.

use std::{collections::BTreeMap, path::PathBuf, time::SystemTime};

/// What tells versions of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) length: u64,
    pub(crate) modified: SystemTime,
}

/// What happened to a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new or another one, and looked the same twice.
    Complete(PathBuf),
    /// It is not there any more.
    Gone(PathBuf),
}

/// Remembers the last look.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    files: BTreeMap<PathBuf, (Stamp, bool)>,
}

impl Watch {
    /// Compares with the last look.
    pub(crate) fn observe(&mut self, listing: &BTreeMap<PathBuf, Stamp>) -> Vec<Change> {
        let mut changes = Vec::new();
        self.files.retain(|path, _| {
            let there = listing.contains_key(path);
            if !there {
                changes.push(Change::Gone(path.clone()));
            }
            there
        });
        for (path, stamp) in listing {
            match self.files.get_mut(path) {
                Some((seen, told)) if seen == stamp => {
                    if !std::mem::replace(told, true) {
                        changes.push(Change::Complete(path.clone()));
                    }
                }
                _ => {
                    self.files.insert(path.clone(), (*stamp, false));
                }
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(files: &[(&str, u64)]) -> BTreeMap<PathBuf, Stamp> {
        files
            .iter()
            .map(|(name, length)| {
                (PathBuf::from(name), Stamp { length: *length, modified: SystemTime::UNIX_EPOCH })
            })
            .collect()
    }

    #[test]
    fn a_file_that_still_grows_is_left_alone() {
        let mut watch = Watch::default();
        assert!(watch.observe(&listing(&[("a", 1)])).is_empty());
        assert!(watch.observe(&listing(&[("a", 2)])).is_empty());
        assert_eq!(watch.observe(&listing(&[("a", 2)])), [Change::Complete("a".into())]);
        assert!(watch.observe(&listing(&[("a", 2)])).is_empty());
    }

    #[test]
    fn a_replaced_file_is_complete_again_and_a_removed_one_is_gone() {
        let mut watch = Watch::default();
        watch.observe(&listing(&[("a", 1)]));
        watch.observe(&listing(&[("a", 1)]));
        assert!(watch.observe(&listing(&[("a", 9)])).is_empty());
        assert_eq!(watch.observe(&listing(&[("a", 9)])), [Change::Complete("a".into())]);
        assert_eq!(watch.observe(&listing(&[])), [Change::Gone("a".into())]);
        assert!(watch.observe(&listing(&[("a", 9)])).is_empty());
    }
}
