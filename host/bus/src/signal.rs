//! What a request in progress hears from its caller.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hulynet_protocol::frame::INITIAL_CREDIT;
use tokio::sync::{Notify, Semaphore};

/// The most chunks that a caller may allow ahead, whatever it announces.
const MOST_CREDIT: usize = 1024;

/// Credit for chunks, and the end of interest. Most answers need neither, so
/// nothing is locked unless somebody waits.
#[derive(Debug)]
pub(crate) struct Signal {
    credit: Semaphore,
    is_gone: AtomicBool,
    gone: Notify,
}

impl Signal {
    pub(crate) fn new() -> Self {
        Self {
            credit: Semaphore::new(INITIAL_CREDIT as usize),
            is_gone: AtomicBool::new(false),
            gone: Notify::new(),
        }
    }

    pub(crate) fn grant(&self, chunks: u32) {
        let room = MOST_CREDIT.saturating_sub(self.credit.available_permits());
        self.credit.add_permits(room.min(chunks as usize));
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Ends when the caller is gone.
    pub(crate) async fn gone(&self) {
        // It hears of an end that comes after it was made.
        let gone = self.gone.notified();
        if !self.is_gone() {
            gone.await;
        }
    }

    /// Takes the right to send one chunk; `false` when the caller is gone.
    pub(crate) async fn spend(&self) -> bool {
        tokio::select! {
            biased;
            () = self.gone() => false,
            permit = self.credit.acquire() => {
                permit.is_ok_and(|permit| {
                    permit.forget();
                    true
                })
            }
        }
    }
}

/// The exchange's end of a signal: dropping it tells that the caller is gone.
#[derive(Debug)]
pub(crate) struct Interest(pub(crate) Arc<Signal>);

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::Release);
        self.0.gone.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn credit_is_bounded_and_ends_with_the_caller() {
        let interest = Interest(Arc::new(Signal::new()));
        let signal = Arc::clone(&interest.0);
        for _ in 0..10 {
            signal.grant(u32::MAX);
        }
        for _ in 0..MOST_CREDIT {
            assert_eq!(signal.spend().now_or_never(), Some(true));
        }
        let mut spending = Box::pin(signal.spend());
        assert_eq!(spending.as_mut().now_or_never(), None);
        let mut gone = Box::pin(signal.gone());
        assert_eq!(gone.as_mut().now_or_never(), None);
        drop(interest);
        assert_eq!(spending.now_or_never(), Some(false));
        assert_eq!(gone.now_or_never(), Some(()));
        assert_eq!(signal.spend().now_or_never(), Some(false));
        assert!(signal.is_gone());
    }
}
