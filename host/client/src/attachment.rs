//! Keeps one connection attached to its container, wherever that lives. Pure.
//!
//! A round of attempts begins when the connection is opened, and again
//! whenever what it was attached to is gone: the container moved or ended it,
//! or the path to it broke. Each attempt finds the container and a path to it,
//! says goodbye where the connection was attached over another path, and
//! connects. So nobody holds it twice, and a name that was used over one path
//! is not in use when it comes over the next one.
//!
//! The owner asks [`Attachment::step`] what to do and does it; every step but
//! [`Step::Wait`] and [`Step::End`] is answered before the next one is asked
//! for. News may come at any time, and ask for another step.

use std::time::{Duration, Instant};

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{Epoch, NetworkError, Retry};

use crate::{
    paths::Path,
    retry::{Attempts, Next, Repeat, pause},
};

#[cfg(test)]
mod tests;

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// How its events come.
    pub path: Path,
    /// The activation that sends them.
    pub epoch: Epoch,
}

/// What the owner has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Find where the container lives and a path to it within the deadline,
    /// then call [`Attachment::routed`] or [`Attachment::failed`].
    Route(Instant),
    /// End the connection where it may be attached still, then call
    /// [`Attachment::left`]. Worth a moment only.
    Leave(Attached),
    /// Connect there within the deadline, then call [`Attachment::connected`]
    /// or [`Attachment::failed`]. Events may come before the answer.
    Connect(Attached, Instant),
    /// Ask where the container lives, since the activation `tried` was not
    /// reached; then call [`Attachment::located`], or [`Attachment::unlocated`]
    /// at the deadline.
    Locate {
        /// The activation.
        tried: Epoch,
        /// When the round ends.
        deadline: Instant,
    },
    /// Nothing, before then or before news.
    Wait(Option<Instant>),
    /// The connection is over, for this reason.
    End(NetworkError),
}

/// That a connection is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// For the first time.
    Opened,
    /// Again: what was sent meanwhile did not arrive.
    Reconnected(Epoch),
}

#[derive(Clone, Debug)]
enum Phase {
    Routing,
    Leaving {
        former: Attached,
        next: Attached,
    },
    Connecting(Attached),
    /// Between two attempts of a round.
    Pausing {
        until: Instant,
        locate: Option<(Epoch, NetworkError)>,
    },
    Locating {
        tried: Epoch,
        reason: NetworkError,
    },
    Attached {
        since: Instant,
    },
    /// Between two rounds.
    Resting {
        until: Instant,
    },
    Ended(NetworkError),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Attachment {
    /// How long a round may take.
    patience: Duration,
    /// A container that keeps a connection for longer does not end each one.
    steady: Duration,
    phase: Phase,
    attempts: Attempts,
    /// Where it is attached, or was tried to be last.
    attached: Option<Attached>,
    /// Where it may be attached besides, over another path.
    former: Option<Attached>,
    /// What it was attached to is gone.
    disturbed: bool,
    /// The other side ended it for good.
    over: Option<NetworkError>,
    opened: bool,
    /// The newest activation of the container that is known.
    newest: Epoch,
    /// Rounds since it was steady.
    rounds: u32,
}

impl Attachment {
    /// A connection that is opened now. A round of attempts may take
    /// `patience`; one that lasts for `steady` is attached again without a
    /// growing pause.
    #[must_use]
    pub fn new(now: Instant, patience: Duration, steady: Duration) -> Self {
        Self {
            patience,
            steady,
            phase: Phase::Routing,
            attempts: Attempts::new(now + patience, Repeat::Idempotent),
            attached: None,
            former: None,
            disturbed: false,
            over: None,
            opened: false,
            newest: Epoch::default(),
            rounds: 0,
        }
    }

    /// What to do now.
    pub fn step(&mut self, now: Instant) -> Step {
        if let Some(error) = &self.over {
            return Step::End(error.clone());
        }
        loop {
            match &self.phase {
                Phase::Routing => return Step::Route(self.attempts.deadline()),
                Phase::Leaving { former, .. } => return Step::Leave(former.clone()),
                Phase::Connecting(place) => {
                    return Step::Connect(place.clone(), self.attempts.deadline());
                }
                Phase::Locating { tried, .. } => {
                    return Step::Locate { tried: *tried, deadline: self.attempts.deadline() };
                }
                Phase::Ended(error) => return Step::End(error.clone()),
                Phase::Pausing { until, .. } | Phase::Resting { until } if *until > now => {
                    return Step::Wait(Some(*until));
                }
                Phase::Pausing { locate, .. } => {
                    self.phase = match locate.clone() {
                        Some((tried, reason)) => Phase::Locating { tried, reason },
                        None => Phase::Routing,
                    };
                }
                Phase::Resting { .. } => {
                    self.attempts = Attempts::new(now + self.patience, Repeat::Idempotent);
                    self.phase = Phase::Routing;
                }
                Phase::Attached { .. } if !self.disturbed => return Step::Wait(None),
                Phase::Attached { since } => {
                    // A container that ends at each connection is not hammered.
                    if now.saturating_duration_since(*since) > self.steady {
                        self.rounds = 0;
                    }
                    self.rest(now);
                }
            }
        }
    }

