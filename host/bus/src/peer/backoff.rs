//! The pause before connecting again.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// Doubles from 50 ms to 2 s, each with up to half of it taken off by chance,
/// so that peers that lost the same server do not come back all at once.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    chance: RandomState,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST, chance: RandomState::new() }
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    pub(super) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        // Randomly keyed, so different in each process and for each peer.
        let per_mille = u32::try_from(self.chance.hash_one(whole) % 500).unwrap_or_default();
        whole - whole * per_mille / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..10).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses[9] <= LONGEST && pauses[9] >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
