//! Events within credit: what a subscriber grants, what becomes of the events
//! that it does not take, and how several events share one message.
//!
//! A subscriber counts what it was sent on a connection since it was opened,
//! over all attempts to keep it attached. What it grants is counted from the
//! same beginning, so grants only rise, and one that comes late or twice does
//! no harm.

use std::{fmt, str::FromStr};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::limits;

/// A number of events and the bytes of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Events.
    pub events: u64,
    /// The bytes of their payloads.
    pub bytes: u64,
}

impl Amount {
    /// More than is ever sent.
    pub const ENDLESS: Self = Self { events: u64::MAX, bytes: u64::MAX };

    /// With one more event of so many bytes.
    #[must_use]
    pub fn and(self, length: usize) -> Self {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self + Self { events: 1, bytes: length }
    }

    /// Whether another event may be sent when this much was sent already. Its
    /// length is not asked: the last event may exceed the credit in bytes, so
    /// that one that is longer than all of it can be sent at all.
    #[must_use]
    pub fn is_within(self, credit: Self) -> bool {
        self.events < credit.events && self.bytes < credit.bytes
    }

    /// The higher of both numbers.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { events: self.events.max(other.events), bytes: self.bytes.max(other.bytes) }
    }
}

impl std::ops::Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_add(other.events),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// What becomes of events when more wait for a subscriber than may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Policy {
    /// `disconnect`: the connection ends with an error, and what was delivered
    /// before is without a gap. For who needs every event.
    Disconnect,
    /// `drop-oldest`: the oldest of those that wait are dropped, and the
    /// subscriber is told how many, in their place. For who needs the newest.
    #[default]
    DropOldest,
}

impl Policy {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Disconnect, Self::DropOldest];

    /// The one word that stands for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::DropOldest => "drop-oldest",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no policy for events; use disconnect or drop-oldest")]
pub struct PolicyError(String);

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let named = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        named.ok_or_else(|| PolicyError(text.to_owned()))
    }
}

/// On which terms a subscriber is sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// What becomes of those for which there is no room.
    pub policy: Policy,
    /// What it was sent before this attempt.
    pub heard: Amount,
    /// What it may be sent in all.
    pub credit: Amount,
}

impl Flow {
    /// Without credit: as much as the transport takes.
    #[must_use]
    pub fn endless(policy: Policy) -> Self {
        Self { policy, heard: Amount::default(), credit: Amount::ENDLESS }
    }
}

/// One payload for several events, and the length of each; a single event is
/// its own payload, not copied, and needs no lengths.
#[must_use]
pub fn join(events: &[Bytes]) -> (Vec<u32>, Bytes) {
    if let [single] = events {
        return (Vec::new(), single.clone());
    }
    let mut payload = BytesMut::with_capacity(events.iter().map(Bytes::len).sum());
    let lengths = events.iter().map(|event| {
        payload.extend_from_slice(event);
        // Payloads are bounded far below.
        u32::try_from(event.len()).unwrap_or(u32::MAX)
    });
    (lengths.collect(), payload.freeze())
}

/// Why lengths and a payload do not make events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// There are more events than one message may carry.
    #[error("{0} events in one message; at most {limit} are allowed", limit = limits::BATCH_EVENTS)]
    TooMany(usize),
    /// The lengths are not those of the payload.
    #[error("the lengths of the events are not that of their payload, {0} bytes")]
    Length(usize),
}

/// The events that [`join`] made one payload of; checks what came from outside.
///
/// # Errors
/// [`SplitError`] when the lengths cannot be right.
pub fn split(lengths: &[u32], payload: &Bytes) -> Result<Vec<Bytes>, SplitError> {
    if lengths.is_empty() {
        return Ok(vec![payload.clone()]);
    }
    if lengths.len() > limits::BATCH_EVENTS {
        return Err(SplitError::TooMany(lengths.len()));
    }
    let wrong = || SplitError::Length(payload.len());
    let mut rest = payload.clone();
    let mut events = Vec::with_capacity(lengths.len());
    for length in lengths {
        let length = usize::try_from(*length).map_err(|_| wrong())?;
        if length > rest.len() {
            return Err(wrong());
        }
        events.push(rest.split_to(length));
    }
    if rest.is_empty() { Ok(events) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    #[test]
    fn events_that_share_a_payload_come_apart_again() {
        for events in [texts(&["one"]), texts(&[""]), texts(&["one", "", "two"]), texts(&["", ""])]
        {
            let (lengths, payload) = join(&events);
            assert_eq!(split(&lengths, &payload), Ok(events));
        }
    }

    #[test]
    fn a_single_event_is_not_copied() {
        let event = texts(&["large"]);
        assert_eq!(join(&event).1.as_ptr(), event[0].as_ptr());
    }

    #[test]
    fn lengths_that_are_not_those_of_the_payload_are_refused() {
        let payload = Bytes::from_static(b"four");
        for lengths in [vec![4, 1], vec![3], vec![u32::MAX, 4], vec![0]] {
            assert_eq!(split(&lengths, &payload), Err(SplitError::Length(4)));
        }
        let many = vec![0; limits::BATCH_EVENTS + 1];
        assert_eq!(split(&many, &Bytes::new()), Err(SplitError::TooMany(many.len())));
    }

    #[test]
    fn the_last_event_within_a_credit_may_exceed_it_in_bytes() {
        let credit = Amount { events: 3, bytes: 10 };
        let sent = Amount::default().and(9);
        assert!(sent.is_within(credit));
        assert!(!sent.and(1_000).is_within(credit));
        assert!(!sent.and(0).and(0).is_within(credit), "three events");
        assert!(Amount { events: 1 << 60, bytes: 1 << 60 }.is_within(Amount::ENDLESS));
    }

    #[test]
    fn a_policy_is_one_word() {
        for policy in Policy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        let error = "drop".parse::<Policy>().unwrap_err();
        assert!(error.to_string().contains("disconnect or drop-oldest"), "{error}");
    }
}
