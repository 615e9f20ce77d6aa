//! The requests of one session, in both directions.
//!
//! A state machine without IO or clock: frames and commands go in, frames to
//! send and requests to hand over come out. It is attached to one connection
//! after another, and everything in it ends with an error at its own end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use hulynet_protocol::{Call, ClientId, ErrorKind, Frame, NetworkError, Reply};
use tokio::time::Instant;

use crate::{
    account::Account,
    ask::late,
    calls::Calls,
    lane::{Asker, Lane},
    request::{Request, Responder, Way},
    response::{Body, ChunkReceiver, Piece, Pieces, Response},
    share::Share,
    signal::{Interest, Signal},
    window::{Arrival, Window},
    wire::Outgoing,
};

/// The most requests of one peer in progress; more get `Busy`.
pub(crate) const IN_PROGRESS: usize = 16_384;

/// The most bytes in the payloads of one peer's requests whose answers have not
/// begun; more get `Busy`. Twice what a peer of ours sends.
pub(crate) const PAYLOADS: usize = 128 << 20;

/// The same for all peers of a server together.
pub(crate) const ALL_PAYLOADS: usize = 1 << 30;

/// The most bytes of answers that are kept for all peers of a server together,
/// in case their requests come again; beyond, a session keeps none.
pub(crate) const ALL_ANSWERS: usize = 256 << 20;

/// What all sessions of a server hold together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Bytes in the payloads of requests in progress.
    pub(crate) payloads: Arc<AtomicUsize>,
    /// Bytes of answers that are kept.
    pub(crate) answers: Arc<AtomicUsize>,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) asker: Asker,
    /// Kept to be sent again.
    pub(crate) message: Outgoing,
}

/// A request of the peer in progress.
#[derive(Debug)]
struct Serving {
    interest: Interest,
    /// The length of its payload, until its answer begins.
    payload: usize,
    /// Its answer is a stream that has begun.
    streams: bool,
}

/// What comes out of a frame.
#[derive(Debug)]
pub(crate) enum Outcome {
    Nothing,
    /// Send this back.
    Send(Frame),
    /// Send this answer again.
    Again(Outgoing),
    /// Hand this over.
    Request(Request),
    /// The frame has no place here: count it.
    Misplaced,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Exchange {
    session: u64,
    peer: ClientId,
    lane: Lane,
    /// Counts the chunks that wait to be sent.
    account: Arc<Account>,
    attached: bool,
    calls: Arc<Calls>,
    /// The highest number that was sent.
    sent: u64,
    waiting: BTreeMap<u64, Pending>,
    streams: HashMap<u64, Pieces>,
    window: Window<Serving, Outgoing>,
    /// The payloads of all in progress.
    payloads: Share,
    /// What the window keeps.
    answers: Share,
}

impl Exchange {
    /// Not attached yet. `calls` numbers the requests to the peer.
    pub(crate) fn new(session: u64, peer: ClientId, lane: Lane, calls: Arc<Calls>) -> Self {
        Self {
            session,
            peer,
            lane,
            account: Arc::default(),
            attached: false,
            calls,
            sent: 0,
            waiting: BTreeMap::new(),
            streams: HashMap::new(),
            window: Window::default(),
            payloads: Share::default(),
            answers: Share::default(),
        }
    }

    /// Shares the bounds of the other peers of a server.
    pub(crate) fn share(&mut self, totals: &Totals) {
        self.payloads = Share::of(&totals.payloads);
        self.answers = Share::of(&totals.answers);
    }

    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// What numbers the requests to the peer.
    pub(crate) fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }

