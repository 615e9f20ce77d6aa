//! When to look at a directory, and which of its kinds changed and are
//! complete. Pure: looks at the directory and hints that something happened in,
//! changes and the time of the next look out.
//!
//! Only a look tells what there is. A hint brings the next one forward and is
//! never missed by more than the time between two looks: a network file system
//! gives none, and neither does a link whose target lies elsewhere.
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

/// The time between two looks without a hint: with it and [`SETTLE`] more than
/// half a second is left to compile a kind that is to be served within one.
pub const POLL: Duration = Duration::from_millis(250);

/// The shortest time between two looks: whoever writes a large file gives a
/// hint with every piece.
pub const GAP: Duration = Duration::from_millis(50);

/// Code that was created and is still empty, or is not there yet beside its
/// manifest, is waited for this much longer.
const MISSING: Duration = Duration::from_secs(5);

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

/// What a directory holds: for every name that a file of a kind has, the kind's
/// files, or nothing when its code is not among them.
pub type Listing = BTreeMap<String, Option<Source>>;

/// What happened to a kind's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// They are new or others, and complete.
    Complete(String, Source),
    /// `NAME.wasm` is not there any more.
    Gone(String),
    /// `NAME.toml` or `NAME.sig` stands there without code, or what is called
    /// `NAME.wasm` is no file: a wrong name, most likely.
    Stray(String),
}

/// Remembers the last look. Whoever drives it looks when
/// [`Directory::next_look`] says so, passes what is there (or that it cannot be
/// told), and then takes the changes.
#[derive(Debug)]
pub struct Directory {
    /// The time between two looks without a hint.
    poll: Duration,
    looked_at: Option<Instant>,
    /// The last look failed.
    unreadable: bool,
    hinted: bool,
    names: BTreeMap<String, Seen>,
    gone: Vec<String>,
}

#[derive(Debug)]
struct Seen {
    source: Option<Source>,
    complete_at: Instant,
    told: bool,
}

impl Directory {
    /// Not looked at yet; without hints it is looked at this often.
    #[must_use]
    pub fn new(poll: Duration) -> Self {
        let (names, gone) = (BTreeMap::new(), Vec::new());
        Self { poll, looked_at: None, unreadable: false, hinted: false, names, gone }
    }

    /// Something may have happened in the directory.
    pub fn hint(&mut self) {
        self.hinted = true;
    }

    /// The directory could not be looked at: all is as before.
    pub fn unreadable(&mut self, now: Instant) {
        (self.looked_at, self.unreadable, self.hinted) = (Some(now), true, false);
    }

    /// The directory held this when the look began. What is there at the first
    /// look is taken as complete.
    pub fn look(&mut self, now: Instant, listing: Listing) {
        let settled = if self.looked_at.is_some() { now + SETTLE } else { now };
        (self.looked_at, self.unreadable, self.hinted) = (Some(now), false, false);
        let has_code = |name| listing.get(name).is_some_and(Option::is_some);
        for (name, seen) in &self.names {
            if seen.source.is_some() && !has_code(name) {
                self.gone.push(name.clone());
            }
        }
        self.names.retain(|name, _| listing.contains_key(name));
        for (name, source) in listing {
            // What was only just created is hardly all that there will be.
            let missing = source.is_none_or(|source| source.code.length == 0);
            let settled = settled + if missing { MISSING } else { Duration::ZERO };
            let same = self.names.get(&name).is_some_and(|seen| seen.source == source);
            if !same {
                self.names.insert(name, Seen { source, complete_at: settled, told: false });
            }
        }
    }

