use std::sync::Arc;

use hulynet_protocol::Retry;
use tokio::sync::Semaphore;

use crate::StoreError;

/// Runs blocking work away from the async threads, a bounded number at once
/// with a bounded number waiting; the next one is refused as busy.
pub(super) struct Lane {
    what: &'static str,
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Lane {
    pub(super) fn new(what: &'static str, running: usize, waiting: usize) -> Self {
        Self {
            what,
            admitted: Arc::new(Semaphore::new(running + waiting)),
            running: Arc::new(Semaphore::new(running)),
        }
    }

    /// The work goes on to its end even when the caller stops waiting, and
    /// keeps its place until then.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let busy = |_| StoreError::Busy { what: self.what };
        let place = self.admitted.clone().try_acquire_owned().map_err(busy)?;
        let turn = self.running.clone().acquire_owned().await;
        let turn = turn.map_err(|_| StoreError::Busy { what: self.what })?;
        let task = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work()
        });
        task.await.unwrap_or_else(|error| {
            let (doing, reason) = (format!("{} in the store", self.what), error.to_string());
            Err(StoreError::Engine { doing, reason, retry: Retry::MaybeProcessed })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_full_lane_refuses_the_next_call_and_recovers() {
        let lane = Lane::new("reading", 1, 1);
        let (release, gate) = mpsc::channel::<()>();
        let mut first =
            Box::pin(lane.run(move || gate.recv().map_err(|_| StoreError::Busy { what: "test" })));
        let mut second = Box::pin(lane.run(|| Ok(2)));
        // One poll lets each take its place; neither can end yet.
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        assert_eq!(lane.run(|| Ok(3)).await, Err(StoreError::Busy { what: "reading" }));
        release.send(()).unwrap();
        assert_eq!(first.await, Ok(()));
        assert_eq!(second.await, Ok(2));
        assert_eq!(lane.run(|| Ok(4)).await, Ok(4));
    }

    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