    /// The container lives at this activation, and the path leads there.
    pub fn routed(&mut self, place: Attached) {
        // What is left of another activation ends with it.
        let besides = |there: &Attached| there.path != place.path && there.epoch == place.epoch;
        let (before, earlier) = (self.attached.take(), self.former.take());
        self.former = before.filter(besides).or_else(|| earlier.filter(besides));
        self.phase = match self.former.clone() {
            Some(former) => {
                self.attached = Some(former.clone());
                Phase::Leaving { former, next: place }
            }
            None => self.connect(place),
        };
    }

    /// A goodbye ended; `heard` when it is certain that the connection is not
    /// attached there any more.
    pub fn left(&mut self, heard: bool) {
        let Phase::Leaving { next, .. } = &self.phase else { return };
        let next = next.clone();
        if heard {
            self.former = None;
        }
        self.phase = self.connect(next);
    }

    /// The container accepted the connection.
    pub fn connected(&mut self, now: Instant) -> News {
        self.phase = Phase::Attached { since: now };
        let epoch = self.attached.as_ref().map_or_else(Epoch::default, |place| place.epoch);
        match std::mem::replace(&mut self.opened, true) {
            false => News::Opened,
            true => News::Reconnected(epoch),
        }
    }

    /// An attempt at the activation `tried` failed. Answers whether the round
    /// is over without success.
    pub fn failed(&mut self, now: Instant, tried: Epoch, error: NetworkError) -> bool {
        match self.attempts.after(now, &error) {
            Next::Again { pause, locate } => {
                let locate = locate.then_some((tried, error));
                self.phase = Phase::Pausing { until: now + pause, locate };
                false
            }
            Next::Fail => {
                self.give_up(now, error);
                true
            }
        }
    }

    /// The coordinator was asked where the container lives. Answers as
    /// [`Attachment::failed`].
    pub fn located(&mut self, now: Instant, result: Result<(), NetworkError>) -> bool {
        let Phase::Locating { tried, .. } = self.phase else { return false };
        match result {
            Ok(()) => {
                self.phase = Phase::Routing;
                false
            }
            Err(error) => self.failed(now, tried, error),
        }
    }

    /// The coordinator did not answer in time. The reason for asking says more
    /// than that.
    pub fn unlocated(&mut self, now: Instant) {
        if let Phase::Locating { reason, .. } = &self.phase {
            self.give_up(now, reason.clone());
        }
    }

    /// The other side ended the connection.
    pub fn disturb(&mut self) {
        self.disturbed |= self.attached.is_some();
    }

    /// The other side ended the connection for good, whatever is under way.
    pub fn end(&mut self, error: NetworkError) {
        self.over = Some(error);
    }

    /// Where it is attached now.
    #[must_use]
    pub fn attached(&self) -> Option<&Attached> {
        let is_attached = matches!(self.phase, Phase::Attached { .. }) && !self.disturbed;
        self.attached.as_ref().filter(|_| is_attached)
    }

    /// Everything on the path is lost.
    pub fn lost_path(&mut self, path: &Path) {
        self.disturbed |= self.attached.as_ref().is_some_and(|place| place.path == *path);
    }

    /// The container lives as this activation.
    pub fn moved(&mut self, epoch: Epoch) {
        if mutant(Mutant::StaysAttached) {
            return;
        }
        self.newest = self.newest.max(epoch);
        self.disturbed |= self.attached.as_ref().is_some_and(|place| place.epoch < epoch);
    }

    /// Whether an event belongs to the connection: neither of an older
    /// activation, nor on a path that it left.
    #[must_use]
    pub fn accepts(&self, path: &Path, epoch: Epoch) -> bool {
        let current = |place: &Attached| place.path == *path && place.epoch == epoch;
        epoch >= self.newest && self.attached.as_ref().is_some_and(current)
    }

    /// Where it may be attached: to say goodbye when it is closed.
    pub fn places(&self) -> impl Iterator<Item = &Attached> {
        self.attached.iter().chain(self.former.iter().filter(|former| {
            self.attached.as_ref().is_none_or(|attached| attached.path != former.path)
        }))
    }

    fn connect(&mut self, place: Attached) -> Phase {
        self.attached = Some(place.clone());
        self.disturbed = false;
        Phase::Connecting(place)
    }

    /// A round is over without success.
    fn give_up(&mut self, now: Instant, error: NetworkError) {
        if self.opened && error.retry != Retry::Final {
            self.rest(now);
        } else {
            self.phase = Phase::Ended(error);
        }
    }

    fn rest(&mut self, now: Instant) {
        self.phase = Phase::Resting { until: now + pause(self.rounds) };
        self.rounds = self.rounds.saturating_add(1);
    }
}
