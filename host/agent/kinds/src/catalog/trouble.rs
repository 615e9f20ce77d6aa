//! Whether a kind is in a crash loop. Then it is quarantined: for a while,
//! which doubles every time, none of its containers is started.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Crashes that are looked at together.
const WINDOW: Duration = Duration::from_secs(60);
/// Fewer crashes within the window are no loop. Where a kind has more
/// containers than this, it takes as many crashes as it has containers: one
/// tenant's containers shall not take the kind from all others.
const CRASHES: usize = 5;
/// The first quarantine.
const SHORTEST: Duration = Duration::from_secs(10);
/// No quarantine is longer. A kind that went on for as long without another
/// one begins anew.
const LONGEST: Duration = Duration::from_secs(600);

/// Watches one kind.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    crashes: VecDeque<Instant>,
    quarantine: Option<Quarantine>,
}

/// The last quarantine.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    pub(super) until: Instant,
    pub(super) reason: String,
    length: Duration,
}

impl Trouble {
    /// A container crashed, `live` others go on. Answers whether the kind is
    /// quarantined now and was not before.
    pub(super) fn crash(&mut self, now: Instant, live: usize, reason: &str) -> bool {
        self.crashes.push_back(now);
        self.crashes.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        if self.crashes.len() < CRASHES.max(live) || self.quarantined(now).is_some() {
            return false;
        }
        self.crashes.clear();
        let recent = self.quarantine.take().filter(|last| now < last.until + LONGEST);
        let length = recent.map_or(SHORTEST, |last| (last.length * 2).min(LONGEST));
        self.quarantine =
            Some(Quarantine { until: now + length, reason: reason.to_owned(), length });
        true
    }

    /// The quarantine that the kind is in.
    pub(super) fn quarantined(&self, now: Instant) -> Option<&Quarantine> {
        self.quarantine.as_ref().filter(|quarantine| now < quarantine.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(trouble: &mut Trouble, now: Instant, times: usize) -> bool {
        (0..times).any(|_| trouble.crash(now, 0, "it trapped"))
    }

    #[test]
    fn a_crash_loop_is_quarantined_for_longer_and_longer() {
        let mut now = Instant::now();
        let mut trouble = Trouble::default();
        assert!(!crash(&mut trouble, now, CRASHES - 1));
        assert!(crash(&mut trouble, now, 1));
        for length in [SHORTEST, 2 * SHORTEST, 4 * SHORTEST] {
            let quarantine = trouble.quarantined(now).unwrap();
            assert_eq!(
                (quarantine.until, quarantine.reason.as_str()),
                (now + length, "it trapped")
            );
            now += length;
            assert!(trouble.quarantined(now).is_none());
            assert!(crash(&mut trouble, now, CRASHES));
        }
        now += 2 * LONGEST + LONGEST;
        assert!(crash(&mut trouble, now, CRASHES));
        assert_eq!(trouble.quarantined(now).unwrap().until, now + SHORTEST);
    }

    #[test]
    fn crashes_now_and_then_are_no_loop() {
        let now = Instant::now();
        let mut trouble = Trouble::default();
        for minute in 0..100 {
            assert!(!crash(&mut trouble, now + minute * WINDOW, CRASHES - 1));
        }
    }

    #[test]
    fn a_few_crashes_among_many_containers_are_no_loop() {
        let now = Instant::now();
        let mut trouble = Trouble::default();
        assert!(!(0..99).any(|_| trouble.crash(now, 100, "it trapped")));
        assert!(trouble.crash(now, 100, "it trapped"));
    }
}
