//! The calling side of a request: sending it and waiting.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hulynet_protocol::{Call, ErrorKind, Frame, NetworkError};
use tokio::{
    sync::oneshot::{self, Receiver},
    time::timeout,
};

use crate::{
    account::Account,
    lane::{Command, Lane},
    response::Response,
    wire::Outgoing,
};

/// Encodes a request with what is left until its deadline in whole
/// milliseconds, rounded up: the other side gives up after its caller.
pub(crate) fn encode(
    id: u64,
    call: Call,
    payload: Bytes,
    left: Duration,
) -> Result<Outgoing, NetworkError> {
    let deadline_ms = left.as_nanos().div_ceil(1_000_000).max(1);
    let deadline_ms = u32::try_from(deadline_ms).unwrap_or(u32::MAX);
    Outgoing::new(&Frame::Request { id, deadline_ms, call }, payload)
}

/// A request on its way. Dropping it before its answer cancels it.
#[derive(Debug)]
pub(crate) struct Ask {
    lane: Lane,
    account: Arc<Account>,
    connection: u64,
    id: u64,
    answer: Receiver<Result<Response, NetworkError>>,
    answered: bool,
}

impl Ask {
    /// Hands the request to the lane.
    pub(crate) fn begin(
        lane: &Lane,
        account: &Arc<Account>,
        connection: u64,
        id: u64,
        message: Outgoing,
    ) -> Result<Self, NetworkError> {
        if !account.begin_call() {
            return Err(NetworkError::not_processed(
                ErrorKind::Busy,
                "too many requests to this peer wait for their answers; wait for some",
            ));
        }
        let (asker, answer) = oneshot::channel();
        let command = Command::Call { connection, id, message, asker };
        if lane.send(command).is_err() {
            account.end_call();
            return Err(unsent());
        }
        let (lane, account) = (lane.clone(), Arc::clone(account));
        Ok(Self { lane, account, connection, id, answer, answered: false })
    }

    /// The answer, or `late` when the time is over.
    pub(crate) async fn end(
        mut self,
        time: Duration,
        late: impl FnOnce() -> NetworkError,
    ) -> Result<Response, NetworkError> {
        let result = match timeout(time, &mut self.answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(closed()),
            Err(_elapsed) => {
                let late = late();
                // The answer may have come in between.
                match self.answer.try_recv() {
                    Ok(result) => result,
                    Err(_none) => return Err(late),
                }
            }
        };
        self.answered = true;
        result
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.account.end_call();
        if !self.answered {
            let (connection, id) = (self.connection, self.id);
            // A closed lane has nothing left to cancel.
            let _gone = self.lane.send(Command::Cancel { connection, id });
        }
    }
}

const CLOSED: &str = "this end of the connection was closed";

/// The answer of a socket that was closed meanwhile.
pub(crate) fn closed() -> NetworkError {
    NetworkError::maybe_processed(ErrorKind::Unavailable, CLOSED)
}

/// The answer of a socket that was closed before.
pub(crate) fn unsent() -> NetworkError {
    NetworkError::not_processed(ErrorKind::Unavailable, CLOSED)
}

/// The answer when the deadline passed and the request may be running.
pub(crate) fn late(time: Duration) -> NetworkError {
    NetworkError::maybe_processed(
        ErrorKind::DeadlineExceeded,
        format!("no answer came within {time:?}"),
    )
}
