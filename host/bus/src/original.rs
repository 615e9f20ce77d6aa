//! Requests in the language of the original, as owners see them.
//!
//! The bus keeps the rules of its sessions and passes JSON on as it is: what
//! a request means is for its owner to say.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use hulynet_backrpc::{records::write_error, session::Ticket};
use hulynet_protocol::{ClientId, NetworkError};
use tokio::sync::oneshot;

use crate::{
    account::Account,
    lane::{Command, Lane},
    signal::{Interest, Signal},
};

/// The answer to a question to a peer: the JSON of its result, or of its
/// error.
pub type OriginalAnswer = Result<Bytes, Bytes>;

/// Who asked a peer.
pub(crate) type OriginalAsker = oneshot::Sender<Result<OriginalAnswer, NetworkError>>;

/// A request that arrived. Dropping the responder unanswered answers with an
/// error, so every request ends.
#[derive(Debug)]
pub struct OriginalRequest {
    /// Who asks.
    pub peer: ClientId,
    /// The JSON of a method and its parameters, not checked.
    pub body: Bytes,
    /// Answers it.
    pub responder: OriginalResponder,
}

/// Answers one request, once.
#[derive(Debug)]
pub struct OriginalResponder {
    lane: Lane,
    place: Arc<AtomicU64>,
    signal: Arc<Signal>,
    ticket: Option<Ticket>,
}

/// What the session keeps of a request in progress.
#[derive(Debug)]
pub(crate) struct Hold {
    _interest: Interest,
    place: Arc<AtomicU64>,
    share: Share,
}

impl Hold {
    /// The peer is reached on another connection from here on.
    pub(crate) fn moved(&self, connection: u64) {
        self.place.store(connection, Ordering::Release);
    }

    /// The bytes of the request.
    pub(crate) fn length(&self) -> usize {
        self.share.length
    }
}

/// A request's part of the bytes in progress of all peers.
#[derive(Debug)]
struct Share {
    length: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.fetch_sub(self.length, Ordering::Relaxed);
    }
}

/// Bytes that wait on the lane, as a part of a peer's account.
#[derive(Debug)]
pub(crate) struct Waiting {
    account: Arc<Account>,
    length: usize,
}

impl Waiting {
    pub(crate) fn new(account: &Arc<Account>, length: usize) -> Self {
        account.add(length);
        Self { account: Arc::clone(account), length }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.account.sub(self.length);
    }
}

/// What handles ask of the task that owns the socket. What names a connection
/// is about the peer that had it, wherever it is now.
#[derive(Debug)]
pub(crate) enum OriginalCommand {
    /// Ask a peer.
    Ask { connection: u64, number: u64, body: Bytes, asker: OriginalAsker, waiting: Waiting },
    /// Nobody waits for its answer any more.
    GiveUp { connection: u64, number: u64 },
    /// Answer a request.
    Answer { connection: u64, ticket: Ticket, result: OriginalAnswer },
    /// Have a request sent again.
    PutOff { connection: u64, ticket: Ticket, ticks: usize },
    /// Tell a peer something.
    Event { connection: u64, body: Bytes, waiting: Waiting },
    /// Tell all of them.
    Broadcast(Bytes),
}

impl OriginalResponder {
    /// For a request of `length` bytes; `all` counts those of all peers.
    pub(crate) fn new(
        lane: Lane,
        connection: u64,
        ticket: Ticket,
        length: usize,
        all: &Arc<AtomicUsize>,
    ) -> (Self, Hold) {
        let signal = Arc::new(Signal::new());
        let place = Arc::new(AtomicU64::new(connection));
        all.fetch_add(length, Ordering::Relaxed);
        let share = Share { length, all: Arc::clone(all) };
        let _interest = Interest(Arc::clone(&signal));
        let hold = Hold { _interest, place: Arc::clone(&place), share };
        (Self { lane, place, signal, ticket: Some(ticket) }, hold)
    }

    /// Answers with the JSON of a result.
    pub fn reply(mut self, result: Bytes) {
        self.end(Ok(result));
    }

    /// Answers with an error; it carries no stack.
    pub fn refuse(mut self, message: &str) {
        self.end(Err(write_error(message)));
    }

    /// Has the peer send the request again, after so many of its ticks: for
    /// what will be possible soon.
    pub fn put_off(mut self, ticks: usize) {
        let Some(ticket) = self.ticket.take() else { return };
        let connection = self.place.load(Ordering::Acquire);
        self.send(OriginalCommand::PutOff { connection, ticket, ticks });
    }

    /// Ends when nobody waits for the answer any more. Work may be stopped
    /// then.
    pub async fn cancelled(&self) {
        self.signal.gone().await;
    }

    fn end(&mut self, result: OriginalAnswer) {
        let Some(ticket) = self.ticket.take() else { return };
        if self.signal.is_gone() {
            return;
        }
        let connection = self.place.load(Ordering::Acquire);
        self.send(OriginalCommand::Answer { connection, ticket, result });
    }

    fn send(&self, command: OriginalCommand) {
        // A closed lane means that the socket is gone, and the caller with it.
        let _gone = self.lane.send(Command::Original(command));
    }
}

impl Drop for OriginalResponder {
    fn drop(&mut self) {
        self.end(Err(write_error("the request was dropped without an answer")));
    }
}

/// A question on its way. Dropping it before its answer gives it up.
#[derive(Debug)]
pub(crate) struct OriginalAsk {
    pub(crate) lane: Lane,
    pub(crate) account: Arc<Account>,
    pub(crate) connection: u64,
    pub(crate) number: u64,
}

impl Drop for OriginalAsk {
    fn drop(&mut self) {
        self.account.end_call();
        let (connection, number) = (self.connection, self.number);
        // One that was answered is not found; a closed lane has nothing left.
        let command = OriginalCommand::GiveUp { connection, number };
        let _gone = self.lane.send(Command::Original(command));
    }
}
