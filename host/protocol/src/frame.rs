//! The frames of the native bus and their codec.
//!
//! A message is one or two ZeroMQ frames: a header ([`Frame`]: one byte
//! [`MAGIC`], then postcard) and, for requests, responses, chunks and events
//! that carry one, the payload as raw bytes. The first byte tells the native
//! language from the original's, whose first frame begins with an ASCII digit.
//!
//! Both sides may send requests. Ids count per direction, so a response always
//! answers a request that went the other way.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    ClientId, NetworkError, ServerId,
    call::{Call, Event, Reply},
    limits,
};

/// The first byte of every native header.
pub const MAGIC: u8 = 0xA1;

/// The version of the protocol that this crate speaks. Peers of another
/// version are refused with [`crate::ErrorKind::Protocol`].
pub const VERSION: u16 = 4;

/// Feature bits that this crate understands; peers use what both announce.
pub mod feature {
    /// Replies may be streams of chunks with credit.
    pub const STREAMS: u64 = 1;
    /// All features of this build.
    pub const ALL: u64 = STREAMS;
}

/// A number that its author never used before and nobody can guess. Who proves
/// something about it proves it now, and not with what was overheard before.
pub type Nonce = [u8; 16];

/// 122 bits of it are drawn from the generator of the system.
#[must_use]
pub fn nonce() -> Nonce {
    uuid::Uuid::new_v4().into_bytes()
}

/// An HMAC-SHA256 under the secret of the network.
pub type Proof = [u8; 32];

/// Chunks that may be sent before the first [`Frame::Credit`].
pub const INITIAL_CREDIT: u32 = 16;

/// What every version of the protocol keeps, so that each can tell another why
/// they do not understand one another: [`MAGIC`], the numbers of these frames,
/// and the field with which they begin.
mod kept {
    /// [`super::Frame::Hello`], then the version.
    pub(super) const HELLO: u8 = 0;
    /// [`super::Frame::Welcome`], then the version.
    pub(super) const WELCOME: u8 = 1;
    /// [`super::Frame::Request`], then its id in eight bytes.
    pub(super) const REQUEST: u8 = 6;
}

/// What a peer is, for logs and for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Uses containers.
    Client,
    /// Runs containers.
    Agent,
    /// The coordinator.
    Coordinator,
}

impl Role {
    /// The role as people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Agent => "agent",
            Self::Coordinator => "coordinator",
        }
    }
}

/// A peer introduces itself; identity comes from here, never from the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the sender.
    pub version: u16,
    /// [`feature`] bits of the sender.
    pub features: u64,
    /// Who it is, also after a reconnect.
    pub client: ClientId,
    /// Tells its runs apart: the ids of its requests count within one, and
    /// another run of the same client knows nothing of the former's requests.
    pub run: u64,
    /// What it is.
    pub role: Role,
    /// It counts as lost after this many milliseconds without a message.
    pub alive_timeout_ms: u32,
    /// It has a secret, and the server is to prove with this that it has the
    /// same one.
    pub nonce: Option<Nonce>,
    /// It has the secret that [`Frame::Challenge`] asked for.
    pub proof: Option<Proof>,
}

/// The answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`VERSION`] of the server.
    pub version: u16,
    /// [`feature`] bits of the server.
    pub features: u64,
    /// This run of the server; another one than before means that it forgot
    /// everything.
    pub server: ServerId,
    /// Whether the server still knew the client: what it holds is still held.
    pub resumed: bool,
    /// The session, a name within this run of the server. In the same one as
    /// before, both sides send their unanswered requests again, in order and
    /// under the same ids, before new ones; none runs twice. In another one
    /// they must not be sent again: they may have been processed.
    pub session: u64,
    /// The answer to the nonce of the hello.
    pub proof: Option<Proof>,
}

/// The header of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// Peer to server, first on each connection.
    Hello(Hello),
    /// Server to peer.
    Welcome(Welcome),
    /// Server to peer: I do not know you, say hello; what you sent was not
    /// processed.
    AskHello,
    /// Server to peer: your hello is refused.
    Refused(NetworkError),
    /// Peer to server, every ping interval.
    Ping {
        /// As in [`Frame::Request`].
        acknowledged: u64,
    },
    /// Server to peer, after it took everything that was sent before the ping.
    Pong {
        /// As in [`Frame::Request`].
        acknowledged: u64,
    },
    /// A request; a payload may be beside it.
    Request {
        /// Names it within the session and direction; each one is higher than
        /// all before, from 1 on.
        #[serde(with = "postcard::fixint::le")]
        id: u64,
        /// All of the sender's requests up to this id have ended for it: their
        /// answers need not be remembered.
        #[serde(with = "postcard::fixint::le")]
        acknowledged: u64,
        /// Milliseconds left until the answer must have begun. A stream goes
        /// on after it: the caller ends that with [`Frame::Cancel`] when its
        /// own deadline for the whole has passed.
        deadline_ms: u32,
        /// What is asked.
        call: Call,
    },
    /// The answer to a request; a payload may be beside it.
    Response {
        /// The request.
        id: u64,
        /// Its outcome.
        result: Result<Reply, NetworkError>,
    },
    /// A piece of a streamed reply; the payload is beside it.
    Chunk {
        /// The request.
        id: u64,
        /// Set on the last one: how the stream ended. The last chunk carries
        /// no payload.
        end: Option<Result<(), NetworkError>>,
    },
    /// The receiver of a stream has room for more chunks.
    Credit {
        /// The request.
        id: u64,
        /// How many more.
        chunks: u32,
    },
    /// The caller gave up the request or its stream.
    Cancel {
        /// The request.
        id: u64,
    },
    /// Something happened; a payload may be beside it.
    Event(Event),
    /// The sender leaves; what it held may be released.
    Close,
    /// The answer to [`Frame::Close`]: everything sent before was received.
    Closed,
    /// Server to peer, after a hello without a proof: say it again, and prove
    /// with this that you have the secret.
    Challenge(Nonce),
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header is empty.
    #[error("the header frame is empty")]
    Empty,
    /// The first byte is not [`MAGIC`].
    #[error("the header begins with byte {0:#04x}; native headers begin with {MAGIC:#04x}")]
    Language(u8),
    /// The header is over [`limits::HEADER_BYTES`].
    #[error("the header is {0} bytes long; at most {limit} are allowed", limit = limits::HEADER_BYTES)]
    HeaderTooLarge(usize),
    /// The payload is over [`limits::PAYLOAD_BYTES`].
    #[error("the payload is {0} bytes long; at most {limit} are allowed", limit = limits::PAYLOAD_BYTES)]
    PayloadTooLarge(usize),
    /// A hello or welcome that cannot be decoded, but for its version.
    #[error("a hello or welcome of version {version} of the protocol cannot be decoded: {problem}")]
    Introduction {
        /// The version of the sender.
        version: u16,
        /// What is wrong.
        problem: String,
    },
    /// A request that cannot be decoded, but for its id.
    #[error("the request {id} cannot be decoded: {problem}")]
    Request {
        /// Names it within the session and direction.
        id: u64,
        /// What is wrong.
        problem: String,
    },
    /// The header cannot be decoded.
    #[error("the header cannot be decoded: {0}")]
    Malformed(String),
}