    /// Whether there was code of this name at the last look.
    #[must_use]
    pub fn has_code(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|seen| seen.source.is_some())
    }

    /// What changed, each change once.
    pub fn changes(&mut self, now: Instant) -> Vec<Change> {
        let mut changes: Vec<Change> = self.gone.drain(..).map(Change::Gone).collect();
        for (name, seen) in &mut self.names {
            if !seen.told && seen.complete_at <= now {
                seen.told = true;
                changes.push(match seen.source {
                    Some(source) => Change::Complete(name.clone(), source),
                    None => Change::Stray(name.clone()),
                });
            }
        }
        changes
    }

    /// When to look again; `None` is at once.
    #[must_use]
    pub fn next_look(&self) -> Option<Instant> {
        let looked_at = self.looked_at?;
        let next = looked_at + if self.hinted { GAP } else { self.poll };
        // What has not changed by then is complete.
        let waiting = self.names.values().filter(|seen| !seen.told);
        let complete = waiting.map(|seen| seen.complete_at).min();
        // What is due while nothing can be seen stays due.
        Some(complete.filter(|_| !self.unreadable).map_or(next, |complete| next.min(complete)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(length: u64) -> Source {
        Source { code: Stamp { length, ..Stamp::default() }, ..Source::default() }
    }

    fn listing(files: &[(&str, u64)]) -> Listing {
        files.iter().map(|(name, length)| ((*name).to_owned(), Some(source(*length)))).collect()
    }

    fn complete(name: &str, length: u64) -> Change {
        Change::Complete(name.to_owned(), source(length))
    }

    /// One that has looked at an empty directory.
    fn looked(now: Instant) -> Directory {
        looked_at(now, &[])
    }

    /// One that has looked and told what it saw.
    fn looked_at(now: Instant, files: &[(&str, u64)]) -> Directory {
        let mut directory = Directory::new(POLL);
        directory.look(now, listing(files));
        directory.changes(now);
        directory
    }

    #[test]
    fn what_is_there_at_the_start_is_complete() {
        let now = Instant::now();
        let mut directory = Directory::new(POLL);
        assert_eq!(directory.next_look(), None, "at once");
        directory.look(now, listing(&[("a", 1), ("b", 1)]));
        assert_eq!(directory.changes(now), [complete("a", 1), complete("b", 1)]);
        assert!(directory.changes(now).is_empty());
        assert_eq!(directory.next_look(), Some(now + POLL));
    }

    #[test]
    fn a_file_that_still_grows_is_left_alone() {
        let now = Instant::now();
        let mut directory = looked(now);
        directory.look(now, listing(&[("a", 1)]));
        assert!(directory.changes(now).is_empty());
        let later = directory.next_look().unwrap();
        assert_eq!(later, now + SETTLE);
        directory.look(later, listing(&[("a", 2)]));
        assert!(directory.changes(later).is_empty());
        let last = directory.next_look().unwrap();
        directory.look(last, listing(&[("a", 2)]));
        assert_eq!(directory.changes(last), [complete("a", 2)]);
    }

    /// How long after its last change a file is told, when the directory was
    /// looked at just before it.
    fn told_after(hint: bool) -> Duration {
        let written = Instant::now();
        let mut directory = looked(written);
        if hint {
            directory.hint();
        }
        loop {
            let now = directory.next_look().unwrap();
            directory.look(now, listing(&[("a", 1)]));
            if directory.changes(now) == [complete("a", 1)] {
                return now - written;
            }
        }
    }

    #[test]
    fn a_complete_file_is_told_in_time_with_a_hint_and_without() {
        assert_eq!(told_after(true), GAP + SETTLE);
        assert_eq!(told_after(false), POLL + SETTLE);
        assert!(POLL + SETTLE < Duration::from_millis(500), "the rest of a second is to compile");
    }

    #[test]
    fn hints_without_end_bring_looks_that_are_apart_and_tell_nothing_early() {
        let begin = Instant::now();
        let mut directory = looked(begin);
        let mut now = begin;
        for length in 1..100 {
            directory.hint();
            directory.hint();
            let next = directory.next_look().unwrap();
            assert_eq!(next, now + GAP);
            now = next;
            directory.look(now, listing(&[("a", length)]));
            assert!(directory.changes(now).is_empty());
        }
        assert!(now - begin > 10 * SETTLE);
    }

    #[test]
    fn a_directory_that_cannot_be_read_loses_nothing_and_is_looked_at_again() {
        let now = Instant::now();
        let mut directory = looked_at(now, &[("a", 1)]);
        directory.hint();
        directory.unreadable(now);
        assert!(directory.changes(now).is_empty());
        assert_eq!(directory.next_look(), Some(now + POLL));
        directory.look(now + POLL, listing(&[("a", 1)]));
        assert!(directory.changes(now + 2 * POLL).is_empty(), "it is as it was");
    }

    #[test]
    fn what_is_due_when_the_directory_cannot_be_read_brings_no_looks_without_a_pause() {
        let now = Instant::now();
        let mut directory = looked(now);
        directory.look(now, listing(&[("a", 1)]));
        let late = now + 10 * SETTLE;
        directory.unreadable(late);
        assert_eq!(directory.next_look(), Some(late + POLL));
    }

    #[test]
    fn a_file_without_content_is_waited_for() {
        let now = Instant::now();
        let mut directory = looked(now);
        directory.look(now, listing(&[("a", 0)]));
        assert!(directory.changes(now + SETTLE).is_empty());
        directory.look(now, listing(&[("a", 1)]));
        assert_eq!(directory.changes(now + SETTLE), [complete("a", 1)]);
    }

    #[test]
    fn a_file_that_stays_without_content_is_told_in_the_end() {
        let now = Instant::now();
        let mut directory = looked(now);
        directory.look(now, listing(&[("a", 0)]));
        assert_eq!(directory.changes(now + SETTLE + MISSING), [complete("a", 0)]);
    }

    #[test]
    fn a_replaced_file_is_complete_again_and_a_removed_one_is_gone() {
        let now = Instant::now();
        let mut directory = looked_at(now, &[("a", 1)]);
        directory.look(now, listing(&[("a", 9)]));
        assert!(directory.changes(now).is_empty());
        assert_eq!(directory.changes(now + SETTLE), [complete("a", 9)]);
        directory.look(now, listing(&[]));
        assert_eq!(directory.changes(now), [Change::Gone("a".to_owned())]);
    }

    #[test]
    fn a_renamed_file_is_gone_under_the_old_name_and_new_under_the_other() {
        let now = Instant::now();
        let mut directory = looked_at(now, &[("a", 1)]);
        directory.look(now, listing(&[("b", 1)]));
        assert_eq!(
            directory.changes(now + SETTLE),
            [Change::Gone("a".to_owned()), complete("b", 1)]
        );
    }

    #[test]
    fn a_manifest_that_changes_is_a_change_of_its_kind() {
        let now = Instant::now();
        let mut directory = looked_at(now, &[("a", 1)]);
        let with = Source { manifest: Some(Stamp::default()), ..source(1) };
        directory.look(now, [("a".to_owned(), Some(with))].into());
        let changes = directory.changes(now + SETTLE);
        assert_eq!(changes, [Change::Complete("a".to_owned(), with)]);
    }

    /// A manifest or signatures without code.
    fn stray(name: &str) -> Listing {
        [(name.to_owned(), None)].into()
    }

    #[test]
    fn a_manifest_whose_code_does_not_come_is_told_once() {
        let now = Instant::now();
        let mut directory = looked(now);
        directory.look(now, stray("a"));
        assert!(directory.changes(now + SETTLE).is_empty(), "the code may be on its way");
        let late = now + SETTLE + MISSING;
        assert_eq!(directory.changes(late), [Change::Stray("a".to_owned())]);
        directory.look(late, stray("a"));
        assert!(directory.changes(late + MISSING + SETTLE).is_empty());
        directory.look(late, BTreeMap::new());
        assert!(directory.changes(late + MISSING + SETTLE).is_empty(), "it was no kind");
    }

    #[test]
    fn a_manifest_may_come_before_its_code_and_stay_after_it() {
        let now = Instant::now();
        let mut directory = looked(now);
        directory.look(now, stray("a"));
        assert!(!directory.has_code("a"));
        directory.look(now, listing(&[("a", 1)]));
        assert!(directory.has_code("a"));
        assert_eq!(directory.changes(now + SETTLE), [complete("a", 1)]);
        directory.look(now, stray("a"));
        assert_eq!(directory.changes(now), [Change::Gone("a".to_owned())]);
    }
}
