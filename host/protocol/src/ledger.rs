//! The events of one connection that wait where they are sent. Pure.
//!
//! They leave within the credit that the client grants as its program takes
//! them. At most [`QUEUE_EVENTS`] and [`QUEUE_BYTES`] wait; when more would,
//! the policy that the client chose decides.

use std::collections::VecDeque;

use crate::{Amount, ConnectionId, ErrorKind, Flow, NetworkError, Policy, limits};
use bytes::Bytes;

/// Events that may wait for one client.
pub const QUEUE_EVENTS: usize = 4096;
/// Bytes that may wait for one client: the largest event always fits.
pub const QUEUE_BYTES: usize = limits::PAYLOAD_BYTES;

/// A queue with more room than this gives it back when it is empty.
const KEPT: usize = 64;

/// There is no room for an event, and none may be dropped for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Full {
    /// Why a connection ended whose client needs every event, when so many
    /// waited for it.
    #[must_use]
    pub fn ended(self, connection: &ConnectionId, waiting: usize) -> NetworkError {
        NetworkError::refused(
            ErrorKind::Busy,
            format!(
                "the connection {connection} ended: its events were not read, and when {waiting} \
                 waited for it there was no room for another; read them faster, or connect with \
                 the policy {}",
                Policy::DropOldest
            ),
        )
    }
}

/// See the module. Each event has a guard beside it, which goes when the event
/// does.
#[derive(Debug)]
pub struct Ledger<G> {
    policy: Policy,
    /// What left, and what may leave, in all.
    sent: Amount,
    credit: Amount,
    waiting: VecDeque<(Bytes, G)>,
    bytes: usize,
    /// Dropped since something left last, before all that waits.
    missed: u64,
}

impl<G> Ledger<G> {
    /// Nothing waits yet; `flow` is what the client wants.
    #[must_use]
    pub fn new(flow: Flow) -> Self {
        let Flow { policy, heard, credit } = flow;
        Self { policy, sent: heard, credit, waiting: VecDeque::new(), bytes: 0, missed: 0 }
    }

    /// Adds an event after all others.
    ///
    /// # Errors
    /// [`Full`]; nothing changed.
    pub fn push(&mut self, event: &Bytes, guard: G) -> Result<(), Full> {
        while self.waiting.len() >= QUEUE_EVENTS || self.bytes + event.len() > QUEUE_BYTES {
            self.make_room()?;
        }
        self.bytes += event.len();
        self.waiting.push_back((event.clone(), guard));
        Ok(())
    }

    /// Drops the oldest event.
    ///
    /// # Errors
    /// [`Full`], when none may be dropped or there is none.
    pub fn make_room(&mut self) -> Result<(), Full> {
        if self.policy == Policy::Disconnect || self.drop_oldest().is_none() {
            return Err(Full);
        }
        self.missed += 1;
        Ok(())
    }

    /// The client takes so much in all; it never takes this back.
    pub fn grant(&mut self, credit: Amount) {
        self.credit = self.credit.max(credit);
    }

    /// How many of the oldest events may leave together now, up to `most`.
    #[must_use]
    pub fn ready(&self, most: usize) -> usize {
        let (mut sent, mut bytes) = (self.sent, 0);
        let fits = |(event, _): &&(Bytes, G)| {
            let fits = sent.is_within(self.credit)
                && (bytes == 0 || bytes + event.len() <= limits::BATCH_BYTES);
            sent = sent.and(event.len());
            bytes += event.len();
            fits
        };
        self.waiting.iter().take(most.min(limits::BATCH_EVENTS)).take_while(fits).count()
    }

    /// The oldest events.
    pub fn oldest(&self, count: usize) -> impl Iterator<Item = &Bytes> {
        self.waiting.iter().take(count).map(|(event, _)| event)
    }

    /// How many events were dropped before the oldest.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many bytes wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The oldest events left.
    pub fn left(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(length) = self.drop_oldest() {
                self.sent = self.sent.and(length);
            }
        }
        self.missed = 0;
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The length of the event that was the oldest.
    fn drop_oldest(&mut self) -> Option<usize> {
        let length = self.waiting.pop_front()?.0.len();
        self.bytes -= length;
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = VecDeque::new();
        }
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn event(number: u64, length: usize) -> Bytes {
        let mut event = number.to_be_bytes().to_vec();
        event.resize(8 + length, 0);
        event.into()
    }

    fn number(event: &Bytes) -> u64 {
        u64::from_be_bytes(event[..8].try_into().unwrap())
    }

    fn ledger(policy: Policy, events: u64, bytes: u64) -> Ledger<()> {
        let heard = Amount::default();
        Ledger::new(Flow { policy, heard, credit: Amount { events, bytes } })
    }

