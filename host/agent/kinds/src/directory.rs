//! Which kinds of a directory changed and are complete. Pure: looks at the
//! directory in, changes out.
//!
//! A kind is up to three files: `NAME.wasm`, `NAME.toml` and `NAME.sig`. They
//! are complete when none of them changed for a while: the system does not tell
//! who still writes, so a writer that pauses for longer is taken to have
//! finished, and what it has written by then is checked like everything else.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Files that did not change for this long are complete.
pub const SETTLE: Duration = Duration::from_millis(150);

/// A file that was created and is still empty is waited for this much longer.
const EMPTY: Duration = Duration::from_secs(5);

/// What tells versions of a file apart without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Its length in bytes.
    pub length: u64,
    /// The file system and the file: another one may have been renamed to the
    /// same name, or a link turned to it.
    pub file: (u64, u64),
    /// When its content changed, in seconds and nanoseconds.
    pub modified: (i64, i64),
    /// When anything about it changed: the content of another time may carry
    /// an older date.
    pub changed: (i64, i64),
}

/// The files of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// `NAME.wasm`.
    pub code: Stamp,
    /// `NAME.toml`.
    pub manifest: Option<Stamp>,
    /// `NAME.sig`.
    pub signature: Option<Stamp>,
}

/// What happened to a kind's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// They are new or others, and complete.
    Complete(String, Source),
    /// `NAME.wasm` is not there any more.
    Gone(String),
}

/// Remembers the last look. Each input is followed by
/// [`Directory::changes`].
#[derive(Debug, Default)]
pub struct Directory {
    looked: bool,
    names: BTreeMap<String, Seen>,
    gone: Vec<String>,
}

#[derive(Debug)]
struct Seen {
    source: Source,
    complete_at: Instant,
    told: bool,
}

impl Directory {
    /// The directory holds this now. What is there at the first look is taken
    /// as complete.
    pub fn look(&mut self, now: Instant, listing: BTreeMap<String, Source>) {
        let settled = if self.looked { now + SETTLE } else { now };
        self.looked = true;
        let gone = &mut self.gone;
        self.names.retain(|name, _| {
            let there = listing.contains_key(name);
            if !there {
                gone.push(name.clone());
            }
            there
        });
        for (name, source) in listing {
            // One that was only just created is hardly all that there will be.
            let settled = settled + if source.code.length == 0 { EMPTY } else { Duration::ZERO };
            let same = self.names.get(&name).is_some_and(|seen| seen.source == source);
            if !same {
                self.names.insert(name, Seen { source, complete_at: settled, told: false });
            }
        }
    }

    /// What changed, each change once.
    pub fn changes(&mut self, now: Instant) -> Vec<Change> {
        let mut changes: Vec<Change> = self.gone.drain(..).map(Change::Gone).collect();
        for (name, seen) in &mut self.names {
            if !seen.told && seen.complete_at <= now {
                seen.told = true;
                changes.push(Change::Complete(name.clone(), seen.source));
            }
        }
        changes
    }

    /// When [`Directory::changes`] may have more to tell. Look again just
    /// before: what has not changed by then is complete.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let waiting = self.names.iter().filter(|(_, seen)| !seen.told);
        waiting.map(|(_, seen)| seen.complete_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(length: u64) -> Source {
        Source { code: Stamp { length, ..Stamp::default() }, ..Source::default() }
    }

    fn listing(files: &[(&str, u64)]) -> BTreeMap<String, Source> {
        files.iter().map(|(name, length)| ((*name).to_owned(), source(*length))).collect()
    }

    fn complete(name: &str, length: u64) -> Change {
        Change::Complete(name.to_owned(), source(length))
    }

    /// One that has looked at an empty directory.
    fn looked(now: Instant) -> Directory {
        let mut directory = Directory::default();
        directory.look(now, listing(&[]));
        directory
    }

    #[test]
    fn what_is_there_at_the_start_is_complete() {
        let now = Instant::now();
        let mut directory = Directory::default();
        directory.look(now, listing(&[("a", 1), ("b", 1)]));
        assert_eq!(directory.changes(now), [complete("a", 1), complete("b", 1)]);
        assert!(directory.changes(now).is_empty());
        assert_eq!(directory.next_timeout(), None);
    }

    #[test]
    fn a_file_that_still_grows_is_left_alone() {
        let now = Instant::now();
        let mut directory = looked(now);
        directory.look(now, listing(&[("a", 1)]));
        assert!(directory.changes(now).is_empty());
        let later = directory.next_timeout().unwrap();
        assert_eq!(later, now + SETTLE);
        directory.look(later, listing(&[("a", 2)]));
        assert!(directory.changes(later).is_empty());
        let last = directory.next_timeout().unwrap();
        directory.look(last, listing(&[("a", 2)]));
        assert_eq!(directory.changes(last), [complete("a", 2)]);
    }

    #[test]
    fn a_file_without_content_is_waited_for() {
        let now = Instant::now();
        let mut directory = looked(now);
        directory.look(now, listing(&[("a", 0)]));
        assert_eq!(directory.next_timeout(), Some(now + SETTLE + EMPTY));
        directory.look(now, listing(&[("a", 1)]));
        assert_eq!(directory.changes(now + SETTLE), [complete("a", 1)]);
    }

    #[test]
    fn a_replaced_file_is_complete_again_and_a_removed_one_is_gone() {
        let now = Instant::now();
        let mut directory = Directory::default();
        directory.look(now, listing(&[("a", 1)]));
        directory.changes(now);
        directory.look(now, listing(&[("a", 9)]));
        assert!(directory.changes(now).is_empty());
        assert_eq!(directory.changes(now + SETTLE), [complete("a", 9)]);
        directory.look(now, listing(&[]));
        assert_eq!(directory.changes(now), [Change::Gone("a".to_owned())]);
    }

    #[test]
    fn a_renamed_file_is_gone_under_the_old_name_and_new_under_the_other() {
        let now = Instant::now();
        let mut directory = Directory::default();
        directory.look(now, listing(&[("a", 1)]));
        directory.changes(now);
        directory.look(now, listing(&[("b", 1)]));
        assert_eq!(
            directory.changes(now + SETTLE),
            [Change::Gone("a".to_owned()), complete("b", 1)]
        );
    }

    #[test]
    fn a_manifest_that_changes_is_a_change_of_its_kind() {
        let now = Instant::now();
        let mut directory = Directory::default();
        directory.look(now, listing(&[("a", 1)]));
        directory.changes(now);
        let with = Source { manifest: Some(Stamp::default()), ..source(1) };
        directory.look(now, [("a".to_owned(), with)].into());
        let changes = directory.changes(now + SETTLE);
        assert_eq!(changes, [Change::Complete("a".to_owned(), with)]);
    }
}
