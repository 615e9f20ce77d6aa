//! A bucket that fills at a fixed rate.

use std::time::Instant;

/// Seconds of the rate that may be used at once.
const BURST: f64 = 10.0;

/// How much of something may be used a second, with a burst of [`BURST`]
/// seconds' worth. The time is passed in.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    left: f64,
    filled: Instant,
}

impl Rate {
    /// A full bucket.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    pub(crate) fn new(per_second: usize, now: Instant) -> Self {
        let per_second = per_second as f64;
        Self { per_second, left: per_second * BURST, filled: now }
    }

    /// Whether there is room for so much now.
    #[expect(clippy::cast_precision_loss, reason = "an amount needs no 53 bits")]
    pub(crate) fn has(&mut self, now: Instant, amount: usize) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.per_second * BURST);
        self.filled = now;
        self.left >= amount as f64
    }

    /// Uses so much, which [`Rate::has`] found room for.
    #[expect(clippy::cast_precision_loss, reason = "an amount needs no 53 bits")]
    pub(crate) fn used(&mut self, amount: usize) {
        self.left -= amount as f64;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let now = Instant::now();
        let mut rate = Rate::new(10, now);
        let mut take = |now| {
            let has = rate.has(now, 1);
            if has {
                rate.used(1);
            }
            has
        };
        assert_eq!((0..1_000).filter(|_| take(now)).count(), 100);
        let later = now + Duration::from_secs(1);
        assert_eq!((0..1_000).filter(|_| take(later)).count(), 10);
    }

    #[test]
    fn what_is_larger_than_the_bucket_never_fits() {
        let now = Instant::now();
        let mut rate = Rate::new(10, now);
        assert!(rate.has(now, 100));
        assert!(!rate.has(now + Duration::from_secs(60), 101));
    }
}
