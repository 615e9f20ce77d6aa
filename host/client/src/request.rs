//! Requests to containers and their answers.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use hulynet_bus::{Body, ChunkReceiver, Response};
use hulynet_protocol::{Caller, ErrorKind, NetworkError, Reply, limits};
use tokio::time::{Instant, timeout_at};

use crate::{
    agents::Keep,
    shared::{deadline_exceeded, unexpected},
};

/// A request with options. What is not set comes from the client.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) operation: String,
    pub(crate) payload: Bytes,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idempotency: Option<String>,
    pub(crate) caller: Option<Caller>,
}

impl Request {
    /// An operation of the container and its argument, which is opaque to the
    /// network (the SDK's default encoding is JSON).
    #[must_use]
    pub fn new(operation: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            operation: operation.into(),
            payload: payload.into(),
            timeout: None,
            idempotency: None,
            caller: None,
        }
    }

    /// How long the whole answer may take, streamed ones included; the
    /// client's request timeout unless set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Names the work, so that the container recognises a repetition by the
    /// program.
    #[must_use]
    pub fn idempotency(mut self, key: impl Into<String>) -> Self {
        self.idempotency = Some(key.into());
        self
    }

    /// In whose name, where that is not the client's own account: a host makes
    /// the requests of all its containers with one client.
    #[must_use]
    pub fn caller(mut self, caller: Caller) -> Self {
        self.caller = Some(caller);
        self
    }

    /// Refuses what no peer would take.
    pub(crate) fn check(&self) -> Result<(), NetworkError> {
        let length = self.operation.len();
        if length == 0 || length > limits::OPERATION_BYTES {
            return Err(NetworkError::refused(
                ErrorKind::InvalidArguments,
                format!(
                    "the operation's name is {length} bytes long; 1 to {} are allowed",
                    limits::OPERATION_BYTES
                ),
            ));
        }
        let key = self.idempotency.as_ref().map_or(0, String::len);
        if key > limits::ID_BYTES {
            return Err(too_large("the idempotency key", key, limits::ID_BYTES));
        }
        if self.payload.len() > limits::PAYLOAD_BYTES {
            let what = format!("the payload of {:?}", self.operation);
            return Err(too_large(&what, self.payload.len(), limits::PAYLOAD_BYTES));
        }
        Ok(())
    }
}

/// What a container answered.
#[derive(Debug)]
pub enum Answer {
    /// One payload.
    Payload(Bytes),
    /// Chunks as they come.
    Stream(Chunks),
}

impl Answer {
    pub(crate) fn read(
        response: Response,
        deadline: Instant,
        keep: Option<Keep>,
    ) -> Result<Self, NetworkError> {
        match (response.reply, response.body) {
            (Reply::Payload, Body::Payload(payload)) => Ok(Self::Payload(payload)),
            (Reply::Stream, Body::Stream(receiver)) => {
                Ok(Self::Stream(Chunks { receiver, deadline, ended: false, _keep: keep }))
            }
            (reply, _) => Err(unexpected("a request", &reply)),
        }
    }

    /// The whole answer as one payload.
    ///
    /// # Errors
    /// `TooLarge` when a stream brings more than `limit` bytes; the stream is
    /// cancelled then. And whatever ends the stream.
    pub async fn collect(self, limit: usize) -> Result<Bytes, NetworkError> {
        let mut chunks = match self {
            Self::Payload(payload) => return Ok(payload),
            Self::Stream(chunks) => chunks,
        };
        let mut whole = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            if whole.len() + chunk.len() > limit {
                return Err(too_large("the streamed answer", whole.len() + chunk.len(), limit));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}

/// The chunks of a streamed answer. The container makes more only as they are
/// read; dropping it cancels the request.
#[derive(Debug)]
pub struct Chunks {
    receiver: ChunkReceiver,
    deadline: Instant,
    ended: bool,
    _keep: Option<Keep>,
}

impl Chunks {
    /// The next chunk; `None` after the end. An error ends the stream.
    pub async fn next(&mut self) -> Option<Result<Bytes, NetworkError>> {
        if self.ended {
            return None;
        }
        let next = timeout_at(self.deadline, self.receiver.next())
            .await
            .unwrap_or_else(|_| Some(Err(deadline_exceeded("the streamed answer"))));
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }

    /// The chunks as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, NetworkError>> + Send {
        stream::unfold(self, async |mut chunks| Some((chunks.next().await?, chunks)))
    }
}

/// The error of something that does not fit.
pub(crate) fn too_large(what: &str, length: usize, limit: usize) -> NetworkError {
    NetworkError::refused(
        ErrorKind::TooLarge,
        format!("{what} is {length} bytes long; at most {limit} are allowed"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_peer_would_take_is_refused_here() {
        let large = Request::new("op", vec![0; limits::PAYLOAD_BYTES + 1]).check().unwrap_err();
        assert_eq!(
            (large.kind, large.retry),
            (ErrorKind::TooLarge, hulynet_protocol::Retry::Final)
        );
        assert!(large.message.contains("\"op\" is 16777217 bytes long; at most 16777216"));
        let nameless = Request::new("", "").check().unwrap_err();
        assert_eq!(nameless.kind, ErrorKind::InvalidArguments);
        assert!(Request::new("op", vec![0; limits::PAYLOAD_BYTES]).check().is_ok());
    }
}