/// Most headers are shorter, in bytes.
const USUAL: usize = 192;

impl Frame {
    /// The header's bytes.
    ///
    /// # Errors
    /// [`FrameError::HeaderTooLarge`] when it is over
    /// [`limits::HEADER_BYTES`].
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        self.encode_mut().map(Bytes::from)
    }

    /// Like [`Self::encode`], for bytes that are still changed.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_mut(&self) -> Result<Vec<u8>, FrameError> {
        // A vector of just its length: `Bytes` asks for memory once more for one
        // that has room to spare.
        let mut usual = [MAGIC; USUAL];
        if let Some((_, body)) = usual.split_first_mut()
            && let Ok(body) = postcard::to_slice(self, body)
        {
            let length = 1 + body.len();
            return Ok(usual.get(..length).unwrap_or_default().to_vec());
        }
        let mut header = Vec::with_capacity(2 * USUAL);
        header.push(MAGIC);
        let header = postcard::to_extend(self, header)
            .map_err(|error| FrameError::Malformed(error.to_string()))?;
        if header.len() > limits::HEADER_BYTES {
            return Err(FrameError::HeaderTooLarge(header.len()));
        }
        Ok(header)
    }

    /// Gives an encoded [`Frame::Request`] its id and acknowledgement: ids are
    /// given in the order of sending, after the work of encoding is done.
    /// Other bytes are left alone.
    pub fn number(header: &mut [u8], id: u64, acknowledged: u64) {
        // They have fixed places, after the magic and the variant.
        if let Some(([MAGIC, kept::REQUEST], rest)) = header.split_first_chunk_mut()
            && let Some((place, rest)) = rest.split_first_chunk_mut()
            && let Some((next, _)) = rest.split_first_chunk_mut()
        {
            *place = id.to_le_bytes();
            *next = acknowledged.to_le_bytes();
        }
    }

    /// Reads a header from bytes that nobody has checked.
    ///
    /// # Errors
    /// [`FrameError`] says what is wrong; nothing is allocated for lengths
    /// that the bytes only announce.
    pub fn decode(header: &[u8]) -> Result<Self, FrameError> {
        let (&magic, body) = header.split_first().ok_or(FrameError::Empty)?;
        if magic != MAGIC {
            return Err(FrameError::Language(magic));
        }
        if header.len() > limits::HEADER_BYTES {
            return Err(FrameError::HeaderTooLarge(header.len()));
        }
        let problem = match postcard::take_from_bytes(body) {
            Ok((frame, [])) => return Ok(frame),
            Ok((_, rest)) => format!("{} bytes follow its end", rest.len()),
            Err(error) => error.to_string(),
        };
        Err(unreadable(body, problem))
    }
}

/// What can be told about a frame that cannot be decoded: what all versions
/// keep.
fn unreadable(body: &[u8], problem: String) -> FrameError {
    let (&number, rest) = body.split_first().unwrap_or((&u8::MAX, &[]));
    match number {
        kept::HELLO | kept::WELCOME => match postcard::take_from_bytes(rest) {
            Ok((version, _)) => FrameError::Introduction { version, problem },
            Err(_) => FrameError::Malformed(problem),
        },
        kept::REQUEST => match rest.first_chunk() {
            Some(id) => FrameError::Request { id: u64::from_le_bytes(*id), problem },
            None => FrameError::Malformed(problem),
        },
        _ => FrameError::Malformed(problem),
    }
}

/// Checks the length of a payload.
///
/// # Errors
/// [`FrameError::PayloadTooLarge`] over [`limits::PAYLOAD_BYTES`].
pub fn check_payload(payload: &[u8]) -> Result<(), FrameError> {
    if payload.len() > limits::PAYLOAD_BYTES {
        return Err(FrameError::PayloadTooLarge(payload.len()));
    }
    Ok(())
}
