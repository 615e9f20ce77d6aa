//! Wakes a container only for what it has not seen yet.
//!
//! What a container waits for often comes while it runs: its own computing
//! finishes a call. It looks at everything again before it pauses, so to run it
//! once more for that would find nothing to do. The other way round there is one
//! exception: wasmtime lets it look a last time after it has looked for work
//! itself, so what begins then is only done in another run.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Wake, Waker},
};

use futures::task::AtomicWaker;

/// It waits, and nothing came.
const PAUSED: u8 = 0;
/// It runs, and has seen all that came.
const RUNS: u8 = 1;
/// Something came that it has not seen.
const WOKEN: u8 = 2;

/// Whether a container has seen all that came.
#[derive(Debug, Default)]
pub(super) struct Awake {
    state: AtomicU8,
    /// Who runs it.
    runner: AtomicWaker,
}

impl Awake {
    /// Runs what calls [`Awake::look`] whenever it is about to look at
    /// everything that it waits for.
    pub(super) async fn within<T>(
        self: &Arc<Self>,
        mut running: Pin<&mut impl Future<Output = T>>,
    ) -> T {
        let waker = Waker::from(self.clone());
        std::future::poll_fn(|cx| {
            self.runner.register(cx.waker());
            self.look();
            let polled = running.as_mut().poll(&mut std::task::Context::from_waker(&waker));
            let unseen =
                self.state.compare_exchange(RUNS, PAUSED, Ordering::AcqRel, Ordering::Acquire);
            if polled.is_pending() && unseen.is_err() {
                self.state.swap(PAUSED, Ordering::AcqRel);
                cx.waker().wake_by_ref();
            }
            polled
        })
        .await
    }

    /// It looks at everything: what came before this needs no other run.
    pub(super) fn look(&self) {
        self.state.swap(RUNS, Ordering::AcqRel);
    }

    /// It began something at this look, or left letters; unless it looks again,
    /// that is still to be done.
    pub(super) fn leaves(&self) {
        self.state.swap(WOKEN, Ordering::AcqRel);
    }
}

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == PAUSED {
            self.runner.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn},
        pin::pin,
        sync::atomic::AtomicUsize,
        task::{Context, Poll},
        time::Duration,
    };

    use futures::FutureExt;
    use tokio::sync::mpsc;

    use super::*;

    #[derive(Default)]
    struct Runner(AtomicUsize);

    impl Wake for Runner {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Runner {
        fn woken(&self) -> usize {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    /// Polls it once; answers how often it asked for another run.
    fn run(running: Pin<&mut impl Future<Output = ()>>) -> (usize, Arc<Runner>) {
        let runner = Arc::new(Runner::default());
        let waker = Waker::from(runner.clone());
        let _pending = running.poll(&mut Context::from_waker(&waker));
        (runner.woken(), runner)
    }

    #[test]
    fn what_came_before_it_looked_needs_no_other_run() {
        let awake = Arc::new(Awake::default());
        let container = pin!(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            awake.look();
            Poll::<()>::Pending
        }));
        assert_eq!(run(pin!(awake.within(container))).0, 0);
    }

    #[test]
    fn what_came_after_it_looked_does() {
        let awake = Arc::new(Awake::default());
        let container = pin!(poll_fn(|cx| {
            awake.look();
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        assert_eq!(run(pin!(awake.within(container))).0, 1);
    }

    #[test]
    fn what_it_began_at_its_last_look_is_done_in_another_run() {
        let awake = Arc::new(Awake::default());
        let mut looks = 0..3;
        let container = pin!(poll_fn(|_| {
            awake.look();
            if looks.next() == Some(0) {
                awake.leaves();
            }
            Poll::<()>::Pending
        }));
        let mut running = pin!(awake.within(container));
        assert_eq!(run(running.as_mut()).0, 1);
        assert_eq!(run(running).0, 0);
    }

    #[test]
    fn what_it_began_before_its_last_look_is_done() {
        let awake = Arc::new(Awake::default());
        let container = pin!(poll_fn(|_| {
            awake.look();
            awake.leaves();
            awake.look();
            Poll::<()>::Pending
        }));
        assert_eq!(run(pin!(awake.within(container))).0, 0);
    }

    #[test]
    fn what_comes_while_it_pauses_wakes_it_once() {
        let awake = Arc::new(Awake::default());
        let container = pin!(pending::<()>());
        let (woken, runner) = run(pin!(awake.within(container)));
        assert_eq!(woken, 0);
        awake.wake_by_ref();
        awake.wake_by_ref();
        assert_eq!(runner.woken(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_that_comes_meanwhile_is_missed() {
        const MESSAGES: usize = 100_000;
        let (sender, mut receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..MESSAGES {
                sender.send(()).await.unwrap();
            }
        });
        let awake = Arc::new(Awake::default());
        let looking = awake.clone();
        let container = pin!(async move {
            for _ in 0..MESSAGES {
                let mut next = pin!(receiver.recv());
                poll_fn(|cx| {
                    looking.look();
                    next.poll_unpin(cx)
                })
                .await
                .unwrap();
            }
        });
        tokio::time::timeout(Duration::from_secs(60), awake.within(container)).await.unwrap();
    }
}
