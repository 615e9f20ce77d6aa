//! The registry's clock: a number that its driver passes in.

use std::{ops::Add, time::Duration};

/// A moment, as the time since the coordinator's start (a monotonic clock).
///
/// Kept in nanoseconds, which last for 584 years, in half of the memory that a
/// [`Duration`] takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment this long after the start.
    #[must_use]
    pub fn after_start(elapsed: Duration) -> Self {
        Self(nanoseconds(elapsed))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
