//! What one peer has in our queues.
//!
//! Cost is counted in bytes on the wire plus [`MESSAGE`] for each message, so
//! that many small messages are not free. On a server the cost rises when a
//! message is made and falls when the door has handed it to the kernel; on a
//! peer it counts the requests that wait for their answers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// What a message costs beside its bytes: the memory that queues spend on it.
pub(crate) const MESSAGE: usize = 256;
/// Events are refused above this cost.
const EVENTS: usize = 16 << 20;
/// Chunks of streams wait above this cost.
const CHUNKS: usize = 32 << 20;
/// Requests are refused above this cost.
const CALLS: usize = 64 << 20;
/// A peer with more than this unsent is disconnected: answers cannot be
/// refused, so this is what bounds them.
pub(crate) const DISCONNECT: usize = 256 << 20;
/// The most requests that wait for one peer's answers.
const CALLS_WAITING: usize = 16_384;

/// Counts one peer's share; see the module.
#[derive(Debug, Default)]
pub(crate) struct Account {
    cost: AtomicUsize,
    calls: AtomicUsize,
    missed: AtomicBool,
    room: Notify,
}

impl Account {
    pub(crate) fn add(&self, cost: usize) {
        self.cost.fetch_add(cost, Ordering::AcqRel);
    }

    pub(crate) fn sub(&self, cost: usize) {
        let update = |now: usize| Some(now.saturating_sub(cost));
        // The closure never gives `None`, so both arms carry the former value.
        let (Ok(before) | Err(before)) =
            self.cost.fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
        if before >= CHUNKS && before.saturating_sub(cost) < CHUNKS {
            self.room.notify_waiters();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cost.load(Ordering::Acquire) == 0
    }

    pub(crate) fn takes_events(&self) -> bool {
        self.cost.load(Ordering::Acquire) < EVENTS
    }

    /// The peer was not told something.
    pub(crate) fn misses(&self) {
        self.missed.store(true, Ordering::Release);
    }

    /// Whether the peer missed something since this was last asked.
    pub(crate) fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn is_overdrawn(&self) -> bool {
        self.cost.load(Ordering::Acquire) > DISCONNECT
    }

    /// Takes a place for one more request; [`Self::end_call`] gives it back.
    pub(crate) fn begin_call(&self) -> bool {
        if self.cost.load(Ordering::Acquire) >= CALLS {
            return false;
        }
        if self.calls.fetch_add(1, Ordering::AcqRel) >= CALLS_WAITING {
            self.end_call();
            return false;
        }
        true
    }

    pub(crate) fn end_call(&self) {
        self.calls.fetch_sub(1, Ordering::AcqRel);
    }

    /// Waits until a chunk may be queued.
    pub(crate) async fn room(&self) {
        loop {
            let room = self.room.notified();
            if self.cost.load(Ordering::Acquire) < CHUNKS {
                return;
            }
            room.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn chunks_wait_until_the_peer_has_drained() {
        let account = Account::default();
        account.add(CHUNKS);
        let mut room = Box::pin(account.room());
        assert!(room.as_mut().now_or_never().is_none());
        account.sub(1);
        assert!(room.as_mut().now_or_never().is_some());
    }

    #[test]
    fn requests_are_refused_over_their_number_and_cost() {
        let account = Account::default();
        assert!((0..CALLS_WAITING).all(|_| account.begin_call()));
        assert!(!account.begin_call());
        account.end_call();
        assert!(account.begin_call());
        account.end_call();
        account.add(CALLS);
        assert!(!account.begin_call());
    }
}
