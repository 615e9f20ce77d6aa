//! The numbers of the requests that go one way in one session.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Gives requests their numbers, and knows up to which all have ended.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    last: Mutex<u64>,
    acknowledged: AtomicU64,
}

impl Calls {
    /// Sends a request, given its number and the acknowledgement that goes
    /// along. Numbers must increase on the wire, so they are given and sent in
    /// one step.
    pub(crate) fn send<T>(&self, send: impl FnOnce(u64, u64) -> T) -> T {
        // Nothing panics while it is held.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        send(*last, self.acknowledged())
    }

    /// All requests up to this one have ended.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(crate) fn acknowledge(&self, number: u64) {
        self.acknowledged.store(number, Ordering::Relaxed);
    }
}
