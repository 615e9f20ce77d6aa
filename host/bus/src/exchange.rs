//! The requests of one connection, in both directions.
//!
//! A state machine without IO or clock: frames and commands go in, frames to
//! send and requests to hand over come out. It ends with its connection, and
//! everything in it ends with an error then.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use hulynet_protocol::{ClientId, ErrorKind, Frame, NetworkError, Reply};
use tokio::time::Instant;

use crate::{
    account::Account,
    lane::{Asker, Lane},
    request::{Request, Responder, Way},
    response::{Body, ChunkReceiver, Piece, Pieces, Response},
    signal::{Interest, Signal},
    wire::Outgoing,
};

/// The most requests of one peer in progress; more get `Busy`.
pub(crate) const IN_PROGRESS: usize = 16_384;

/// The most bytes in the payloads of one peer's requests whose answers have not
/// begun; more get `Busy`. Twice what a peer of ours sends.
pub(crate) const PAYLOADS: usize = 128 << 20;

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) asker: Asker,
    /// Kept where it can be sent again.
    pub(crate) message: Option<Outgoing>,
}

#[derive(Debug)]
enum Waiting {
    Answer(Pending),
    Chunks(Pieces),
}

/// A request of the peer in progress.
#[derive(Debug)]
struct Serving {
    interest: Interest,
    /// The length of its payload, until its answer begins.
    payload: usize,
}

/// What comes out of a frame.
#[derive(Debug)]
pub(crate) enum Outcome {
    Nothing,
    /// Send this back.
    Send(Frame),
    /// Hand this over.
    Request(Request),
    /// The frame has no place here: count it.
    Misplaced,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: u64,
    peer: ClientId,
    lane: Lane,
    account: Arc<Account>,
    waiting: HashMap<u64, Waiting>,
    serving: HashMap<u64, Serving>,
    /// The payloads of all in `serving`.
    payloads: usize,
}

impl Exchange {
    pub(crate) fn new(connection: u64, peer: ClientId, lane: Lane, account: Arc<Account>) -> Self {
        let (waiting, serving) = (HashMap::new(), HashMap::new());
        Self { connection, peer, lane, account, waiting, serving, payloads: 0 }
    }

    /// The peer is called otherwise in requests from here on.
    pub(crate) fn rename(&mut self, peer: ClientId) {
        self.peer = peer;
    }

