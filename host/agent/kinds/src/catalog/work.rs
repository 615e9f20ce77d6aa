//! Which kinds are compiled at the same time: as many as there are slots, but
//! only one large one, because a large one takes much memory.

use std::collections::{BTreeMap, VecDeque};

use hulynet_protocol::Kind;

/// A file of at least this many bytes is large.
const LARGE: u64 = 2 * 1024 * 1024;

/// One load, from the moment at which it is wanted to its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The loads that wait and those in progress.
#[derive(Debug)]
pub(super) struct Work {
    slots: usize,
    tickets: u64,
    waiting: VecDeque<(Ticket, Kind, u64)>,
    running: BTreeMap<Ticket, (Kind, u64)>,
    /// How many ended since there was nothing to do.
    done: usize,
}

/// How far the loads are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many ended since there was nothing to do.
    pub done: usize,
    /// How many there are with those that wait or are in progress.
    pub total: usize,
    /// The kinds in progress and the bytes of their files.
    pub working: Vec<(Kind, u64)>,
}

impl Work {
    pub(super) fn new(slots: usize) -> Self {
        let (waiting, running) = (VecDeque::new(), BTreeMap::new());
        Self { slots: slots.max(1), tickets: 0, waiting, running, done: 0 }
    }

    /// Wants a load; one of the same kind that still waits is not needed any
    /// more.
    pub(super) fn want(&mut self, kind: &Kind, bytes: u64) -> Ticket {
        self.unwant(kind);
        if self.waiting.is_empty() && self.running.is_empty() {
            self.done = 0;
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.push_back((ticket, kind.clone(), bytes));
        ticket
    }

    /// Forgets a load that did not begin.
    pub(super) fn unwant(&mut self, kind: &Kind) {
        self.waiting.retain(|(_, waiting, _)| waiting != kind);
    }

    /// The next load to begin, if there is room for one.
    pub(super) fn begin(&mut self) -> Option<(Ticket, Kind)> {
        if self.running.len() >= self.slots {
            return None;
        }
        let busy = self.running.values().any(|(_, bytes)| *bytes >= LARGE);
        let next = self.waiting.iter().position(|(_, _, bytes)| !busy || *bytes < LARGE)?;
        let (ticket, kind, bytes) = self.waiting.remove(next)?;
        self.running.insert(ticket, (kind.clone(), bytes));
        Some((ticket, kind))
    }

    /// A load ended.
    pub(super) fn end(&mut self, ticket: Ticket) {
        if self.running.remove(&ticket).is_some() {
            self.done += 1;
        }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            done: self.done,
            total: self.done + self.running.len() + self.waiting.len(),
            working: self.running.values().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Kind {
        Kind::new(name).unwrap()
    }

    fn begun(work: &mut Work) -> Vec<String> {
        std::iter::from_fn(|| work.begin()).map(|(_, kind)| kind.to_string()).collect()
    }

    #[test]
    fn as_many_begin_as_there_are_slots() {
        let mut work = Work::new(2);
        let tickets: Vec<_> = ["a", "b", "c"].map(|name| work.want(&kind(name), 1)).into();
        assert_eq!(begun(&mut work), ["a", "b"]);
        work.end(tickets[0]);
        assert_eq!(begun(&mut work), ["c"]);
        let progress = work.progress();
        assert_eq!((progress.done, progress.total), (1, 3));
        assert_eq!(progress.working, [(kind("b"), 1), (kind("c"), 1)]);
    }

    #[test]
    fn large_ones_begin_one_at_a_time_and_hold_nobody_else_up() {
        let mut work = Work::new(3);
        let first = work.want(&kind("large"), LARGE);
        work.want(&kind("larger"), 2 * LARGE);
        work.want(&kind("small"), 1);
        assert_eq!(begun(&mut work), ["large", "small"]);
        work.end(first);
        assert_eq!(begun(&mut work), ["larger"]);
    }

    #[test]
    fn only_the_newest_load_of_a_kind_waits() {
        let mut work = Work::new(1);
        work.want(&kind("a"), 1);
        let newest = work.want(&kind("a"), 1);
        assert_eq!(work.begin().unwrap().0, newest);
        assert_eq!(work.begin(), None);
    }
}
