//! What had no effect, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Messages and connections that had no effect, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Messages that could not be read.
    pub malformed: u64,
    /// Messages that were well-formed and out of place: frames that only a
    /// server sends, and introductions that were refused.
    pub misplaced: u64,
    /// Connections that were closed for what they sent, or did not send in
    /// time, because there were too many, or for where they came from.
    pub connections: u64,
}

/// Counts [`Dropped`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    malformed: AtomicU64,
    misplaced: AtomicU64,
    connections: AtomicU64,
}

impl Counters {
    pub(crate) fn malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn misplaced(&self) {
        self.misplaced.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Dropped {
        Dropped {
            malformed: self.malformed.load(Ordering::Relaxed),
            misplaced: self.misplaced.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }
}
