//! One watcher's view of the network's changes: a snapshot, then every change
//! after it, in order and without a gap. Pure.
//!
//! Snapshots and changes travel beside each other, so their revisions decide:
//! changes that a snapshot contains are dropped, changes that came before it
//! are kept until it is there, and a missing one asks for a fresh snapshot.

use std::collections::VecDeque;

use hulynet_protocol::{NetworkEvent, Snapshot};

/// The most changes that wait for the program, and for a snapshot. A program
/// that falls behind gets a fresh snapshot in place of what it did not read.
pub const WATCH_CHANGES: usize = 4096;

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// Forget what was told before: this is the whole network. Comes first,
    /// and again after a reconnect, a gap, or when the program read too slowly.
    Snapshot(Snapshot),
    /// The next change.
    Change(NetworkEvent),
}

#[derive(Debug)]
enum Phase {
    /// A snapshot is needed; changes that came early wait for it.
    Waiting { early: VecDeque<NetworkEvent> },
    /// Everything up to the revision was told.
    Live { revision: u64 },
}

/// See the module's documentation. The owner asks for a snapshot whenever
/// [`Feed::wants_snapshot`] says so.
#[derive(Debug)]
pub(crate) struct Feed {
    phase: Phase,
    /// Counts the times that a snapshot became necessary.
    round: u64,
    queue: VecDeque<WatchEvent>,
    /// The queue overflowed and the program has not read since.
    behind: bool,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let phase = Phase::Waiting { early: VecDeque::new() };
        Self { phase, round: 0, queue: VecDeque::new(), behind: false }
    }

    /// The round to ask a snapshot for; `None` when none is needed.
    pub(crate) fn wants_snapshot(&self) -> Option<u64> {
        match self.phase {
            Phase::Waiting { .. } if !self.behind => Some(self.round),
            Phase::Waiting { .. } | Phase::Live { .. } => None,
        }
    }

    /// The connection to the coordinator is a new one: what was sent before is
    /// perhaps lost.
    pub(crate) fn restart(&mut self) {
        self.round += 1;
        self.phase = Phase::Waiting { early: VecDeque::new() };
    }

    /// The snapshot that was asked for in `round`; one of another round is
    /// older than what made the next one necessary.
    pub(crate) fn snapshot(&mut self, round: u64, snapshot: Snapshot) {
        if self.wants_snapshot() != Some(round) {
            return;
        }
        let next = Phase::Live { revision: snapshot.revision };
        let Phase::Waiting { early } = std::mem::replace(&mut self.phase, next) else { return };
        self.queue.clear();
        self.queue.push_back(WatchEvent::Snapshot(snapshot));
        for event in early {
            self.change(event);
        }
    }

    pub(crate) fn change(&mut self, event: NetworkEvent) {
        match &mut self.phase {
            Phase::Waiting { early } => {
                // A snapshot that does not reach up to what is left shows the
                // gap that this leaves.
                if early.len() == WATCH_CHANGES {
                    early.pop_front();
                }
                early.push_back(event);
            }
            Phase::Live { revision } if event.revision <= *revision => {}
            Phase::Live { revision } if event.since <= *revision => {
                *revision = event.revision;
                if self.queue.len() == WATCH_CHANGES {
                    self.queue.clear();
                    self.behind = true;
                    self.restart();
                } else {
                    self.queue.push_back(WatchEvent::Change(event));
                }
            }
            Phase::Live { .. } => {
                self.restart();
                self.change(event);
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<WatchEvent> {
        self.behind = false;
        self.queue.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{AgentId, Change};

    use super::*;

    fn event(revision: u64) -> NetworkEvent {
        told_after(revision - 1, revision)
    }

    fn told_after(since: u64, revision: u64) -> NetworkEvent {
        NetworkEvent { since, revision, change: Change::AgentRemoved(AgentId::new("a").unwrap()) }
    }

    fn snapshot(revision: u64) -> Snapshot {
        Snapshot { revision, ..Snapshot::default() }
    }

    fn live(revision: u64) -> Feed {
        let mut feed = Feed::new();
        let round = feed.wants_snapshot().unwrap();
        feed.snapshot(round, snapshot(revision));
        feed
    }

    fn told(feed: &mut Feed) -> Vec<u64> {
        std::iter::from_fn(|| feed.pop())
            .map(|event| match event {
                WatchEvent::Snapshot(snapshot) => snapshot.revision,
                WatchEvent::Change(event) => event.revision,
            })
            .collect()
    }

    #[test]
    fn changes_that_overtake_the_snapshot_are_neither_lost_nor_repeated() {
        let mut feed = Feed::new();
        for revision in 3..=6 {
            feed.change(event(revision));
        }
        feed.snapshot(0, snapshot(4));
        feed.change(event(6));
        feed.change(event(7));
        assert_eq!(told(&mut feed), [4, 5, 6, 7]);
    }

    #[test]
    fn a_gap_asks_for_a_fresh_snapshot() {
        let mut feed = live(4);
        feed.change(event(6));
        let round = feed.wants_snapshot().unwrap();
        feed.snapshot(round, snapshot(5));
        assert_eq!(told(&mut feed), [5, 6]);
        assert_eq!(feed.wants_snapshot(), None);
    }

    #[test]
    fn revisions_that_were_superseded_within_their_batch_are_no_gap() {
        let mut feed = live(4);
        feed.change(told_after(4, 7));
        feed.change(told_after(7, 9));
        assert_eq!((feed.wants_snapshot(), told(&mut feed)), (None, vec![4, 7, 9]));
        // The snapshot was made between the updates that became one.
        let mut feed = live(5);
        feed.change(told_after(4, 7));
        assert_eq!((feed.wants_snapshot(), told(&mut feed)), (None, vec![5, 7]));
        feed.change(told_after(8, 9));
        assert!(feed.wants_snapshot().is_some(), "8 is missing");
    }

    #[test]
    fn a_snapshot_that_was_asked_before_a_reconnect_is_not_believed() {
        let mut feed = Feed::new();
        let old = feed.wants_snapshot().unwrap();
        feed.restart();
        feed.snapshot(old, snapshot(9));
        assert_eq!(told(&mut feed), Vec::<u64>::new());
        let round = feed.wants_snapshot().unwrap();
        feed.snapshot(round, snapshot(2));
        assert_eq!(told(&mut feed), [2]);
    }

    #[test]
    fn a_program_that_falls_behind_gets_a_snapshot_once_it_reads_again() {
        let mut feed = live(0);
        for revision in 1..=WATCH_CHANGES as u64 {
            feed.change(event(revision));
        }
        assert_eq!(feed.wants_snapshot(), None, "nothing is asked while nobody reads");
        assert_eq!(feed.pop(), None);
        let round = feed.wants_snapshot().unwrap();
        feed.snapshot(round, snapshot(5000));
        assert_eq!(told(&mut feed), [5000]);
    }

    #[test]
    fn early_changes_are_bounded() {
        let mut feed = Feed::new();
        for revision in 1..=WATCH_CHANGES as u64 + 10 {
            feed.change(event(revision));
        }
        feed.snapshot(0, snapshot(3));
        assert_eq!(feed.wants_snapshot(), Some(1), "changes 4 to 10 are missing");
    }
}
