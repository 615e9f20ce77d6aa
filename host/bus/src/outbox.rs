//! The bounded way from a socket's task to its owner.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::exchange::IN_PROGRESS;

/// How many messages may wait for an owner: four times what one peer may have
/// in progress, so that one alone cannot fill it with requests.
pub(crate) const CAPACITY: usize = 4 * IN_PROGRESS;

/// Some messages may be refused when the owner is slow ([`Self::offer`]);
/// those that change what the owner knows may not ([`Self::deliver`]). They
/// wait in order, and nothing overtakes them. There are at most as many of
/// them as sessions come and go while the owner stands still.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    sender: mpsc::Sender<T>,
    backlog: VecDeque<T>,
}

impl<T> Outbox<T> {
    pub(crate) fn new() -> (Self, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { sender, backlog: VecDeque::new() }, receiver)
    }

    /// Gives the message back when the owner is too slow, or gone.
    pub(crate) fn offer(&mut self, message: T) -> Result<(), T> {
        if !self.backlog.is_empty() {
            return Err(message);
        }
        self.sender.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(message)
            | mpsc::error::TrySendError::Closed(message) => message,
        })
    }

    pub(crate) fn deliver(&mut self, message: T) {
        if let Err(message) = self.offer(message) {
            if self.sender.is_closed() {
                return;
            }
            self.backlog.push_back(message);
        }
    }

    /// Moves the backlog; ends never. Safe to drop at any point.
    pub(crate) async fn flush(&mut self) {
        while !self.backlog.is_empty() {
            let Ok(permit) = self.sender.reserve().await else {
                self.backlog.clear();
                break;
            };
            if let Some(message) = self.backlog.pop_front() {
                permit.send(message);
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn nothing_overtakes_what_must_be_delivered() {
        let (mut outbox, mut receiver) = Outbox::new();
        for number in 0..CAPACITY {
            outbox.offer(number).unwrap();
        }
        assert_eq!(outbox.offer(1), Err(1));
        outbox.deliver(CAPACITY);
        assert_eq!(receiver.try_recv(), Ok(0));
        assert_eq!(outbox.offer(2), Err(2));
        assert!(outbox.flush().now_or_never().is_none());
        outbox.deliver(CAPACITY + 1);
        for number in 1..=CAPACITY {
            assert_eq!(receiver.try_recv(), Ok(number));
        }
        assert!(outbox.flush().now_or_never().is_none());
        assert_eq!(receiver.try_recv(), Ok(CAPACITY + 1));
    }
}
