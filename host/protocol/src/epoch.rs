//! The fencing number of an activation.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Tells activations of the same container apart, strictly increasing.
///
/// The coordinator gives every activation a new epoch. It travels with every
/// request, reply, event and write; whoever has seen a higher one refuses a
/// lower one. That makes "at most one live activation" true even when a
/// message or a whole process is late.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch {
    /// The coordinator's term: higher for each coordinator that ever led.
    pub term: u64,
    /// Counts activations within the term, from 1.
    pub counter: u64,
}

impl Epoch {
    /// The epoch after this one, within the same term.
    #[must_use]
    pub fn next(self) -> Self {
        Self { term: self.term, counter: self.counter.saturating_add(1) }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_term_beats_any_counter() {
        assert!(Epoch { term: 2, counter: 0 } > Epoch { term: 1, counter: u64::MAX });
        assert!(Epoch { term: 1, counter: 1 }.next() > Epoch { term: 1, counter: 1 });
    }
}