    /// All requests that were sent up to this one have ended.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.calls.acknowledged()
    }

    /// Whether no request of the peer is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        self.window.is_empty()
    }

    /// The session goes on over a connection with this account. Gives the
    /// requests to send again, in order.
    pub(crate) fn attach(&mut self, account: Arc<Account>) -> Vec<Outgoing> {
        self.account = account;
        self.attached = true;
        self.waiting.values().map(|pending| pending.message.clone()).collect()
    }

    /// The connection is lost, and the streams with it.
    pub(crate) fn detach(&mut self) {
        self.attached = false;
        for (_, pieces) in self.streams.drain() {
            // A full stream shows its reader that it was broken off.
            drop(pieces.try_send(Piece::End(Err(broken()))));
        }
        let streams: Vec<u64> = self
            .window
            .all_running()
            .filter_map(|(id, serving)| serving.streams.then_some(id))
            .collect();
        for id in streams {
            self.finish(id);
        }
    }

    /// A request is being sent.
    pub(crate) fn expect(&mut self, id: u64, pending: Pending) {
        self.sent = self.sent.max(id);
        self.waiting.insert(id, pending);
    }

    /// Takes back a request whose answer has not begun.
    pub(crate) fn take(&mut self, id: u64) -> Option<Pending> {
        let pending = self.waiting.remove(&id)?;
        self.acknowledge_all();
        Some(pending)
    }

    fn acknowledge_all(&self) {
        let first = self.waiting.first_key_value();
        self.calls.acknowledge(first.map_or(self.sent, |(first, _)| first - 1));
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn cancel(&mut self, id: u64) -> Option<Frame> {
        let streamed = self.streams.remove(&id).is_some();
        (streamed || self.take(id).is_some()).then_some(Frame::Cancel { id })
    }

    /// The time of a request is over.
    pub(crate) fn expire(&mut self, id: u64, time: Duration) -> Option<Frame> {
        let pending = self.take(id)?;
        // The caller may have left.
        drop(pending.asker.send(Err(late(time))));
        Some(Frame::Cancel { id })
    }

    /// Chunks were consumed.
    pub(crate) fn consumed(&self, id: u64, chunks: u32) -> Option<Frame> {
        self.streams.contains_key(&id).then_some(Frame::Credit { id, chunks })
    }

    /// An answer, or the beginning of a streamed one; gives it back if it is to
    /// be sent now. One that is not waits for the request to come again.
    pub(crate) fn answer(&mut self, id: u64, message: Outgoing, streams: bool) -> Option<Outgoing> {
        if streams {
            let serving = self.window.running(id)?;
            self.payloads.sub(std::mem::take(&mut serving.payload));
            serving.streams = true;
            if !self.attached {
                // It ends with the connection that it did not see.
                self.finish(id);
                return None;
            }
            return Some(message);
        }
        let serving = self.window.finish(id, message.clone(), message.cost())?;
        self.payloads.sub(serving.payload);
        self.answers.set(self.window.bytes());
        while self.answers.own() > 0 && self.answers.all() > ALL_ANSWERS {
            self.window.forget_first();
            self.answers.set(self.window.bytes());
        }
        self.attached.then_some(message)
    }

    /// Whether a chunk of an answer is still wanted; the last one ends it.
    pub(crate) fn answer_chunk(&mut self, id: u64, last: bool) -> bool {
        if last { self.finish(id) } else { self.window.running(id).is_some() }
    }

    /// A request of the peer is not in progress any more, and its answer is for
    /// nobody; whether it was.
    fn finish(&mut self, id: u64) -> bool {
        let serving = self.window.cancel(id);
        self.payloads.sub(serving.as_ref().map_or(0, |serving| serving.payload));
        serving.is_some()
    }

    /// The peer's requests up to this one have ended for it.
    pub(crate) fn acknowledge(&mut self, id: u64) {
        self.window.acknowledge(id);
        self.answers.set(self.window.bytes());
    }

    /// Who waits gets the error.
    pub(crate) fn give_up(&mut self, error: &NetworkError) {
        for (_, pending) in std::mem::take(&mut self.waiting) {
            // A caller that left meanwhile needs no error.
            drop(pending.asker.send(Err(error.clone())));
        }
        self.acknowledge_all();
    }

    /// Everything ends: who waits gets the error, who works is cancelled.
    pub(crate) fn end(&mut self, error: &NetworkError) {
        self.detach();
        self.window = Window::default();
        self.payloads.set(0);
        self.answers.set(0);
        self.give_up(error);
    }

    /// Ends, and begins another session with the peer.
    pub(crate) fn renew(&mut self, peer: ClientId, error: &NetworkError) {
        self.end(error);
        self.peer = peer;
        self.session += 1;
    }

    /// A frame of the peer.
    pub(crate) fn receive(&mut self, frame: Frame, payload: Bytes, now: Instant) -> Outcome {
        match frame {
            Frame::Request { id, acknowledged, deadline_ms, call } => {
                self.acknowledge(acknowledged);
                self.request(id, call, payload, now + Duration::from_millis(deadline_ms.into()))
            }
            Frame::Response { id, result } => self.response(id, result, payload),
            Frame::Chunk { id, end } => self.chunk(id, end, payload),
            Frame::Credit { id, chunks } => {
                if let Some(serving) = self.window.running(id) {
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

    fn request(&mut self, id: u64, call: Call, payload: Bytes, deadline: Instant) -> Outcome {
        match self.window.arrival(id) {
            Arrival::New => {}
            Arrival::Joined => return Outcome::Nothing,
            Arrival::Finished(answer) => return Outcome::Again(answer.clone()),
            Arrival::Forgotten => {
                return Outcome::Send(Frame::Response { id, result: Err(forgotten()) });
            }
        }
        if self.window.len() >= IN_PROGRESS || !self.has_room(payload.len()) {
            let result = Err(busy("too many requests are in progress"));
            return Outcome::Send(Frame::Response { id, result });
        }
        let signal = Arc::new(Signal::new());
        let interest = Interest(Arc::clone(&signal));
        self.payloads.add(payload.len());
        self.window.begin(id, Serving { interest, payload: payload.len(), streams: false });
        let (lane, account) = (self.lane.clone(), Arc::clone(&self.account));
        let way = Way { session: self.session, id, lane, account, signal };
        let responder = Responder::new(way, deadline);
        Outcome::Request(Request { peer: self.peer.clone(), call, payload, responder })
    }

    fn has_room(&self, payload: usize) -> bool {
        self.payloads.own() + payload <= PAYLOADS && self.payloads.all() + payload <= ALL_PAYLOADS
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
                let (pieces, chunks) = ChunkReceiver::new(self.session, id, self.lane.clone());
                self.streams.insert(id, pieces);
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
        let Some(pieces) = self.streams.get(&id) else { return Outcome::Nothing };
        let last = end.is_some();
        let sent = pieces.try_send(end.map_or(Piece::Chunk(chunk), Piece::End));
        if last {
            self.streams.remove(&id);
        } else if sent.is_err() {
            // The reader is gone, or the sender ignores its credit; the reader
            // then finds the stream broken off.
            self.streams.remove(&id);
            return Outcome::Send(Frame::Cancel { id });
        }
        Outcome::Nothing
    }
}

fn broken() -> NetworkError {
    let why = "the connection was lost before the stream ended";
    NetworkError::maybe_processed(ErrorKind::Unavailable, why)
}

/// The answer to a request that came again too late.
fn forgotten() -> NetworkError {
    let why = "the connection was lost, and the answer was not kept until the request came again";
    NetworkError::maybe_processed(ErrorKind::Unavailable, why)
}

/// The refusal of a request that found a queue full.
pub(crate) fn busy(why: &str) -> NetworkError {
    NetworkError::not_processed(ErrorKind::Busy, why)
}

#[cfg(test)]
mod tests;
