//! What the receiver of requests remembers, so that none runs twice.
//!
//! A caller numbers its requests within its session, in increasing order on
//! the wire. When a connection is lost and the session goes on over another
//! one, the caller sends what was not answered again, with the same numbers and
//! in order, before anything new. The receiver asks its [`Window`] what a
//! number is:
//!
//! | the number | is | the receiver |
//! |---|---|---|
//! | above all before | new | runs it |
//! | of a request that runs | joined | answers once, when it has run |
//! | of an answer that is kept | finished | sends that answer again |
//! | any other | forgotten | says that it may have been processed |
//!
//! An answer is kept until the caller acknowledges it (*all my requests up to
//! this number have ended*), at most so many and so many bytes: the oldest ones
//! go first. The window lives as long as the session. A caller whose session
//! was forgotten must not send its unanswered requests again: they may have
//! been processed.

use std::collections::BTreeMap;

use hulynet_mutants::{Mutant, mutant};

/// How many answers a window keeps. Enough for all that a caller usually has in
/// flight when its connection breaks.
pub const WINDOW_ANSWERS: usize = 1024;

/// How many bytes of answers a window keeps.
pub const WINDOW_BYTES: usize = 4 << 20;

/// What a request's number is to its receiver; see the module.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<'window, A> {
    /// Never seen: [`Window::begin`] it.
    New,
    /// It runs, and its answer will come.
    Joined,
    /// It has run, and this was its answer.
    Finished(&'window A),
    /// It may have run; nothing more is known.
    Forgotten,
}

/// The requests of one caller: those that run, each with its `P`, and the last
/// answers. No IO and no clock.
#[derive(Debug)]
pub struct Window<P, A> {
    /// The highest number begun.
    highest: u64,
    running: BTreeMap<u64, P>,
    finished: BTreeMap<u64, (A, usize)>,
    bytes: usize,
}

impl<P, A> Default for Window<P, A> {
    fn default() -> Self {
        Self { highest: 0, running: BTreeMap::new(), finished: BTreeMap::new(), bytes: 0 }
    }
}

