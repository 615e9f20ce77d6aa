//! The calling side of a request: sending it and waiting.

use std::{sync::Arc, time::Duration};

use hulynet_protocol::{ErrorKind, NetworkError};
use tokio::{
    sync::oneshot::{self, Receiver},
    time::timeout,
};

use crate::{
    account::Account,
    calls::Calls,
    lane::{Command, Lane},
    response::Response,
    wire::Draft,
};

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct To {
    /// As in [`Command::Call`].
    pub(crate) to: u64,
    /// In which session it is numbered.
    pub(crate) session: u64,
}

/// A request on its way. Dropping it before its answer cancels it.
#[derive(Debug)]
pub(crate) struct Ask {
    lane: Lane,
    account: Arc<Account>,
    session: u64,
    id: u64,
    answer: Receiver<Result<Response, NetworkError>>,
    answered: bool,
}

impl Ask {
    /// Hands the request to the lane, as one of `calls`.
    pub(crate) fn begin(
        lane: &Lane,
        account: &Arc<Account>,
        calls: &Calls,
        to: To,
        draft: Draft,
    ) -> Result<Self, NetworkError> {
        if !account.begin_call() {
            return Err(NetworkError::not_processed(
                ErrorKind::Busy,
                "too many requests to this peer wait for their answers; wait for some",
            ));
        }
        let (asker, answer) = oneshot::channel();
        let To { to, session } = to;
        let sent = calls.send(|id, acknowledged| {
            let message = draft.number(id, acknowledged);
            lane.send(Command::Call { to, session, id, message, asker }).map(|()| id)
        });
        let Ok(id) = sent else {
            account.end_call();
            return Err(unsent());
        };
        let (lane, account) = (lane.clone(), Arc::clone(account));
        Ok(Self { lane, account, session, id, answer, answered: false })
    }

    /// The answer; when the time is over, whoever has the request says what
    /// became of it.
    pub(crate) async fn end(mut self, time: Duration) -> Result<Response, NetworkError> {
        let result = match timeout(time, &mut self.answer).await {
            Ok(result) => result,
            Err(_elapsed) => {
                let (session, id) = (self.session, self.id);
                // A closed lane has ended the request.
                let _ended = self.lane.send(Command::Expire { session, id, time });
                (&mut self.answer).await
            }
        };
        self.answered = true;
        result.unwrap_or_else(|_dropped| Err(closed()))
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.account.end_call();
        if !self.answered {
            let (session, id) = (self.session, self.id);
            // A closed lane has nothing left to cancel.
            let _gone = self.lane.send(Command::Cancel { session, id });
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
        format!("no answer came within {} ms", time.as_millis()),
    )
}
