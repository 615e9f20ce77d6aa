//! Waiting for a time to come. What the time is tell the types of
//! [`std::time`].

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};

use crate::{Error, ErrorKind, Result, Retry, host};

/// Waits so long; other requests are answered meanwhile. In a native unit test
/// every time comes at once.
///
/// # Errors
/// `busy` when the container waits for too many timers.
pub async fn sleep(duration: Duration) -> Result<()> {
    // A part of a millisecond is waited for as a whole one.
    let milliseconds = duration.as_nanos().div_ceil(1_000_000);
    host::sleep(u64::try_from(milliseconds).unwrap_or(u64::MAX)).await
}

/// Waits for something, but not longer than this.
///
/// # Errors
/// `deadline-exceeded` when the time comes first: then the future was dropped
/// where it waited. And what [`sleep`] says.
pub async fn timeout<T>(duration: Duration, future: impl Future<Output = T>) -> Result<T> {
    match select(pin!(future), pin!(sleep(duration))).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right((Err(error), _)) => Err(error),
        Either::Right((Ok(()), _)) => Err(Error::new(
            ErrorKind::DeadlineExceeded,
            Retry::MaybeProcessed,
            format!("it took longer than {duration:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_is_done_in_time_is_not_timed_out() {
        let done = timeout(Duration::ZERO, async { 1 }).now_or_never().unwrap();
        assert_eq!(done.unwrap(), 1);
        let late = timeout(Duration::from_secs(9), std::future::pending::<()>());
        let error = late.now_or_never().unwrap().unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::DeadlineExceeded, "it took longer than 9s")
        );
    }
}
