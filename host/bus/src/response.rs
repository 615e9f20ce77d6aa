//! The answer to a call, as its caller reads it.

use bytes::Bytes;
use hulynet_protocol::{ErrorKind, NetworkError, Reply, frame::INITIAL_CREDIT};
use tokio::sync::mpsc;

use crate::lane::{Command, Lane};

/// Consumed chunks are reported in portions of this many.
const PORTION: u32 = INITIAL_CREDIT / 2;

/// The answer to a call.
#[derive(Debug)]
pub struct Response {
    /// Its header.
    pub reply: Reply,
    /// Its body.
    pub body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// One payload; empty for replies without one.
    Payload(Bytes),
    /// Chunks follow.
    Stream(ChunkReceiver),
}

/// What arrives on a stream: a chunk, or its end.
#[derive(Debug)]
pub(crate) enum Piece {
    Chunk(Bytes),
    End(Result<(), NetworkError>),
}

/// The sending end of [`ChunkReceiver`], kept where chunks arrive.
pub(crate) type Pieces = mpsc::Sender<Piece>;

/// The receiving end of a streamed answer. Dropping it cancels the stream.
/// At most [`INITIAL_CREDIT`] chunks wait here; reading grants more.
#[derive(Debug)]
pub struct ChunkReceiver {
    session: u64,
    id: u64,
    lane: Lane,
    pieces: mpsc::Receiver<Piece>,
    consumed: u32,
    ended: bool,
}

impl ChunkReceiver {
    pub(crate) fn new(session: u64, id: u64, lane: Lane) -> (Pieces, Self) {
        // One more than the credit: the end of a stream needs none.
        let (sender, pieces) = mpsc::channel(INITIAL_CREDIT as usize + 1);
        (sender, Self { session, id, lane, pieces, consumed: 0, ended: false })
    }

    /// The next chunk; `None` after a clean end; an error ends the stream.
    pub async fn next(&mut self) -> Option<Result<Bytes, NetworkError>> {
        if self.ended {
            return None;
        }
        match self.pieces.recv().await {
            Some(Piece::Chunk(chunk)) => {
                self.consume();
                Some(Ok(chunk))
            }
            Some(Piece::End(end)) => {
                self.ended = true;
                end.err().map(Err)
            }
            None => {
                self.ended = true;
                Some(Err(NetworkError::maybe_processed(
                    ErrorKind::Unavailable,
                    "the connection was lost before the stream ended",
                )))
            }
        }
    }

    fn consume(&mut self) {
        self.consumed += 1;
        if self.consumed == PORTION {
            self.consumed = 0;
            let (session, id) = (self.session, self.id);
            // A closed lane has no stream to grant credit to; reading tells.
            let _gone = self.lane.send(Command::Credit { session, id, chunks: PORTION });
        }
    }
}

impl Drop for ChunkReceiver {
    fn drop(&mut self) {
        if !self.ended {
            let (session, id) = (self.session, self.id);
            // A closed lane has nothing left to cancel.
            let _gone = self.lane.send(Command::Cancel { session, id });
        }
    }
}
