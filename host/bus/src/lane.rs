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

use crate::{response::Response, wire::Outgoing};

/// In place of the name of a connection: the current one of a peer, or the
/// next. Connections are named from 1.
pub(crate) const ANY: u64 = 0;

/// Who waits for the answer to a request.
pub(crate) type Asker = oneshot::Sender<Result<Response, NetworkError>>;

/// The sending end of a lane.
pub(crate) type Lane = mpsc::UnboundedSender<Command>;

/// What a handle asks of the task that owns the socket. `connection` names the
/// connection it is meant for; on another one it has no effect.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send a request. A peer takes [`ANY`] connection, too.
    Call { connection: u64, id: u64, message: Outgoing, asker: Asker },
    /// Nobody waits for the answer, or reads the stream, any more.
    Cancel { connection: u64, id: u64 },
    /// Send an answer, or a part of it.
    Answer { connection: u64, id: u64, message: Outgoing, last: bool },
    /// Chunks of a streamed answer were consumed.
    Credit { connection: u64, id: u64, chunks: u32 },
    /// Send an event.
    Event { connection: u64, message: Outgoing },
    /// Forget a session.
    Forget(ClientId),
    /// End in order, within the deadline.
    Close { deadline: Duration, done: oneshot::Sender<()> },
    /// The last handle is gone.
    End,
}
