//! The events of one connection that the program has not read yet. Pure.

use std::collections::VecDeque;

use bytes::Bytes;
use hulynet_protocol::{Epoch, limits};

/// The most unread events of one connection.
pub const CONNECTION_EVENTS: usize = 1024;

/// The most unread bytes of one connection; a single event always fits.
pub const CONNECTION_BYTES: usize = limits::PAYLOAD_BYTES;

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
    /// The program read too slowly: this many of the oldest messages were
    /// dropped.
    Missed(u64),
}

/// A queue of at most [`CONNECTION_EVENTS`] events and [`CONNECTION_BYTES`]
/// bytes. A full one drops its oldest events and says how many messages went.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    events: VecDeque<ConnectionEvent>,
    bytes: usize,
    missed: u64,
}

impl Mailbox {
    pub(crate) fn push(&mut self, event: ConnectionEvent) {
        self.bytes += size(&event);
        self.events.push_back(event);
        while self.events.len() > CONNECTION_EVENTS
            || (self.bytes > CONNECTION_BYTES && self.events.len() > 1)
        {
            match self.take() {
                Some(ConnectionEvent::Message(_)) => self.missed += 1,
                // The program learns from the missed messages beside it what
                // the dropped notice would have told.
                Some(ConnectionEvent::Reconnected { .. } | ConnectionEvent::Missed(_)) => {}
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
        for n in 0..CONNECTION_EVENTS + 3 {
            mailbox.push(ConnectionEvent::Message(Bytes::from(n.to_string())));
        }
        assert_eq!(mailbox.pop(), Some(ConnectionEvent::Missed(3)));
        assert_eq!(mailbox.pop(), Some(ConnectionEvent::Message(Bytes::from("3"))));
        let rest = std::iter::from_fn(|| mailbox.pop()).count();
        assert_eq!(rest, CONNECTION_EVENTS - 1);
    }

    #[test]
    fn large_events_are_bounded_by_bytes_but_one_always_fits() {
        let mut mailbox = Mailbox::default();
        let large = Bytes::from(vec![0; CONNECTION_BYTES]);
        mailbox.push(ConnectionEvent::Message(large.clone()));
        mailbox.push(ConnectionEvent::Message(large.clone()));
        assert_eq!(mailbox.pop(), Some(ConnectionEvent::Missed(1)));
        assert_eq!(mailbox.pop(), Some(ConnectionEvent::Message(large)));
        assert_eq!(mailbox.pop(), None);
    }

    #[test]
    fn a_reconnect_stands_between_what_was_before_and_after_it() {
        let mut mailbox = Mailbox::default();
        let reconnected = ConnectionEvent::Reconnected { epoch: Epoch { term: 1, counter: 2 } };
        mailbox.push(ConnectionEvent::Message(Bytes::from_static(b"before")));
        mailbox.push(reconnected.clone());
        mailbox.push(ConnectionEvent::Message(Bytes::from_static(b"after")));
        assert!(matches!(mailbox.pop(), Some(ConnectionEvent::Message(_))));
        assert_eq!(mailbox.pop(), Some(reconnected));
        assert!(matches!(mailbox.pop(), Some(ConnectionEvent::Message(_))));
        assert_eq!(mailbox.pop(), None);
    }
}
