//! Whether containers are in a crash loop. Then their kind is quarantined: for a
//! while, which doubles every time, none of them is started.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::ContainerLimits;

/// Watches the containers of a kind that work for one tenant.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    crashes: VecDeque<Instant>,
    quarantine: Option<Quarantine>,
    /// Until when it matters what happened.
    matters_until: Option<Instant>,
}

/// The last quarantine.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    pub(super) until: Instant,
    pub(super) reason: String,
    length: Duration,
}

impl Trouble {
    /// A container with these limits crashed, `live` others go on. Answers
    /// whether a quarantine begins.
    pub(super) fn crash(
        &mut self,
        now: Instant,
        live: usize,
        limits: &ContainerLimits,
        reason: &str,
    ) -> bool {
        self.crashes.push_back(now);
        self.crashes.retain(|at| now.saturating_duration_since(*at) < limits.crash_window);
        self.matters_until = self.matters_until.max(Some(now + limits.crash_window));
        if self.crashes.len() < limits.crashes.max(live) || self.quarantined(now).is_some() {
            return false;
        }
        self.crashes.clear();
        let longest = limits.longest_quarantine;
        let recent = self.quarantine.take().filter(|last| now < last.until + longest);
        let length =
            recent.map_or(limits.quarantine, |last| last.length.saturating_mul(2)).min(longest);
        let until = now + length;
        self.matters_until = self.matters_until.max(Some(until + longest));
        self.quarantine = Some(Quarantine { until, reason: reason.to_owned(), length });
        true
    }

    /// The quarantine that the kind is in.
    pub(super) fn quarantined(&self, now: Instant) -> Option<&Quarantine> {
        self.quarantine.as_ref().filter(|quarantine| now < quarantine.until)
    }

    /// Whether what happened matters no more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.matters_until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(trouble: &mut Trouble, now: Instant, times: usize) -> bool {
        let limits = ContainerLimits::default();
        (0..times).any(|_| trouble.crash(now, 0, &limits, "it trapped"))
    }

    #[test]
    fn a_crash_loop_is_quarantined_for_longer_and_longer() {
        let limits = ContainerLimits::default();
        let mut now = Instant::now();
        let mut trouble = Trouble::default();
        assert!(!crash(&mut trouble, now, limits.crashes - 1));
        assert!(crash(&mut trouble, now, 1));
        for length in [limits.quarantine, 2 * limits.quarantine, 4 * limits.quarantine] {
            let quarantine = trouble.quarantined(now).unwrap();
            assert_eq!(
                (quarantine.until, quarantine.reason.as_str()),
                (now + length, "it trapped")
            );
            now += length;
            assert!(trouble.quarantined(now).is_none());
            assert!(!trouble.is_over(now), "the next one is longer");
            assert!(crash(&mut trouble, now, limits.crashes));
        }
        now += 2 * limits.longest_quarantine + limits.longest_quarantine;
        assert!(trouble.is_over(now));
        assert!(crash(&mut trouble, now, limits.crashes));
        assert_eq!(trouble.quarantined(now).unwrap().until, now + limits.quarantine);
    }

    #[test]
    fn crashes_now_and_then_are_no_loop() {
        let limits = ContainerLimits::default();
        let now = Instant::now();
        let mut trouble = Trouble::default();
        for minute in 0..100 {
            assert!(!crash(&mut trouble, now + minute * limits.crash_window, limits.crashes - 1));
        }
    }

    #[test]
    fn a_few_crashes_among_many_containers_are_no_loop() {
        let (now, limits) = (Instant::now(), ContainerLimits::default());
        let mut trouble = Trouble::default();
        assert!(!(0..99).any(|_| trouble.crash(now, 100, &limits, "it trapped")));
        assert!(trouble.crash(now, 100, &limits, "it trapped"));
    }

    #[test]
    fn an_operator_says_what_a_loop_is_and_how_long_a_quarantine_lasts() {
        let second = Duration::from_secs(1);
        let limits = ContainerLimits {
            crashes: 2,
            crash_window: 3 * second,
            quarantine: 4 * second,
            longest_quarantine: 6 * second,
            ..ContainerLimits::default()
        };
        let mut now = Instant::now();
        let mut trouble = Trouble::default();
        assert!(!trouble.crash(now, 0, &limits, "one"));
        now += limits.crash_window;
        assert!(!trouble.crash(now, 0, &limits, "the one before is too long ago"));
        for length in [4, 6, 6] {
            assert!(
                trouble.crash(now, 0, &limits, "another") || trouble.crash(now, 0, &limits, "x")
            );
            assert_eq!(trouble.quarantined(now).unwrap().until, now + length * second);
            now += length * second;
        }
    }
}
