//! How many events a connection may be sent: as many as its program has not
//! taken yet have room. Pure.

use hulynet_protocol::Amount;

/// The most unread events of one connection.
pub const CONNECTION_EVENTS: usize = 4096;

/// The most unread bytes of one connection, and one event more.
pub const CONNECTION_BYTES: usize = 4 << 20;

/// What there is room for.
const SIZE: Amount = Amount { events: CONNECTION_EVENTS as u64, bytes: CONNECTION_BYTES as u64 };

/// A grant is due when the program has taken this part of the room since the
/// last one.
const PART: u64 = 2;

/// Counts over the life of a connection.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// What came.
    heard: Amount,
    /// What the program took.
    taken: Amount,
    /// What the other side knows that it may send.
    granted: Amount,
    /// A grant is on its way.
    is_asked: bool,
}

impl Window {
    /// An event came.
    pub(crate) fn hear(&mut self, length: usize) {
        self.heard = self.heard.and(length);
    }

    /// The program took an event, or it was dropped.
    pub(crate) fn take(&mut self, length: usize) {
        self.taken = self.taken.and(length);
    }

    /// For a new attempt: what came, and what may come. What was on its way
    /// before is lost.
    pub(crate) fn begin(&mut self) -> (Amount, Amount) {
        self.granted = self.taken + SIZE;
        self.is_asked = false;
        (self.heard, self.granted)
    }

    /// What to grant now, if it is worth a message and none is on its way.
    pub(crate) fn due(&self) -> Option<Amount> {
        let credit = self.taken + SIZE;
        let is_due = credit.events - self.granted.events >= SIZE.events / PART
            || credit.bytes - self.granted.bytes >= SIZE.bytes / PART;
        (is_due && !self.is_asked).then_some(credit)
    }

    /// What is due is on its way.
    pub(crate) fn ask(&mut self) {
        self.is_asked = true;
    }

    /// The other side knows of a grant, or of none.
    pub(crate) fn asked(&mut self, granted: Option<Amount>) {
        self.is_asked = false;
        self.granted = self.granted.max(granted.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        let mut window = Window::default();
        assert_eq!(window.begin(), (Amount::default(), SIZE));
        window
    }

    #[test]
    fn a_grant_is_due_when_half_of_the_room_was_taken() {
        let mut window = window();
        for _ in 0..CONNECTION_EVENTS {
            window.hear(10);
        }
        for _ in 1..CONNECTION_EVENTS / 2 {
            window.take(10);
        }
        assert_eq!(window.due(), None);
        window.take(10);
        let credit = window.due().unwrap();
        assert_eq!(credit.events, (CONNECTION_EVENTS + CONNECTION_EVENTS / 2) as u64);
        window.ask();
        assert_eq!(window.due(), None, "it is on its way");
        window.asked(None);
        assert_eq!(window.due(), Some(credit), "it did not arrive");
        window.asked(Some(credit));
        assert_eq!(window.due(), None);
    }

    #[test]
    fn large_events_make_a_grant_due_by_their_bytes() {
        let mut window = window();
        window.hear(CONNECTION_BYTES / 2);
        assert_eq!(window.due(), None);
        window.take(CONNECTION_BYTES / 2);
        let bytes = (CONNECTION_BYTES + CONNECTION_BYTES / 2) as u64;
        assert_eq!(window.due(), Some(Amount { events: SIZE.events + 1, bytes }));
    }

    #[test]
    fn what_is_unread_and_what_may_come_never_exceed_the_room() {
        let mut window = window();
        for _ in 0..1_000 {
            window.hear(1);
        }
        for _ in 0..300 {
            window.take(1);
        }
        let (heard, credit) = window.begin();
        assert_eq!(heard.events, 1_000);
        let (unread, more) = (1_000 - 300, credit.events - heard.events);
        assert_eq!(unread + more, SIZE.events);
    }
}
