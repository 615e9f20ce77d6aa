//! When a failed call is made again. Pure.

use std::time::{Duration, Instant};

use hulynet_protocol::{ErrorKind, NetworkError, Retry};

/// The pause before the first repetition; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long to wait after the attempt that `failures` others preceded.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE)
}

/// Which failures of a call may be repeated without asking the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// A request to a container: only what was certainly not processed.
    Unprocessed,
    /// A call that has the same effect when it is carried out twice: also when
    /// the connection was lost before its answer came.
    Idempotent,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Tell the program.
    Fail,
    /// Try again after a pause, perhaps after asking the coordinator where
    /// the container lives now.
    Again {
        /// How long to wait.
        pause: Duration,
        /// Ask the coordinator first.
        locate: bool,
    },
}

/// The attempts of one call.
#[derive(Debug)]
pub struct Attempts {
    deadline: Instant,
    repeat: Repeat,
    failures: u32,
}

impl Attempts {
    /// None yet; the last one ends before the deadline.
    #[must_use]
    pub fn new(deadline: Instant, repeat: Repeat) -> Self {
        Self { deadline, repeat, failures: 0 }
    }

    /// When the call has to end.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Decides after a failed attempt. An error that waiting does not heal,
    /// and a pause that would reach the deadline, end the call.
    pub fn after(&mut self, now: Instant, error: &NetworkError) -> Next {
        let safe = match (error.retry, self.repeat) {
            (Retry::NotProcessed, _) => true,
            (Retry::MaybeProcessed, Repeat::Idempotent) => error.kind == ErrorKind::Unavailable,
            (Retry::MaybeProcessed | Retry::Final, _) => false,
        };
        let locate = match error.kind {
            ErrorKind::StaleEpoch
            | ErrorKind::UnknownContainer
            | ErrorKind::ContainerEnded
            | ErrorKind::Unavailable => true,
            // The kind of a container that is held was served before: its agent
            // is perhaps restarting. Nobody waits for a kind that is new.
            ErrorKind::UnknownKind if self.repeat == Repeat::Unprocessed => true,
            ErrorKind::Busy => false,
            _ => return Next::Fail,
        };
        let pause = pause(self.failures);
        if !safe || now + pause >= self.deadline {
            return Next::Fail;
        }
        self.failures += 1;
        Next::Again { pause, locate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(repeat: Repeat) -> (Attempts, Instant) {
        let now = Instant::now();
        (Attempts::new(now + Duration::from_secs(1), repeat), now)
    }

    #[test]
    fn only_what_was_certainly_not_processed_is_sent_again() {
        let (mut attempts, now) = attempts(Repeat::Unprocessed);
        let lost = NetworkError::maybe_processed(ErrorKind::Unavailable, "lost");
        assert_eq!(attempts.after(now, &lost), Next::Fail);
        let stale = NetworkError::not_processed(ErrorKind::StaleEpoch, "stale");
        assert!(matches!(attempts.after(now, &stale), Next::Again { locate: true, .. }));
        let busy = NetworkError::not_processed(ErrorKind::Busy, "busy");
        assert!(matches!(attempts.after(now, &busy), Next::Again { locate: false, .. }));
        let refused = NetworkError::refused(ErrorKind::UnknownContainer, "no");
        assert_eq!(attempts.after(now, &refused), Next::Fail);
    }

    #[test]
    fn an_idempotent_call_survives_a_lost_connection() {
        let (mut attempts, now) = attempts(Repeat::Idempotent);
        let lost = NetworkError::maybe_processed(ErrorKind::Unavailable, "lost");
        assert!(matches!(attempts.after(now, &lost), Next::Again { .. }));
    }

    #[test]
    fn an_unknown_kind_and_a_failed_start_are_told_at_once() {
        let (mut attempts, now) = attempts(Repeat::Idempotent);
        for kind in [ErrorKind::UnknownKind, ErrorKind::StartFailed] {
            let error = NetworkError::not_processed(kind, "no");
            assert_eq!(attempts.after(now, &error), Next::Fail);
        }
    }

    #[test]
    fn pauses_grow_and_end_before_the_deadline() {
        let (mut attempts, start) = attempts(Repeat::Unprocessed);
        let error = NetworkError::not_processed(ErrorKind::Unavailable, "away");
        let mut now = start;
        let mut last = Duration::ZERO;
        while let Next::Again { pause, .. } = attempts.after(now, &error) {
            assert!(pause > last);
            last = pause;
            now += pause;
        }
        assert!(now < start + Duration::from_secs(1));
        assert!(now > start + Duration::from_millis(500));
    }
}
