//! The receiving side of a request: answering it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hulynet_protocol::{
    Call, ClientId, ErrorKind, Frame, NetworkError, Reply, limits::CHUNK_BYTES,
};
use tokio::time::{Instant, sleep_until};

use crate::{
    account::Account,
    lane::{Command, Lane},
    signal::Signal,
    wire::Outgoing,
};

/// A request that arrived. Dropping the responder unanswered answers with an
/// `Internal` error, after the caller's deadline with `DeadlineExceeded`, so
/// every request ends.
#[derive(Debug)]
pub struct Request {
    /// Who asks (the server's id as client id on a [`crate::Peer`]).
    pub peer: ClientId,
    /// What.
    pub call: Call,
    /// Its payload.
    pub payload: Bytes,
    /// Answers it.
    pub responder: Responder,
}

/// The way back to the caller of one request.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) session: u64,
    pub(crate) id: u64,
    pub(crate) lane: Lane,
    pub(crate) account: Arc<Account>,
    pub(crate) signal: Arc<Signal>,
}

impl Way {
    fn chunk(&self, message: Outgoing, last: bool) {
        if self.signal.is_gone() {
            return;
        }
        let command = Command::Chunk { session: self.session, id: self.id, message, last };
        // A closed lane means that the socket is gone, and the caller with it.
        let _gone = self.lane.send(command);
    }

    fn respond(&self, result: Result<(Reply, Bytes), NetworkError>) {
        if self.signal.is_gone() {
            return;
        }
        let (result, payload) = match result {
            Ok((reply, payload)) => (Ok(reply), payload),
            Err(error) => (Err(error), Bytes::new()),
        };
        let streams = matches!(result, Ok(Reply::Stream));
        let message =
            Outgoing::new(&Frame::Response { id: self.id, result }, payload).or_else(|error| {
                Outgoing::new(&Frame::Response { id: self.id, result: Err(error) }, Bytes::new())
            });
        match message {
            Ok(message) => {
                let Self { session, id, .. } = *self;
                // A closed lane means that the socket is gone.
                let _gone = self.lane.send(Command::Answer { session, id, message, streams });
            }
            Err(error) => tracing::error!(%error, "an answer cannot be encoded"),
        }
    }
}

/// Answers one request, once.
#[derive(Debug)]
pub struct Responder {
    way: Option<Way>,
    deadline: Instant,
}

impl Responder {
    pub(crate) fn new(way: Way, deadline: Instant) -> Self {
        Self { way: Some(way), deadline }
    }

    /// Sends the answer (`Reply::Payload` with its bytes, other replies with
    /// an empty payload). An answer over a limit becomes a `TooLarge` error.
    pub fn reply(mut self, result: Result<(Reply, Bytes), NetworkError>) {
        let result = match result {
            Ok((Reply::Stream, _)) => Err(NetworkError::maybe_processed(
                ErrorKind::Internal,
                "a streamed answer was given without its stream",
            )),
            other => other,
        };
        if let Some(way) = self.way.take() {
            way.respond(result);
        }
    }

    /// Begins a streamed answer (`Reply::Stream`).
    #[must_use]
    pub fn stream(mut self) -> ChunkSender {
        let way = self.way.take();
        if let Some(way) = &way {
            way.respond(Ok((Reply::Stream, Bytes::new())));
        }
        ChunkSender { way }
    }

    /// Until when the caller waits.
    #[must_use]
    pub fn deadline(&self) -> std::time::Instant {
        self.deadline.into_std()
    }

    /// Time left until the caller's deadline.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the caller cancelled or was lost.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.way.as_ref().is_none_or(|way| way.signal.is_gone())
    }

    /// Ends when the caller cancelled, was lost, or its deadline passed. Work
    /// may be stopped then.
    pub async fn cancelled(&mut self) {
        if let Some(way) = &self.way {
            tokio::select! {
                () = way.signal.gone() => {}
                () = sleep_until(self.deadline) => {}
            }
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let Some(way) = self.way.take() else { return };
        let error = if self.remaining().is_zero() {
            let why = "the request was given up at its deadline";
            NetworkError::maybe_processed(ErrorKind::DeadlineExceeded, why)
        } else {
            let why = "the request was dropped without an answer";
            NetworkError::maybe_processed(ErrorKind::Internal, why)
        };
        way.respond(Err(error));
    }
}

/// The sending end of a streamed answer. Dropping it unfinished ends the
/// stream with an error.
#[derive(Debug)]
pub struct ChunkSender {
    way: Option<Way>,
}

impl ChunkSender {
    /// Sends a chunk; waits for credit. One over
    /// [`hulynet_protocol::limits::CHUNK_BYTES`] is split, an empty one is
    /// nothing.
    ///
    /// # Errors
    /// `Cancelled` when the receiver is gone.
    pub async fn send(&mut self, mut chunk: Bytes) -> Result<(), NetworkError> {
        let gone =
            || NetworkError::refused(ErrorKind::Cancelled, "nobody reads the stream any more");
        let Some(way) = &self.way else { return Err(gone()) };
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(CHUNK_BYTES));
            let message = Outgoing::new(&Frame::Chunk { id: way.id, end: None }, piece)?;
            if !way.signal.spend().await {
                return Err(gone());
            }
            tokio::select! {
                () = way.signal.gone() => return Err(gone()),
                () = way.account.room() => {}
            }
            way.chunk(message, false);
        }
        Ok(())
    }

    /// Ends when the receiver cancelled or was lost.
    pub async fn cancelled(&mut self) {
        if let Some(way) = &self.way {
            way.signal.gone().await;
        }
    }

    /// Ends the stream.
    pub fn finish(mut self, end: Result<(), NetworkError>) {
        self.end(end);
    }

    fn end(&mut self, end: Result<(), NetworkError>) {
        let Some(way) = self.way.take() else { return };
        match Outgoing::new(&Frame::Chunk { id: way.id, end: Some(end) }, Bytes::new()) {
            Ok(message) => way.chunk(message, true),
            Err(error) => tracing::error!(%error, "the end of a stream cannot be encoded"),
        }
    }
}

impl Drop for ChunkSender {
    fn drop(&mut self) {
        self.end(Err(NetworkError::maybe_processed(
            ErrorKind::Internal,
            "the stream was dropped before its end",
        )));
    }
}
