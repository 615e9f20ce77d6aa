//! The part that one session has of what all sessions of a server may keep.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes of one session, counted among those of all. What it holds is given
/// back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Share {
    own: usize,
    all: Arc<AtomicUsize>,
}

impl Share {
    /// A part of `all`.
    pub(crate) fn of(all: &Arc<AtomicUsize>) -> Self {
        Self { own: 0, all: Arc::clone(all) }
    }

    /// What this session has.
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    /// What all sessions have.
    pub(crate) fn all(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.set(self.own + bytes);
    }

    pub(crate) fn sub(&mut self, bytes: usize) {
        self.set(self.own - bytes);
    }

    /// This session has so much from now on.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes >= self.own {
            self.all.fetch_add(bytes - self.own, Ordering::Relaxed);
        } else {
            self.all.fetch_sub(self.own - bytes, Ordering::Relaxed);
        }
        self.own = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}