impl<P, A> Window<P, A> {
    /// What the number of a request that arrived is. Numbers begin at 1.
    #[must_use]
    pub fn arrival(&self, number: u64) -> Arrival<'_, A> {
        if number > self.highest || mutant(Mutant::RunsTwice) {
            Arrival::New
        } else if self.running.contains_key(&number) {
            Arrival::Joined
        } else if let Some((answer, _)) = self.finished.get(&number) {
            Arrival::Finished(answer)
        } else {
            Arrival::Forgotten
        }
    }

    /// A new request runs from here on. One that is not new is left alone.
    pub fn begin(&mut self, number: u64, progress: P) {
        if number > self.highest {
            self.highest = number;
            self.running.insert(number, progress);
        }
    }

    /// A request has run. `bytes` is what its answer costs to keep. Gives what
    /// it began with, `None` when it does not run (any more): the answer is
    /// for nobody then.
    pub fn finish(&mut self, number: u64, answer: A, bytes: usize) -> Option<P> {
        let progress = self.running.remove(&number)?;
        self.bytes += bytes;
        self.finished.insert(number, (answer, bytes));
        while self.bytes > WINDOW_BYTES || self.finished.len() > WINDOW_ANSWERS {
            self.forget_first();
        }
        Some(progress)
    }

    /// The caller does not wait for a request any more. Gives what it began
    /// with if it runs; its answer is for nobody.
    pub fn cancel(&mut self, number: u64) -> Option<P> {
        self.running.remove(&number)
    }

    /// All requests up to this number have ended for the caller: their answers
    /// are not needed any more. Those that still run are left alone.
    pub fn acknowledge(&mut self, number: u64) {
        while self.finished.first_key_value().is_some_and(|(first, _)| *first <= number) {
            self.forget_first();
        }
    }

    /// What the answers that are kept cost.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps the answer no longer that was kept first.
    pub fn forget_first(&mut self) {
        if let Some((_, (_, bytes))) = self.finished.pop_first() {
            self.bytes -= bytes;
        }
    }

    /// A request that runs.
    pub fn running(&mut self, number: u64) -> Option<&mut P> {
        self.running.get_mut(&number)
    }

    /// All that run, in the order of their numbers.
    pub fn all_running(&mut self) -> impl Iterator<Item = (u64, &mut P)> {
        self.running.iter_mut().map(|(number, progress)| (*number, progress))
    }

    /// How many run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether none runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use hulynet_mutants::switch;
    use proptest::prelude::*;

    use super::*;

    type Strings = Window<(), String>;

    fn begun(window: &mut Strings, number: u64) {
        assert_eq!(window.arrival(number), Arrival::New);
        window.begin(number, ());
    }

    #[test]
    fn a_request_executed_twice_after_a_reconnect() {
        let mut window = Strings::default();
        begun(&mut window, 1);
        begun(&mut window, 2);
        assert!(window.finish(1, "one".into(), 3).is_some());
        // The connection breaks; both were not answered and come again.
        assert_eq!(window.arrival(1), Arrival::Finished(&"one".to_owned()));
        assert_eq!(window.arrival(2), Arrival::Joined);
        begun(&mut window, 3);
        assert!(window.finish(2, "two".into(), 3).is_some());
        assert_eq!(window.finish(2, "twice".into(), 5), None);
        assert_eq!(window.arrival(2), Arrival::Finished(&"two".to_owned()));
    }

    #[test]
    fn that_test_fails_when_its_fault_is_put_back() {
        switch(Some(Mutant::RunsTwice));
        let failed = catch_unwind(a_request_executed_twice_after_a_reconnect).is_err();
        switch(None);
        assert!(failed);
    }

    #[test]
    fn what_was_acknowledged_evicted_or_cancelled_is_forgotten_and_never_new() {
        let mut window = Strings::default();
        for number in 1..=3 {
            begun(&mut window, number);
        }
        window.finish(1, "one".into(), 3);
        window.finish(2, "two".into(), 3);
        window.acknowledge(1);
        assert_eq!(window.arrival(1), Arrival::Forgotten);
        assert_eq!(window.arrival(2), Arrival::Finished(&"two".to_owned()));
        assert!(window.cancel(3).is_some());
        assert_eq!(window.arrival(3), Arrival::Forgotten);
        begun(&mut window, 4);
        window.finish(4, "large".into(), WINDOW_BYTES + 1);
        assert_eq!(window.arrival(4), Arrival::Forgotten);
        assert_eq!(window.arrival(2), Arrival::Forgotten);
        assert_eq!((window.bytes, window.finished.len()), (0, 0));
    }

    #[test]
    fn an_acknowledgement_leaves_what_still_runs_alone() {
        let mut window = Strings::default();
        begun(&mut window, 1);
        begun(&mut window, 2);
        window.acknowledge(2);
        assert_eq!((window.arrival(1), window.len()), (Arrival::Joined, 2));
        assert!(window.finish(1, "one".into(), 3).is_some());
        assert_eq!(window.running(2), Some(&mut ()));
    }

    #[test]
    fn answers_are_bounded_in_number_however_long_the_first_request_runs() {
        let mut window = Strings::default();
        begun(&mut window, 1);
        for number in 2..=WINDOW_ANSWERS as u64 + 10 {
            begun(&mut window, number);
            window.finish(number, String::new(), 1);
        }
        assert_eq!(window.finished.len(), WINDOW_ANSWERS);
        assert_eq!(window.arrival(2), Arrival::Forgotten);
        assert_eq!(window.arrival(1), Arrival::Joined);
    }

    proptest! {
        /// Whatever a caller sends, nothing is new twice.
        #[test]
        fn no_number_is_new_twice(steps in prop::collection::vec((0u8..4, 0u64..20), 0..200)) {
            let mut window = Strings::default();
            let mut begun = std::collections::BTreeSet::new();
            for (step, number) in steps {
                match step {
                    0 => if window.arrival(number) == Arrival::New {
                        prop_assert!(begun.insert(number));
                        window.begin(number, ());
                    },
                    1 => drop(window.finish(number, String::new(), WINDOW_BYTES / 3)),
                    2 => window.acknowledge(number),
                    _ => drop(window.cancel(number)),
                }
                prop_assert!(window.bytes <= WINDOW_BYTES);
                prop_assert_eq!(window.bytes, window.finished.len() * (WINDOW_BYTES / 3));
            }
        }
    }
}
