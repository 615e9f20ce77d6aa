//! Gathers transactions into batches: many make a round trip worth while, few
//! keep a batch far below the largest payload.

use super::step::Step;

/// The most transactions of a batch.
const COUNT: usize = 200;

/// The size after which a batch is full, in bytes; one more transaction may
/// stand above it.
const BYTES: usize = 4 << 20;

/// A batch that grows.
#[derive(Debug, Default)]
pub(super) struct Batch {
    steps: Vec<Step>,
    bytes: usize,
}

impl Batch {
    /// Adds a transaction; `true` when it is time to send.
    pub(super) fn push(&mut self, step: Step) -> bool {
        self.bytes += step.text.len();
        self.steps.push(step);
        self.steps.len() >= COUNT || self.bytes >= BYTES
    }

    /// What was gathered, in order.
    pub(super) fn take(&mut self) -> Vec<Step> {
        self.bytes = 0;
        std::mem::take(&mut self.steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::step::{Does, Place};

    fn step(bytes: usize) -> Step {
        Step {
            place: Place::Project,
            class: String::new(),
            does: Does::Create,
            text: "x".repeat(bytes),
        }
    }

    #[test]
    fn a_batch_is_full_by_number_or_by_size() {
        let mut batch = Batch::default();
        for _ in 1..COUNT {
            assert!(!batch.push(step(1)));
        }
        assert!(batch.push(step(1)));
        assert_eq!(batch.take().len(), COUNT);
        assert!(!batch.push(step(BYTES - 1)));
        assert!(batch.push(step(1)));
        assert_eq!(batch.take().len(), 2);
        assert!(batch.take().is_empty());
    }
}
