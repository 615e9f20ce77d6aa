//! How long a container may compute.
//!
//! A container that computes gives way to others at every epoch but the first,
//! which may come when it has hardly begun. One that computes on and on is
//! stopped: after the kind's limit, and earlier when nobody waits for it any more,
//! but never before [`GRACE`]: otherwise a caller could end a container that others
//! use, by asking with a short deadline.

use std::time::{Duration, Instant};

/// Computing this long is always allowed.
pub(crate) const GRACE: Duration = Duration::from_millis(250);

/// What an epoch means for a container that computes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// It has hardly begun, and goes on.
    Begun,
    /// It gives way to others.
    GivesWay,
    /// It computed for so long, which is too long.
    TooLong(Duration),
}

/// Watches one container.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: Duration,
    /// When the container began to compute without a pause.
    since: Option<Instant>,
    /// The last moment at which a caller still waits; `None` when that is
    /// unknown, or none does.
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

    /// An epoch passed while the container computed.
    pub(crate) fn tick(&mut self, now: Instant) -> Tick {
        let Some(since) = self.since else {
            self.since = Some(now);
            return Tick::Begun;
        };
        let awaited = self.awaited_until.map(|until| until.saturating_duration_since(since));
        let allowed =
            awaited.map_or(self.limit, |awaited| awaited.clamp(GRACE.min(self.limit), self.limit));
        let computed = now.saturating_duration_since(since);
        if computed > allowed { Tick::TooLong(computed) } else { Tick::GivesWay }
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
        assert_eq!(meter.tick(now), Tick::Begun);
        assert_eq!(meter.tick(now + 10 * SECOND), Tick::GivesWay);
        assert_eq!(meter.tick(now + 11 * SECOND), Tick::TooLong(11 * SECOND));
    }

    #[test]
    fn a_pause_begins_anew() {
        let now = Instant::now();
        let mut meter = Meter::new(10 * SECOND);
        meter.tick(now);
        meter.pause(None);
        assert_eq!(meter.tick(now + 11 * SECOND), Tick::Begun);
    }

    #[test]
    fn nobody_waits_beyond_the_last_deadline_but_there_is_grace() {
        let now = Instant::now();
        let mut meter = Meter::new(10 * SECOND);
        meter.pause(Some(now + 3 * SECOND));
        assert_eq!(meter.tick(now), Tick::Begun);
        assert_eq!(meter.tick(now + 3 * SECOND), Tick::GivesWay);
        assert_eq!(meter.tick(now + 4 * SECOND), Tick::TooLong(4 * SECOND));
        meter.pause(Some(now));
        assert_eq!(meter.tick(now + 5 * SECOND), Tick::Begun);
        assert_eq!(meter.tick(now + 5 * SECOND + GRACE), Tick::GivesWay);
        assert_eq!(meter.tick(now + 6 * SECOND), Tick::TooLong(SECOND));
    }
}
