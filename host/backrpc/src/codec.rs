//! Frames to messages and back.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use hulynet_protocol::limits;

/// The longest id of a request, in bytes: a client's id, a dash and a number
/// that has room for more requests than anybody sends.
pub const ID_BYTES: usize = limits::ID_BYTES + 64;

/// The first frame: one ASCII digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A peer introduces itself; the server names its run.
    Hello,
    /// Either side asks.
    Request,
    /// The answer to a request of the other direction.
    Response,
    /// The answer when it failed.
    Error,
    /// A server tells something.
    Event,
    /// A peer is alive.
    Ping,
    /// So is its server.
    Pong,
    /// The request was not taken: send it again after so many ticks.
    Retry,
    /// A peer leaves.
    Close,
    /// The server does not know the peer: say hello.
    AskHello,
}

impl Operation {
    const ALL: [Self; 10] = [
        Self::Hello,
        Self::Request,
        Self::Response,
        Self::Error,
        Self::Event,
        Self::Ping,
        Self::Pong,
        Self::Retry,
        Self::Close,
        Self::AskHello,
    ];

    fn read(frame: &[u8]) -> Option<Self> {
        let [digit @ b'0'..=b'9'] = frame else { return None };
        Self::ALL.get(usize::from(digit - b'0')).copied()
    }

    /// Its frame.
    #[must_use]
    pub fn frame(self) -> &'static [u8] {
        match self {
            Self::Hello => b"0",
            Self::Request => b"1",
            Self::Response => b"2",
            Self::Error => b"3",
            Self::Event => b"4",
            Self::Ping => b"5",
            Self::Pong => b"6",
            Self::Retry => b"7",
            Self::Close => b"8",
            Self::AskHello => b"9",
        }
    }

    /// Whether frame 1 means something.
    fn has_id(self) -> bool {
        !matches!(self, Self::Event | Self::Ping | Self::Close)
    }
}

/// The second frame: a short text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Arc<str>);

impl Text {
    /// A text of our own; one over [`ID_BYTES`] is nothing that a peer takes.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// One message without the routing id of a ROUTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub operation: Operation,
    /// Whom or which request it is about; empty for events, pings and
    /// goodbyes.
    pub id: Text,
    /// Its payload: JSON, or nothing. Not checked.
    pub body: Bytes,
}

/// Why frames are not a message. Such messages have no effect: an unknown
/// operation is ignored by every peer of this language, and an id that cannot
/// be kept cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first frame is not one digit.
    #[error("the first frame is no operation of this language")]
    Operation,
    /// The id is over [`ID_BYTES`].
    #[error("the id is {0} bytes long; at most {ID_BYTES} are allowed")]
    LongId(usize),
    /// The id is not UTF-8.
    #[error("the id is not UTF-8")]
    Id,
    /// The payload is over [`limits::PAYLOAD_BYTES`].
    #[error("the payload is {0} bytes long; at most {limit} are allowed", limit = limits::PAYLOAD_BYTES)]
    LongBody(usize),
}

impl Message {
    /// A message with both.
    #[must_use]
    pub fn new(operation: Operation, id: Text, body: impl Into<Bytes>) -> Self {
        Self { operation, id, body: body.into() }
    }

    /// Reads frames that nobody has checked. Frames after the third are
    /// accepted, missing ones count as empty.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(mut frames: impl Iterator<Item = Bytes>) -> Result<Self, Malformed> {
        let operation = frames.next().and_then(|frame| Operation::read(&frame));
        let operation = operation.ok_or(Malformed::Operation)?;
        let id = frames.next().filter(|_| operation.has_id()).unwrap_or_default();
        let body = frames.next().unwrap_or_default();
        if id.len() > ID_BYTES {
            return Err(Malformed::LongId(id.len()));
        }
        if body.len() > limits::PAYLOAD_BYTES {
            return Err(Malformed::LongBody(body.len()));
        }
        let id = std::str::from_utf8(&id).map_err(|_| Malformed::Id)?;
        Ok(Self { operation, id: Text::new(id), body })
    }

    /// The three frames of a server. Peers accept them from clients, too.
    #[must_use]
    pub fn frames(&self) -> [Bytes; 3] {
        let id = Bytes::copy_from_slice(self.id.as_str().as_bytes());
        [Bytes::from_static(self.operation.frame()), id, self.body.clone()]
    }
}