    /// Whether no request of the peer is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        self.serving.is_empty()
    }

    /// A request is being sent.
    pub(crate) fn expect(&mut self, id: u64, pending: Pending) {
        self.waiting.insert(id, Waiting::Answer(pending));
    }

    /// Takes back a request whose answer has not begun.
    pub(crate) fn take(&mut self, id: u64) -> Option<Pending> {
        match self.waiting.remove(&id)? {
            Waiting::Answer(pending) => Some(pending),
            chunks @ Waiting::Chunks(_) => {
                self.waiting.insert(id, chunks);
                None
            }
        }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn cancel(&mut self, id: u64) -> Option<Frame> {
        self.waiting.remove(&id).map(|_| Frame::Cancel { id })
    }

    /// Chunks were consumed.
    pub(crate) fn consumed(&self, id: u64, chunks: u32) -> Option<Frame> {
        self.waiting.contains_key(&id).then_some(Frame::Credit { id, chunks })
    }

    /// Whether a part of an answer is still wanted; the last one ends it.
    pub(crate) fn answer(&mut self, id: u64, last: bool) -> bool {
        if last {
            return self.finish(id);
        }
        let Some(serving) = self.serving.get_mut(&id) else { return false };
        self.payloads -= std::mem::take(&mut serving.payload);
        true
    }

    /// A request of the peer is not in progress any more; whether it was.
    fn finish(&mut self, id: u64) -> bool {
        let serving = self.serving.remove(&id);
        self.payloads -= serving.as_ref().map_or(0, |serving| serving.payload);
        serving.is_some()
    }

    /// Everything ends: who waits gets the error, who works is cancelled.
    pub(crate) fn end(&mut self, error: &NetworkError) {
        self.serving.clear();
        self.payloads = 0;
        for (_, waiting) in self.waiting.drain() {
            match waiting {
                // A caller that left meanwhile needs no error.
                Waiting::Answer(pending) => drop(pending.asker.send(Err(error.clone()))),
                Waiting::Chunks(pieces) => drop(pieces.try_send(Piece::End(Err(error.clone())))),
            }
        }
    }

    /// A frame of the peer.
    pub(crate) fn receive(&mut self, frame: Frame, payload: Bytes, now: Instant) -> Outcome {
        match frame {
            Frame::Request { id, deadline_ms, call } => {
                if self.serving.contains_key(&id) {
                    return Outcome::Misplaced;
                }
                if self.serving.len() >= IN_PROGRESS || self.payloads + payload.len() > PAYLOADS {
                    let result = Err(busy("too many requests of this peer are in progress"));
                    return Outcome::Send(Frame::Response { id, result });
                }
                let signal = Arc::new(Signal::new());
                let interest = Interest(Arc::clone(&signal));
                self.payloads += payload.len();
                self.serving.insert(id, Serving { interest, payload: payload.len() });
                let way = Way {
                    connection: self.connection,
                    id,
                    lane: self.lane.clone(),
                    account: Arc::clone(&self.account),
                    signal,
                };
                let deadline = now + Duration::from_millis(u64::from(deadline_ms));
                let responder = Responder::new(way, deadline);
                let peer = self.peer.clone();
                Outcome::Request(Request { peer, call, payload, responder })
            }
            Frame::Response { id, result } => self.response(id, result, payload),
            Frame::Chunk { id, end } => self.chunk(id, end, payload),
            Frame::Credit { id, chunks } => {
                if let Some(serving) = self.serving.get(&id) {
                    serving.interest.0.grant(chunks);
                }
                Outcome::Nothing
            }
            Frame::Cancel { id } => {
                self.finish(id);
                Outcome::Nothing
            }
            _ => Outcome::Misplaced,
        }
    }

    fn response(
        &mut self,
        id: u64,
        result: Result<Reply, NetworkError>,
        payload: Bytes,
    ) -> Outcome {
        // An answer after its cancellation is late, not wrong.
        let Some(pending) = self.take(id) else { return Outcome::Nothing };
        let response = match result {
            Ok(Reply::Stream) => {
                let (pieces, chunks) = ChunkReceiver::new(self.connection, id, self.lane.clone());
                self.waiting.insert(id, Waiting::Chunks(pieces));
                Ok(Response { reply: Reply::Stream, body: Body::Stream(chunks) })
            }
            Ok(reply) => Ok(Response { reply, body: Body::Payload(payload) }),
            Err(error) => Err(error),
        };
        // A caller that left meanwhile drops the answer; a stream in it then
        // cancels itself.
        drop(pending.asker.send(response));
        Outcome::Nothing
    }

    fn chunk(&mut self, id: u64, end: Option<Result<(), NetworkError>>, chunk: Bytes) -> Outcome {
        let Some(Waiting::Chunks(pieces)) = self.waiting.get(&id) else { return Outcome::Nothing };
        let last = end.is_some();
        let sent = pieces.try_send(end.map_or(Piece::Chunk(chunk), Piece::End));
        if last {
            self.waiting.remove(&id);
        } else if sent.is_err() {
            // The reader is gone, or the sender ignores its credit; the reader
            // then finds the stream broken off.
            self.waiting.remove(&id);
            return Outcome::Send(Frame::Cancel { id });
        }
        Outcome::Nothing
    }
}

/// The refusal of a request that found a queue full.
pub(crate) fn busy(why: &str) -> NetworkError {
    NetworkError::not_processed(ErrorKind::Busy, why)
}

#[cfg(test)]
mod tests;
