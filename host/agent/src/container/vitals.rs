//! Signs of life of one container: when to ping it and when to give it up.

use std::time::{Duration, Instant};

use hulynet_agent_kinds::ContainerLimits;

/// Watches one container. Pure: the time is passed in.
#[derive(Debug)]
pub(crate) struct Vitals {
    silent: Duration,
    ping: Duration,
    start: Duration,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Starting { by: Instant },
    Serving { sign: Instant },
    Pinged { answer_by: Instant },
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing before this moment.
    Wait(Instant),
    /// Ping it.
    Ping,
    /// End it, for this reason.
    End(String),
}

impl Vitals {
    /// It begins to start.
    pub(crate) fn new(limits: &ContainerLimits, now: Instant) -> Self {
        Self {
            silent: limits.silent,
            ping: limits.ping,
            start: limits.start,
            phase: Phase::Starting { by: now + limits.start },
        }
    }

    /// It started, or answered a ping.
    pub(crate) fn well(&mut self, now: Instant) {
        self.phase = Phase::Serving { sign: now };
    }

    /// It answered a request. That does not replace the answer to a ping.
    pub(crate) fn sign(&mut self, now: Instant) {
        if let Phase::Serving { sign } = &mut self.phase {
            *sign = now;
        }
    }

    /// It hears nothing before this moment, because somebody else waits for it.
    pub(crate) fn busy(&mut self, until: Instant) {
        if let Phase::Serving { sign } = &mut self.phase {
            *sign = until.max(*sign);
        }
    }

    /// Decides. Nobody looks again before the moment that this names, so it is
    /// never later than the next ping of one that is well from now on.
    pub(crate) fn look(&mut self, now: Instant) -> Verdict {
        match self.phase {
            Phase::Starting { by } if now >= by => {
                Verdict::End(format!("it did not start within {:?}", self.start))
            }
            Phase::Starting { by } => Verdict::Wait(by.min(now + self.silent)),
            Phase::Serving { sign } if now >= sign + self.silent => {
                self.phase = Phase::Pinged { answer_by: now + self.ping };
                Verdict::Ping
            }
            Phase::Serving { sign } => Verdict::Wait(sign + self.silent),
            Phase::Pinged { answer_by } if now >= answer_by => {
                Verdict::End(format!("it did not answer a ping within {:?}", self.ping))
            }
            Phase::Pinged { answer_by } => Verdict::Wait(answer_by.min(now + self.silent)),
        }
    }

    /// Whether it has started.
    pub(crate) fn started(&self) -> bool {
        !matches!(self.phase, Phase::Starting { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn vitals(now: Instant) -> Vitals {
        Vitals::new(&ContainerLimits::default(), now)
    }

    #[test]
    fn one_that_does_not_start_is_given_up() {
        let now = Instant::now();
        let mut vitals = vitals(now);
        assert_eq!(vitals.look(now), Verdict::Wait(now + 10 * SECOND));
        assert_eq!(vitals.look(now + 25 * SECOND), Verdict::Wait(now + 30 * SECOND));
        assert!(matches!(vitals.look(now + 30 * SECOND), Verdict::End(_)));
    }

    #[test]
    fn one_that_is_well_is_pinged_in_time_however_long_it_might_have_taken() {
        let now = Instant::now();
        let limits = ContainerLimits {
            silent: SECOND,
            ping: 5 * SECOND,
            start: 30 * SECOND,
            ..ContainerLimits::default()
        };
        let mut vitals = Vitals::new(&limits, now);
        for _ in 0..2 {
            // It is well as soon as it was looked at, which is the worst.
            let Verdict::Wait(until) = vitals.look(now) else { panic!("it has time") };
            vitals.well(now);
            assert_eq!(until, now + SECOND);
            assert_eq!(vitals.look(until), Verdict::Ping);
        }
    }

    #[test]
    fn a_silent_one_is_pinged_once_and_then_given_up() {
        let now = Instant::now();
        let mut vitals = vitals(now);
        vitals.well(now);
        assert_eq!(vitals.look(now + 9 * SECOND), Verdict::Wait(now + 10 * SECOND));
        assert_eq!(vitals.look(now + 10 * SECOND), Verdict::Ping);
        assert_eq!(vitals.look(now + 10 * SECOND), Verdict::Wait(now + 15 * SECOND));
        vitals.sign(now + 14 * SECOND);
        assert!(matches!(vitals.look(now + 15 * SECOND), Verdict::End(_)));
    }

    #[test]
    fn one_that_hears_nothing_yet_is_pinged_when_it_should_hear_again() {
        let now = Instant::now();
        let mut vitals = vitals(now);
        vitals.well(now);
        vitals.busy(now + 60 * SECOND);
        assert_eq!(vitals.look(now + 10 * SECOND), Verdict::Wait(now + 70 * SECOND));
        assert_eq!(vitals.look(now + 70 * SECOND), Verdict::Ping);
        assert!(matches!(vitals.look(now + 75 * SECOND), Verdict::End(_)));
        vitals.well(now + 76 * SECOND);
        vitals.busy(now + 100 * SECOND);
        vitals.sign(now + 80 * SECOND);
        assert_eq!(vitals.look(now + 90 * SECOND), Verdict::Ping, "it was done early");
    }

    #[test]
    fn an_answer_of_any_kind_postpones_the_ping() {
        let now = Instant::now();
        let mut vitals = vitals(now);
        vitals.well(now);
        vitals.sign(now + 9 * SECOND);
        assert_eq!(vitals.look(now + 10 * SECOND), Verdict::Wait(now + 19 * SECOND));
        assert_eq!(vitals.look(now + 19 * SECOND), Verdict::Ping);
        vitals.well(now + 20 * SECOND);
        assert_eq!(vitals.look(now + 20 * SECOND), Verdict::Wait(now + 30 * SECOND));
    }
}
