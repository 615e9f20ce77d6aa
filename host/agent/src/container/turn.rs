//! Turns of containers that compute on and on.
//!
//! Whoever computes on gives way at every epoch. That alone makes a request wait
//! for one such turn of everybody who computes on its thread. So containers
//! that have used up a turn queue for the next one here, in order, and only as
//! many as there are threads get one at a time: all others find a thread after
//! about one turn, however many compute. Whoever gets a turn gives way once
//! more before it begins, so that turns never follow one another without a look
//! at who else came.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The threads of an agent, for those who compute on.
#[derive(Clone, Debug)]
pub(crate) struct Threads(Arc<Semaphore>);

impl Threads {
    /// As many as the runtime has.
    pub(crate) fn of_runtime() -> Self {
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        Self(Arc::new(Semaphore::new(threads.max(1))))
    }
}

/// The turn of one container. Clones are the same turn.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    threads: Threads,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    permit: Option<OwnedSemaphorePermit>,
    /// It got its turn, which begins when others were looked at.
    due: bool,
    /// It waits for its turn.
    waits: bool,
    /// It waited for something else.
    paused: bool,
}

impl Turn {
    /// None is taken.
    pub(crate) fn new(threads: &Threads) -> Self {
        Self { threads: threads.clone(), state: Arc::default() }
    }

    /// Gives way, and ends when it is this container's turn again.
    pub(crate) fn next(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.waits();
        let turn = self.clone();
        Box::pin(async move {
            // It is never closed.
            let permit = turn.threads.0.clone().acquire_owned().await.ok();
            turn.is_due(permit);
            // The runtime's own way to yield also lets it look at its sockets
            // and timers; waking at once would keep it busy with this task.
            tokio::task::yield_now().await;
            turn.begins();
        })
    }

    /// Runs a container, and ends its turn whenever it has given control back.
    pub(crate) async fn within<T>(&self, mut running: Pin<&mut impl Future<Output = T>>) -> T {
        std::future::poll_fn(|cx| {
            let polled = running.as_mut().poll(cx);
            let mut state = self.state();
            if !state.due {
                state.permit = None;
            }
            state.paused |= !state.waits;
            polled
        })
        .await
    }

    /// Whether it waited for something other than its turn since this was asked
    /// last.
    pub(crate) fn paused(&self) -> bool {
        std::mem::take(&mut self.state().paused)
    }

    fn waits(&self) {
        let mut state = self.state();
        (state.permit, state.waits) = (None, true);
    }

    fn is_due(&self, permit: Option<OwnedSemaphorePermit>) {
        let mut state = self.state();
        (state.permit, state.due) = (permit, true);
    }

    fn begins(&self) {
        let mut state = self.state();
        (state.due, state.waits) = (false, false);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use futures::{FutureExt, future::join_all};
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[tokio::test]
    async fn only_as_many_have_a_turn_as_there_are_threads_and_all_get_one() {
        let threads = Threads(Arc::new(Semaphore::new(2)));
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let compute = async || {
            let turn = Turn::new(&threads);
            let rounds = async {
                for _ in 0..10 {
                    turn.next().await;
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    now.fetch_sub(1, Ordering::SeqCst);
                }
            };
            turn.within(pin!(rounds)).await;
        };
        join_all((0..20).map(|_| compute())).await;
        assert!(most.into_inner() <= 2);
        assert_eq!(threads.0.available_permits(), 2);
    }

    #[tokio::test]
    async fn others_wait_for_about_one_turn_however_many_compute() {
        const COMPUTING: usize = 20;
        let threads = Threads(Arc::new(Semaphore::new(1)));
        let turns = Arc::new(AtomicUsize::new(0));
        for _ in 0..COMPUTING {
            let (turn, turns) = (Turn::new(&threads), turns.clone());
            tokio::spawn(async move {
                let computing = async {
                    loop {
                        turns.fetch_add(1, Ordering::SeqCst);
                        turn.next().await;
                    }
                };
                turn.within(pin!(computing)).await;
            });
        }
        let (ask, mut asked) = mpsc::channel::<oneshot::Sender<()>>(1);
        tokio::spawn(async move {
            while let Some(reply) = asked.recv().await {
                reply.send(()).unwrap();
            }
        });
        // Asked from a task like any other: the runtime polls the test itself
        // much more seldom.
        let asking = tokio::spawn(async move {
            // Each has its first turn without waiting for one.
            while turns.load(Ordering::SeqCst) < 2 * COMPUTING {
                tokio::task::yield_now().await;
            }
            let mut most = 0;
            for _ in 0..100 {
                let before = turns.load(Ordering::SeqCst);
                let (reply, answer) = oneshot::channel();
                ask.send(reply).await.unwrap();
                answer.await.unwrap();
                most = most.max(turns.load(Ordering::SeqCst) - before);
            }
            assert!(turns.load(Ordering::SeqCst) > 2 * COMPUTING, "they computed meanwhile");
            most
        });
        let most = asking.await.unwrap();
        // One turn to be heard and one to be answered, at most about.
        assert!(most <= 4, "a request waited for {most} turns");
    }

    #[tokio::test]
    async fn waiting_for_a_turn_is_no_pause_and_waiting_for_something_else_is_one() {
        let threads = Threads(Arc::new(Semaphore::new(1)));
        let turn = Turn::new(&threads);
        turn.within(pin!(async {
            for _ in 0..3 {
                turn.next().await;
                assert!(!turn.paused());
            }
            tokio::task::yield_now().await;
            turn.next().await;
            assert!(turn.paused());
            assert!(!turn.paused());
        }))
        .await;
    }

    #[tokio::test]
    async fn one_that_waits_for_something_else_holds_no_thread() {
        let threads = Threads(Arc::new(Semaphore::new(1)));
        let turn = Turn::new(&threads);
        let had_one = AtomicBool::new(false);
        let running = pin!(async {
            turn.next().await;
            had_one.store(turn.threads.0.available_permits() == 0, Ordering::SeqCst);
            std::future::pending::<()>().await;
        });
        let mut running = pin!(turn.within(running));
        while !had_one.load(Ordering::SeqCst) {
            assert!(running.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        assert_eq!(threads.0.available_permits(), 1);
    }
}
