//! What a container of the world `container-sync` works on. It does one thing
//! at a time, so the host knows for whom, and until when whoever asked waits.
//! The engine lets no other call of the container in meanwhile: only what it
//! waits for can end, so that ends with the deadline.

use std::time::Instant;

use hulynet_protocol::{Caller, ErrorKind, NetworkError};

use super::Context;

/// A request or a connection that a container works on.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) caller: Caller,
    /// Whether the answer is waited for at all.
    pub(crate) waits: bool,
    pub(crate) deadline: Instant,
}

impl Context {
    /// In whose name the container asks others: that of the caller that it
    /// serves, or its own.
    pub(super) fn asking(&self, on_behalf: bool) -> Caller {
        let serving = self.serving.as_ref();
        let account = match serving.filter(|_| on_behalf) {
            Some(serving) => serving.caller.account.clone(),
            None => self.own_account(),
        };
        let waited_for = serving.filter(|serving| serving.waits);
        let mut path = waited_for.map(|serving| serving.caller.path.clone()).unwrap_or_default();
        path.push(self.activation.id.clone());
        Caller { account, path }
    }

    /// Until when the container may wait.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.serving.as_ref().map(|serving| serving.deadline)
    }
}

/// Does what a container waits for, as long as it may wait.
///
/// # Errors
/// Those of `work`; `DeadlineExceeded`.
pub(super) async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, NetworkError>>,
) -> Result<T, NetworkError> {
    let Some(deadline) = deadline else { return work.await };
    tokio::time::timeout_at(deadline.into(), work).await.unwrap_or_else(|_| {
        Err(NetworkError::maybe_processed(
            ErrorKind::DeadlineExceeded,
            "the deadline of the request that the container serves passed",
        ))
    })
}
