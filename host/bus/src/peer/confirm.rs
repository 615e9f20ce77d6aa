//! Which events the server has received.
//!
//! A server answers a ping after it took everything that was sent before it,
//! so a pong confirms the events before its ping.

use std::collections::VecDeque;

/// A ping is due when this cost waits for one.
const PORTION: usize = 4 << 20;

/// Counts cost until it is confirmed.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    /// Since the last ping.
    open: usize,
    /// Before each ping that waits for its pong.
    pinged: VecDeque<usize>,
}

impl Unconfirmed {
    /// An event was sent; whether a ping is due before its time.
    pub(super) fn sent(&mut self, cost: usize) -> bool {
        self.open += cost;
        self.open >= PORTION
    }

    pub(super) fn ping(&mut self) {
        self.pinged.push_back(std::mem::take(&mut self.open));
    }

    /// The cost that a pong confirms.
    pub(super) fn pong(&mut self) -> usize {
        self.pinged.pop_front().unwrap_or_default()
    }

    /// What nothing will confirm any more.
    pub(super) fn rest(&self) -> usize {
        self.open + self.pinged.iter().sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_confirms_what_was_sent_before_its_ping() {
        let mut unconfirmed = Unconfirmed::default();
        assert!(!unconfirmed.sent(1));
        unconfirmed.ping();
        assert!(!unconfirmed.sent(2));
        unconfirmed.ping();
        assert!(unconfirmed.sent(PORTION));
        assert_eq!((unconfirmed.pong(), unconfirmed.pong(), unconfirmed.pong()), (1, 2, 0));
        assert_eq!(unconfirmed.rest(), PORTION);
    }
}
