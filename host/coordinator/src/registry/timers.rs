//! Everything that happens by itself, in one table.

use std::collections::{BTreeMap, HashMap};

use hulynet_protocol::{ClientId, Uuid};

use super::time::Time;

/// What a timer is for. There is at most one of each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Timer {
    /// The recovery window ends.
    Recovery,
    /// Activations that are nobody's are asked to end again.
    Strays,
    /// A client's lease may be over.
    Lease(ClientId),
    /// The next step of a container: its state says which.
    Container(Uuid),
}

/// When a timer fires; those of one moment in the order in which they were
/// armed.
type Turn = (Time, u64);

/// Timers by time and by purpose. Only the queue is ever walked, so that the
/// order of the other, which is random, never shows.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<Turn, Timer>,
    due: HashMap<Timer, Turn>,
    armed: u64,
}

impl Timers {
    /// Arms a timer, or moves it.
    pub(crate) fn set(&mut self, timer: Timer, at: Time) {
        self.armed += 1;
        let turn = (at, self.armed);
        if let Some(before) = self.due.insert(timer.clone(), turn) {
            self.queue.remove(&before);
        }
        self.queue.insert(turn, timer);
    }

    pub(crate) fn cancel(&mut self, timer: &Timer) {
        if let Some(turn) = self.due.remove(timer) {
            self.queue.remove(&turn);
        }
    }

    pub(crate) fn is_set(&self, timer: &Timer) -> bool {
        self.due.contains_key(timer)
    }

    /// When a timer fires.
    pub(crate) fn at(&self, timer: &Timer) -> Option<Time> {
        self.due.get(timer).map(|(at, _)| *at)
    }

    /// When the earliest fires.
    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.queue.pop_first()?;
        self.due.remove(&timer);
        Some(timer)
    }

    pub(crate) fn armed(&self) -> impl Iterator<Item = &Timer> {
        self.queue.values()
    }

    /// Whether both views hold the same timers.
    pub(crate) fn is_consistent(&self) -> bool {
        self.queue.len() == self.due.len()
            && self.queue.iter().all(|(turn, timer)| self.due.get(timer) == Some(turn))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn timers_fire_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Recovery, at(3));
        timers.set(Timer::Container(Uuid::new("a").unwrap()), at(1));
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.pop(at(0)), None);
        assert_eq!(timers.pop(at(5)), Some(Timer::Container(Uuid::new("a").unwrap())));
        assert_eq!(timers.pop(at(5)), Some(Timer::Recovery));
        assert_eq!(timers.pop(at(5)), None);
    }

    #[test]
    fn a_timer_that_is_set_again_moves() {
        let mut timers = Timers::default();
        timers.set(Timer::Recovery, at(1));
        timers.set(Timer::Recovery, at(9));
        assert_eq!(timers.pop(at(5)), None);
        timers.cancel(&Timer::Recovery);
        assert!(!timers.is_set(&Timer::Recovery));
        assert_eq!(timers.next(), None);
        assert!(timers.is_consistent());
    }
}
