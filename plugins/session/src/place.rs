//! How far the events of a workspace were passed on.

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Pass it on.
    Next,
    /// It was passed on before.
    Old,
    /// Events before it are missing: read the log.
    Gap,
}

/// The last sequence number that was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u64);

impl Place {
    /// Everything up to the head of the log counts as passed on.
    pub(crate) fn at(head: u64) -> Self {
        Self(head)
    }

    /// The last sequence number that was passed on.
    pub(crate) fn last(self) -> u64 {
        self.0
    }

    /// Judges an event; after [`Verdict::Next`] it counts as passed on.
    pub(crate) fn see(&mut self, sequence: u64) -> Verdict {
        match sequence.checked_sub(self.0) {
            None | Some(0) => Verdict::Old,
            Some(1) => {
                self.0 = sequence;
                Verdict::Next
            }
            Some(_) => Verdict::Gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_passed_on_once_and_in_order() {
        let mut place = Place::at(4);
        assert_eq!(place.see(4), Verdict::Old);
        assert_eq!(place.see(5), Verdict::Next);
        assert_eq!(place.see(5), Verdict::Old);
        assert_eq!(place.see(8), Verdict::Gap);
        assert_eq!(place.last(), 5);
        assert_eq!(place.see(6), Verdict::Next);
    }
}
