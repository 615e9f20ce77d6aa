//! One timer of a loop.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// Rings at a time that may change. A timer is only touched when the time is
/// another one, so that a loop that goes round for every message does not pay
/// for a timer each time.
#[derive(Debug)]
pub(crate) struct Alarm {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    pub(crate) fn new(at: Instant) -> Self {
        Self { at, sleep: Box::pin(sleep_until(at)) }
    }

    /// Ends at that time. Safe to drop, and to call again for another time.
    pub(crate) async fn at(&mut self, at: Instant) {
        if self.at != at || self.sleep.is_elapsed() {
            self.at = at;
            self.sleep.as_mut().reset(at);
        }
        self.sleep.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn it_rings_at_the_last_time_that_was_set() {
        let now = Instant::now();
        let mut alarm = Alarm::new(now + Duration::from_secs(60));
        assert!(alarm.at(now + Duration::from_secs(60)).now_or_never().is_none());
        alarm.at(now + Duration::from_millis(1)).await;
        assert!(Instant::now() >= now + Duration::from_millis(1));
        assert!(alarm.at(now + Duration::from_secs(60)).now_or_never().is_none());
        alarm.at(Instant::now()).await;
    }
}
