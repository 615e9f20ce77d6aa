//! How long a container may compute.
//!
//! A container that computes gives way to others at every epoch. One that
//! computes on and on is stopped: after the kind's limit, and earlier when
//! nobody waits for it any more, but never before [`GRACE`]: otherwise a caller
//! could end a container that others use, by asking with a short deadline.

use std::time::{Duration, Instant};

/// Computing this long is always allowed.
const GRACE: Duration = Duration::from_millis(250);

/// Watches one container.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: Duration,
    /// When the container began to compute without a pause.
    since: Option<Instant>,
    /// The last moment at which a caller still waits; `None` when none does.
    awaited_until: Option<Instant>,
}

impl Meter {
    /// At most `limit` without a pause.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: None, awaited_until: None }
    }

    /// The container paused: it gave control back to the host, which knows
    /// until when somebody waits for it.
    pub(crate) fn pause(&mut self, awaited_until: Option<Instant>) {
        self.since = None;
        self.awaited_until = awaited_until;
    }

    /// The container waited for something: it computes anew.
    pub(crate) fn pause_again(&mut self) {
        self.since = None;
    }

    /// An epoch passed while the container computed. Answers how long it has
    /// computed when that is too long.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let awaited = self.awaited_until.map(|until| until.saturating_duration_since(since));
        let allowed =
            awaited.map_or(self.limit, |awaited| awaited.clamp(GRACE.min(self.limit), self.limit));
        let computed = now.saturating_duration_since(since);
        (computed > allowed).then_some(computed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn computing_longer_than_the_limit_is_too_long() {
        let now = Instant::now();
        let mut meter = Meter::new(10 * SECOND);
        assert_eq!(meter.tick(now), None);
        assert_eq!(meter.tick(now + 10 * SECOND), None);
        assert_eq!(meter.tick(now + 11 * SECOND), Some(11 * SECOND));
    }

    #[test]
    fn a_pause_begins_anew() {
        let now = Instant::now();
        let mut meter = Meter::new(10 * SECOND);
        meter.tick(now);
        meter.pause(None);
        assert_eq!(meter.tick(now + 11 * SECOND), None);
    }

    #[test]
    fn nobody_waits_beyond_the_last_deadline_but_there_is_grace() {
        let now = Instant::now();
        let mut meter = Meter::new(10 * SECOND);
        meter.pause(Some(now + 3 * SECOND));
        assert_eq!(meter.tick(now), None);
        assert_eq!(meter.tick(now + 3 * SECOND), None);
        assert_eq!(meter.tick(now + 4 * SECOND), Some(4 * SECOND));
        meter.pause(Some(now));
        assert_eq!(meter.tick(now + 5 * SECOND), None);
        assert_eq!(meter.tick(now + 5 * SECOND + GRACE), None);
        assert_eq!(meter.tick(now + 6 * SECOND), Some(SECOND));
    }
}
