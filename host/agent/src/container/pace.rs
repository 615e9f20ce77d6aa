//! How long the containers of a kind compute, and whether they may do so on the
//! thread of a request.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A kind is quick while its containers compute no longer than this on average
/// for a letter. The first request to a container takes wasmtime alone 37 to 39 µs
/// on a slow machine, and an agent more, but is answered sooner without a change
/// of thread: one of 10,000 containers takes 1.3 times as long as the only one,
/// and 1.7 times with a limit of 50 µs (`cargo xtask bench agent`).
pub(super) const QUICK: Duration = Duration::from_micros(200);

/// Longer than this is an offence: nobody else on the thread should notice.
const SLOW: Duration = Duration::from_millis(1);

/// Letters that a container takes in a run, at most.
pub(super) const MOST_LETTERS: u32 = 16;

/// What a kind begins with: it has to prove itself.
const UNPROVEN: Duration = Duration::from_micros(400);

/// How long a kind is barred after its first offence; twice as long after each
/// more, up to the longest.
const BAR: Duration = Duration::from_millis(100);
const LONGEST_BAR: Duration = Duration::from_secs(30);

/// As many quick runs forgive one offence.
const FORGIVEN_AFTER: u32 = 10_000;

/// How many runs are timed by the processor's clock after one that seemed
/// slow: on a busy machine it may only have been interrupted. That clock costs
/// a system call, so it is not used for every run.
const SUSPECT: u32 = 1_000;

/// How long a run took.
#[derive(Clone, Copy, Debug)]
pub(super) enum Took {
    /// By the processor's clock.
    Exactly(Duration),
    /// From its beginning to its end, whatever else the processor did.
    AtMost(Duration),
}

/// The pace of a kind. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Arc<Mutex<Record>>);

impl Default for Pace {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Record::new())))
    }
}

impl Pace {
    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the containers of a kind compute. Pure.
#[derive(Debug)]
pub(super) struct Record {
    average: Duration,
    offences: u32,
    quick: u32,
    /// Runs that are still timed by the processor's clock.
    suspect: u32,
    barred_until: Option<Instant>,
}

impl Record {
    pub(super) const fn new() -> Self {
        Self { average: UNPROVEN, offences: 0, quick: 0, suspect: 0, barred_until: None }
    }

    /// How long a container of a quick kind will compute for a letter, to judge
    /// by those before. Most kinds are never barred, and need no look at the
    /// clock.
    pub(super) fn quick(&self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        let barred = self.barred_until.is_some_and(|until| now() < until);
        (self.average <= QUICK && !barred).then_some(self.average)
    }

    /// Whether runs are to be timed by the processor's clock.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect > 0
    }

    /// How many letters a container takes in a run: not so many that it would be
    /// an offence of a quick kind.
    pub(super) fn letters(&self) -> u32 {
        let half = SLOW / 2;
        let letters = half.as_nanos().checked_div(self.average.as_nanos());
        let most = |letters| u32::try_from(letters).unwrap_or(MOST_LETTERS).clamp(1, MOST_LETTERS);
        letters.map_or(MOST_LETTERS, most)
    }

