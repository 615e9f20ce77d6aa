//! Answers on the wire: one payload, or chunks from the beginning.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::send::BoxStream;
use crate::{Error, ErrorKind, MaybeSend, Result, Retry};

/// The largest payload, in bytes, and so the most that one value or one item
/// may take.
pub(crate) const PAYLOAD_BYTES: usize = 16 * 1024 * 1024;

/// A payload as it travels, for arguments and results that are not JSON.
///
/// As the only argument of an operation it is the request's payload; as a
/// result it is the answer's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Raw(pub Vec<u8>);

/// What came back for a request, before it is decoded.
#[derive(Debug)]
pub enum Answer {
    /// The whole answer.
    Payload(Vec<u8>),
    /// The answer in pieces.
    Chunks(Chunks),
}

impl Answer {
    /// The answer as one payload; chunks are put together.
    ///
    /// # Errors
    /// What the stream ends with, and `too-large` over 16 MiB.
    pub async fn bytes(self) -> Result<Vec<u8>> {
        let mut chunks = match self {
            Self::Payload(payload) => return Ok(payload),
            Self::Chunks(chunks) => chunks,
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await {
            bytes.extend(chunk?);
            if bytes.len() > PAYLOAD_BYTES {
                return Err(too_large("the answer"));
            }
        }
        Ok(bytes)
    }

    /// The answer as a value.
    ///
    /// # Errors
    /// As [`Answer::bytes`], and `protocol` when it is not such a value.
    pub async fn value<T: DeserializeOwned>(self) -> Result<T> {
        let bytes = self.bytes().await?;
        let json = if bytes.is_empty() { b"null" } else { bytes.as_slice() };
        serde_json::from_slice(json).map_err(|cause| {
            Error::protocol(format!("the answer is not what the operation promises: {cause}"))
        })
    }

    /// The answer in pieces; a payload is one piece.
    #[must_use]
    pub fn chunks(self) -> Chunks {
        match self {
            Self::Payload(payload) => {
                Chunks::new(futures::stream::once(std::future::ready(Ok(payload))))
            }
            Self::Chunks(chunks) => chunks,
        }
    }

    /// An answer of one JSON value.
    ///
    /// # Errors
    /// `application` when the value has no JSON form.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        serde_json::to_vec(value)
            .map(Self::Payload)
            .map_err(|cause| Error::application(format!("the result has no JSON form: {cause}")))
    }
}

impl From<Raw> for Answer {
    fn from(payload: Raw) -> Self {
        Self::Payload(payload.0)
    }
}

impl From<Chunks> for Answer {
    fn from(chunks: Chunks) -> Self {
        Self::Chunks(chunks)
    }
}

/// The error of something over 16 MiB.
pub(crate) fn too_large(what: &str) -> Error {
    let message = format!(
        "{what} is over {PAYLOAD_BYTES} bytes; ask for less, or for a stream of smaller items"
    );
    Error::new(ErrorKind::TooLarge, Retry::Final, message)
}

/// Bytes in pieces: an answer that need not be in memory at once. The reader's
/// pace holds the writer back. Where the pieces end means nothing: the network
/// splits those over 64 KiB.
pub struct Chunks(BoxStream<Result<Vec<u8>>>);

impl Chunks {
    /// From a stream; it ends with its first error.
    pub fn new(stream: impl Stream<Item = Result<Vec<u8>>> + MaybeSend + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl Stream for Chunks {
    type Item = Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chunks")
    }
}