    /// Takes what may leave.
    fn leave(ledger: &mut Ledger<()>) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            match ledger.ready(usize::MAX) {
                0 => return all,
                count => {
                    all.extend(ledger.oldest(count).map(number));
                    ledger.left(count);
                }
            }
        }
    }

    #[test]
    fn no_more_leaves_than_was_granted() {
        let mut ledger = ledger(Policy::Disconnect, 2, 1_000);
        for n in 0..5 {
            ledger.push(&event(n, 0), ()).unwrap();
        }
        assert_eq!(leave(&mut ledger), [0, 1]);
        ledger.grant(Amount { events: 4, bytes: 1_000 });
        // Late, and nothing is taken back.
        ledger.grant(Amount { events: 3, bytes: 1_000 });
        assert_eq!(leave(&mut ledger), [2, 3]);
        assert_eq!(ledger.len(), 1);
    }

    #[test]
    fn a_new_attempt_goes_on_counting_where_the_client_is() {
        let heard = Amount { events: 10, bytes: 800 };
        let credit = Amount { events: 11, bytes: 2_000 };
        let mut ledger = Ledger::new(Flow { policy: Policy::Disconnect, heard, credit });
        ledger.push(&event(0, 0), ()).unwrap();
        ledger.push(&event(1, 0), ()).unwrap();
        assert_eq!(leave(&mut ledger), [0]);
    }

    #[test]
    fn an_event_longer_than_the_credit_leaves_alone() {
        let mut ledger = ledger(Policy::Disconnect, 10, 10);
        ledger.push(&event(0, limits::PAYLOAD_BYTES / 2), ()).unwrap();
        ledger.push(&event(1, 0), ()).unwrap();
        assert_eq!(ledger.ready(usize::MAX), 1);
        assert_eq!(leave(&mut ledger), [0]);
    }

    #[test]
    fn events_share_a_message_up_to_a_length_and_a_number() {
        let mut ledger = ledger(Policy::Disconnect, u64::MAX, u64::MAX);
        for n in 0..3 {
            ledger.push(&event(n, limits::BATCH_BYTES / 2 - 8), ()).unwrap();
        }
        assert_eq!((ledger.ready(usize::MAX), ledger.ready(1)), (2, 1));
        ledger.left(3);
        for n in 0..limits::BATCH_EVENTS as u64 + 1 {
            ledger.push(&event(n, 0), ()).unwrap();
        }
        assert_eq!(ledger.ready(usize::MAX), limits::BATCH_EVENTS);
    }

    #[test]
    fn a_full_queue_refuses_or_drops_the_oldest_and_counts_them() {
        let mut patient = ledger(Policy::Disconnect, 0, 0);
        let mut newest = ledger(Policy::DropOldest, 0, 0);
        for n in 0..QUEUE_EVENTS as u64 {
            patient.push(&event(n, 0), ()).unwrap();
            newest.push(&event(n, 0), ()).unwrap();
        }
        assert_eq!(patient.push(&event(0, 0), ()), Err(Full));
        assert_eq!((patient.len(), patient.missed()), (QUEUE_EVENTS, 0));
        newest.push(&event(QUEUE_EVENTS as u64, 0), ()).unwrap();
        assert_eq!((newest.len(), newest.missed()), (QUEUE_EVENTS, 1));
        newest.grant(Amount::ENDLESS);
        assert_eq!(leave(&mut newest), (1..=QUEUE_EVENTS as u64).collect::<Vec<_>>());
        assert_eq!(newest.missed(), 0, "told with what left");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Grant(u64, u64),
        Leave,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => prop_oneof![0_usize..200, Just(QUEUE_BYTES / 3)].prop_map(Step::Push),
            1 => (0_u64..20, 0..2 * QUEUE_BYTES as u64)
                .prop_map(|(events, bytes)| Step::Grant(events, bytes)),
            2 => Just(Step::Leave),
        ]
    }

    proptest! {
        /// Whatever comes in which order: what left and what was counted as
        /// missed are all events up to the last that left, in order; what left
        /// is within the credit but for the last event; what waits is bounded.
        #[test]
        fn every_event_leaves_in_order_or_is_counted(
            steps in vec(step(), 0..300),
            policy in prop::sample::select(&Policy::ALL[..]),
        ) {
            let mut ledger = ledger(policy, 0, 0);
            let (mut credit, mut next, mut expected) = (Amount::default(), 0, 0);
            let (mut sent, mut last) = (Amount::default(), 0);
            for step in steps {
                match step {
                    Step::Push(length) => {
                        let pushed = ledger.push(&event(next, length), ());
                        prop_assert!(pushed.is_ok() || policy == Policy::Disconnect);
                        // One that is refused ends the connection.
                        next += u64::from(pushed.is_ok());
                    }
                    Step::Grant(events, bytes) => {
                        credit = credit + Amount { events, bytes };
                        ledger.grant(credit);
                    }
                    Step::Leave => {
                        let count = ledger.ready(usize::MAX);
                        if count == 0 {
                            continue;
                        }
                        expected += ledger.missed();
                        for event in ledger.oldest(count) {
                            prop_assert_eq!(number(event), expected);
                            expected += 1;
                            sent = sent.and(event.len());
                            last = event.len() as u64;
                        }
                        ledger.left(count);
                    }
                }
                prop_assert!(sent.events <= credit.events);
                prop_assert!(sent.bytes < credit.bytes + last.max(1));
                prop_assert!(ledger.len() <= QUEUE_EVENTS && ledger.bytes <= QUEUE_BYTES);
                let waiting: usize = ledger.oldest(usize::MAX).map(Bytes::len).sum();
                prop_assert_eq!(ledger.bytes, waiting);
                prop_assert_eq!(expected + ledger.missed() + ledger.len() as u64, next);
            }
        }
    }
}