    /// A container computed until `now`, for so many letters; by the processor's
    /// clock, or as it seems.
    pub(super) fn computed(&mut self, now: Instant, took: Took, letters: u32) {
        let took = match took {
            Took::Exactly(took) => {
                self.suspect = self.suspect.saturating_sub(1);
                took
            }
            Took::AtMost(took) if took >= SLOW => {
                self.suspect = SUSPECT;
                return;
            }
            Took::AtMost(took) => took,
        };
        self.average = (self.average * 7 + took / letters.max(1)) / 8;
        if took < SLOW {
            self.quick += 1;
            if self.quick == FORGIVEN_AFTER {
                self.quick = 0;
                self.offences = self.offences.saturating_sub(1);
            }
            return;
        }
        self.suspect = SUSPECT;
        let bar = BAR.saturating_mul(1_u32.checked_shl(self.offences).unwrap_or(u32::MAX));
        self.barred_until = Some(now + bar.min(LONGEST_BAR));
        self.offences = self.offences.saturating_add(1).min(u32::BITS);
        self.quick = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Took = Took::AtMost(Duration::from_micros(5));

    impl Record {
        /// Of a kind that is quick.
        pub(in super::super) fn proven() -> Self {
            let mut record = Self::new();
            for _ in 0..100 {
                record.computed(Instant::now(), FAST, 1);
            }
            record
        }

        /// A container of it is expected to take so long for a letter.
        pub(in super::super) fn takes(&mut self, each: Duration) {
            self.average = each;
        }

        /// Whether nothing is known of the kind.
        pub(in super::super) fn is_new(&self) -> bool {
            self.average == UNPROVEN && !self.is_suspect()
        }

        /// It turns out to be slow, for as long as any can be.
        pub(in super::super) fn offend(&mut self) {
            self.computed(Instant::now(), Took::Exactly(LONGEST_BAR), 1);
        }
    }

    fn is_quick(record: &Record, now: Instant) -> bool {
        record.quick(|| now).is_some()
    }

    #[test]
    fn a_kind_has_to_prove_that_it_is_quick() {
        let start = Instant::now();
        let mut record = Record::new();
        assert!(!is_quick(&record, start));
        record.computed(start, FAST, 1);
        assert!(!is_quick(&record, start));
        assert!(is_quick(&Record::proven(), start));
    }

    #[test]
    fn a_slow_kind_is_barred_and_longer_each_time() {
        let start = Instant::now();
        let mut record = Record::proven();
        let offend = |record: &mut Record| {
            record.computed(start, Took::AtMost(SLOW), 1);
            record.computed(start, Took::Exactly(SLOW), 1);
            for _ in 0..100 {
                record.computed(start, FAST, 1);
            }
        };
        offend(&mut record);
        assert!(!is_quick(&record, start + BAR - Duration::from_micros(1)));
        assert!(is_quick(&record, start + BAR));
        offend(&mut record);
        assert!(!is_quick(&record, start + BAR));
        assert!(is_quick(&record, start + 2 * BAR));
        for _ in 0..100 {
            offend(&mut record);
        }
        assert!(!is_quick(&record, start + LONGEST_BAR - Duration::from_micros(1)));
        assert!(is_quick(&record, start + LONGEST_BAR));
    }

    #[test]
    fn a_kind_that_was_interrupted_is_not_barred_and_watched_for_a_while() {
        let start = Instant::now();
        let mut record = Record::proven();
        record.computed(start, Took::AtMost(SLOW * 100), 1);
        assert!(is_quick(&record, start) && record.is_suspect());
        for _ in 0..SUSPECT {
            record.computed(start, Took::Exactly(Duration::from_micros(5)), 1);
        }
        assert!(is_quick(&record, start) && !record.is_suspect());
    }

    #[test]
    fn a_run_is_judged_by_what_one_of_its_letters_took() {
        let start = Instant::now();
        let mut record = Record::proven();
        for _ in 0..100 {
            record.computed(start, Took::AtMost(QUICK * 4), 4);
        }
        assert!(is_quick(&record, start));
        for _ in 0..100 {
            record.computed(start, Took::AtMost(QUICK * 4), 1);
        }
        assert!(!is_quick(&record, start));
    }

    #[test]
    fn a_container_takes_no_more_letters_in_a_run_than_its_kind_is_quick_with() {
        let start = Instant::now();
        let letters = |each: Duration| {
            let mut record = Record::new();
            for _ in 0..1_000 {
                record.computed(start, Took::AtMost(each), 1);
            }
            record.letters()
        };
        assert_eq!(letters(Duration::ZERO), MOST_LETTERS);
        assert_eq!(letters(Duration::from_micros(5)), MOST_LETTERS);
        assert_eq!(letters(Duration::from_micros(50)), 10);
        assert_eq!(letters(QUICK), 2);
        assert_eq!(letters(SLOW - Duration::from_micros(1)), 1);
    }
}
