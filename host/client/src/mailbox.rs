//! The events of one connection that the program has not read yet. Pure.
//!
//! Normally they are within what was granted. The bound here is for another
//! side that does not keep to it.

use std::collections::VecDeque;

use bytes::Bytes;
use hulynet_protocol::Epoch;

use crate::window::{CONNECTION_BYTES, CONNECTION_EVENTS, Window};

/// Twice what is granted: what came over another path before may be unread.
const EVENTS: usize = 2 * CONNECTION_EVENTS;
const BYTES: usize = 2 * CONNECTION_BYTES;

/// What a connection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The container sent this.
    Message(Bytes),
    /// The connection was lost and made again, perhaps to another activation:
    /// what the container sent meanwhile did not arrive.
    Reconnected {
        /// The activation that the connection leads to now.
        epoch: Epoch,
    },
    /// The program read too slowly: this many messages were dropped between
    /// those before and after this.
    Missed(u64),
}

/// A queue of events, and the window that is granted for it. A full one drops
/// its oldest events and says how many messages went.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    events: VecDeque<ConnectionEvent>,
    bytes: usize,
    missed: u64,
    pub(crate) window: Window,
}

impl Mailbox {
    /// The container sent this, on the terms of the window.
    pub(crate) fn hear(&mut self, payload: Bytes) {
        self.window.hear(payload.len());
        self.push(ConnectionEvent::Message(payload));
    }

    pub(crate) fn push(&mut self, event: ConnectionEvent) {
        self.bytes += size(&event);
        self.events.push_back(event);
        while self.events.len() > EVENTS || (self.bytes > BYTES && self.events.len() > 1) {
            match self.take() {
                Some(ConnectionEvent::Message(_)) => self.missed += 1,
                Some(ConnectionEvent::Missed(missed)) => self.missed += missed,
                // The program learns from the missed messages beside it what
                // the dropped notice would have told.
                Some(ConnectionEvent::Reconnected { .. }) => {}
                None => break,
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<ConnectionEvent> {
        match std::mem::take(&mut self.missed) {
            0 => self.take(),
            missed => Some(ConnectionEvent::Missed(missed)),
        }
    }

    fn take(&mut self) -> Option<ConnectionEvent> {
        let event = self.events.pop_front()?;
        if let ConnectionEvent::Message(payload) = &event {
            self.window.take(payload.len());
        }
        self.bytes -= size(&event);
        Some(event)
    }
}

fn size(event: &ConnectionEvent) -> usize {
    match event {
        ConnectionEvent::Message(payload) => payload.len(),
        ConnectionEvent::Reconnected { .. } | ConnectionEvent::Missed(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_drops_the_oldest_and_says_how_many() {
        let mut mailbox = Mailbox::default();
        mailbox.push(ConnectionEvent::Missed(4));
        for n in 0..EVENTS + 3 {
            mailbox.hear(Bytes::from(n.to_string()));
        }
        assert_eq!(mailbox.pop(), Some(ConnectionEvent::Missed(7)));
        assert_eq!(mailbox.pop(), Some(ConnectionEvent::Message(Bytes::from("3"))));
        let rest = std::iter::from_fn(|| mailbox.pop()).count();
        assert_eq!(rest, EVENTS - 1);
    }

    #[test]
    fn large_events_are_bounded_by_bytes_but_one_always_fits() {
        let mut mailbox = Mailbox::default();
        let large = Bytes::from(vec![0; BYTES]);
        mailbox.hear(large.clone());
        mailbox.hear(large.clone());
        assert_eq!(mailbox.pop(), Some(ConnectionEvent::Missed(1)));
        assert_eq!(mailbox.pop(), Some(ConnectionEvent::Message(large)));
        assert_eq!(mailbox.pop(), None);
    }

    #[test]
    fn a_reconnect_stands_between_what_was_before_and_after_it() {
        let mut mailbox = Mailbox::default();
        let reconnected = ConnectionEvent::Reconnected { epoch: Epoch { term: 1, counter: 2 } };
        mailbox.hear(Bytes::from_static(b"before"));
        mailbox.push(reconnected.clone());
        mailbox.hear(Bytes::from_static(b"after"));
        assert!(matches!(mailbox.pop(), Some(ConnectionEvent::Message(_))));
        assert_eq!(mailbox.pop(), Some(reconnected));
        assert!(matches!(mailbox.pop(), Some(ConnectionEvent::Message(_))));
        assert_eq!(mailbox.pop(), None);
    }

    #[test]
    fn what_is_dropped_makes_room_as_what_is_read_does() {
        let mut mailbox = Mailbox::default();
        mailbox.window.begin();
        for _ in 0..EVENTS + CONNECTION_EVENTS / 2 {
            mailbox.hear(Bytes::new());
        }
        assert!(mailbox.window.due().is_some());
    }
}
