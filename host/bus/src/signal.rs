//! What a request in progress hears from its caller.

use std::sync::Arc;

use hulynet_protocol::frame::INITIAL_CREDIT;
use tokio::sync::Semaphore;

/// The most chunks that a caller may allow ahead, whatever it announces.
const MOST_CREDIT: usize = 1024;

/// Credit for chunks, and the end of interest. Semaphores because both can be
/// awaited, counted and closed without a lock of our own.
#[derive(Debug)]
pub(crate) struct Signal {
    credit: Semaphore,
    /// Never has a permit; closed at the end.
    gone: Semaphore,
}

impl Signal {
    pub(crate) fn new() -> Self {
        Self { credit: Semaphore::new(INITIAL_CREDIT as usize), gone: Semaphore::new(0) }
    }

    pub(crate) fn grant(&self, chunks: u32) {
        let room = MOST_CREDIT.saturating_sub(self.credit.available_permits());
        self.credit.add_permits(room.min(chunks as usize));
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_closed()
    }

    /// Ends when the caller is gone.
    pub(crate) async fn gone(&self) {
        // There are no permits, so this only ends by closing.
        let _closed = self.gone.acquire().await;
    }

    /// Takes the right to send one chunk; `false` when the caller is gone.
    pub(crate) async fn spend(&self) -> bool {
        match self.credit.acquire().await {
            Ok(permit) => {
                permit.forget();
                true
            }
            Err(_closed) => false,
        }
    }
}

/// The exchange's end of a signal: dropping it tells that the caller is gone.
#[derive(Debug)]
pub(crate) struct Interest(pub(crate) Arc<Signal>);

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.gone.close();
        self.0.credit.close();
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
        assert_eq!(signal.spend().now_or_never(), None);
        drop(interest);
        assert_eq!(signal.spend().now_or_never(), Some(false));
        assert!(signal.is_gone());
    }
}
