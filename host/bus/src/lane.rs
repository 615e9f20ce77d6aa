//! The way from the handles on any thread to the task that owns the socket.
//!
//! One lane per socket keeps the order of what it carries: a cancel never
//! overtakes its request. It has no bound of its own because all that it
//! carries is counted against a bound of the peer it is for:
//!
//! | command | bound | when full |
//! |---|---|---|
//! | call, cancel, credit | requests that wait for the peer's answers, and their bytes | `Busy` |
//! | answer | requests in progress for the peer | the peer's request gets `Busy` |
//! | chunk | the receiver's credit, and the peer's bytes | the sender waits |
//! | event | the peer's bytes | `Busy` |

use std::time::Duration;

use hulynet_protocol::{ClientId, NetworkError};
use tokio::sync::{mpsc, oneshot};

use crate::{original::OriginalCommand, response::Response, wire::Outgoing};

/// In place of the name of a connection or session: the one that a peer has, or
/// the next. They are named from 1.
pub(crate) const ANY: u64 = 0;

/// Who waits for the answer to a request.
pub(crate) type Asker = oneshot::Sender<Result<Response, NetworkError>>;

/// The sending end of a lane.
pub(crate) type Lane = mpsc::UnboundedSender<Command>;

/// What a handle asks of the task that owns the socket. `session` names what
/// it belongs to; in another one it has no effect.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send a request on the connection `to`; a peer takes [`ANY`], too, and
    /// whatever session it has.
    Call { to: u64, session: u64, id: u64, message: Outgoing, asker: Asker },
    /// The time of a request is over: end it, if it was not answered.
    Expire { session: u64, id: u64, time: Duration },
    /// Nobody waits for the answer, or reads the stream, any more.
    Cancel { session: u64, id: u64 },
    /// Send an answer, or the beginning of a streamed one.
    Answer { session: u64, id: u64, message: Outgoing, streams: bool },
    /// Send a chunk of a streamed answer.
    Chunk { session: u64, id: u64, message: Outgoing, last: bool },
    /// Chunks of a streamed answer were consumed.
    Credit { session: u64, id: u64, chunks: u32 },
    /// Send an event on a connection; a peer sends it on its own.
    Event { connection: u64, message: Outgoing },
    /// The same in the language of the original.
    Original(OriginalCommand),
    /// Forget a session.
    Forget(ClientId),
    /// End in order, within the deadline.
    Close { deadline: Duration, done: oneshot::Sender<()> },
    /// The last handle is gone.
    End,
}
