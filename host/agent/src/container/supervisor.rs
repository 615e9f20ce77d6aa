//! Judges a container from outside of it: timers inside would stand still while
//! it computes.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use futures::task::AtomicWaker;
use hulynet_agent_kinds::ContainerLimits;
use tokio::time::sleep_until;

use super::{
    Ending,
    handle::{Killed, Shared},
    vitals::{Verdict, Vitals},
};

/// What a container tells its supervisor, which looks at it when it has to and
/// is never woken: a container starts in less time than that takes.
pub(super) struct Pulse(Mutex<Vitals>);

impl Pulse {
    /// It begins to start.
    pub(super) fn new(limits: &ContainerLimits) -> Self {
        Self(Mutex::new(Vitals::new(limits, Instant::now())))
    }

    pub(super) fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It started, or answered a ping.
    pub(super) fn well(&self) {
        self.vitals().well(Instant::now());
    }
}

/// Runs `serving`, and ends when it does, or earlier when the container must end.
pub(super) async fn supervised(
    shared: &Shared,
    pulse: &Pulse,
    serving: impl Future<Output = Ending>,
) -> Ending {
    let alarm = Arc::new(Alarm::new());
    let (mut supervising, mut serving) = (pin!(supervise(shared, pulse)), pin!(serving));
    poll_fn(|cx| match alarm.look(supervising.as_mut(), cx) {
        Poll::Ready(ending) => Poll::Ready(ending),
        Poll::Pending => serving.as_mut().poll(cx),
    })
    .await
}

/// Has something looked at when it is woken, and not whenever the container runs:
/// what a container has not touched for a while is slow to read.
struct Alarm {
    rings: AtomicBool,
    /// Who runs the container.
    runner: AtomicWaker,
}

impl Alarm {
    /// It rings: nobody has looked yet.
    fn new() -> Self {
        Self { rings: AtomicBool::new(true), runner: AtomicWaker::new() }
    }

    fn look<T>(
        self: &Arc<Self>,
        watched: Pin<&mut impl Future<Output = T>>,
        cx: &mut Context<'_>,
    ) -> Poll<T> {
        // First, so that whoever rings after the look wakes the runner.
        self.runner.register(cx.waker());
        if !self.rings.load(Ordering::Relaxed) || !self.rings.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(self.clone());
        watched.poll(&mut Context::from_waker(&waker))
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rings.store(true, Ordering::Release);
        self.runner.wake();
    }
}

async fn supervise(shared: &Shared, pulse: &Pulse) -> Ending {
    let watching = pin!(async {
        loop {
            let verdict = pulse.vitals().look(Instant::now());
            match verdict {
                Verdict::Wait(until) => sleep_until(until.into()).await,
                Verdict::Ping => shared.mailbox.ping(),
                Verdict::End(reason) => return Ending::Unhealthy(reason),
            }
        }
    });
    tokio::select! {
        killed = shared.killed.wait() => match killed {
            Killed::Stuck(cause) => Ending::Unhealthy(cause.clone()),
            Killed::Forced(why) => Ending::Forced(why),
        },
        ending = watching => ending,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Runner(AtomicUsize);

    impl Wake for Runner {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_is_watched_is_looked_at_once_and_then_when_it_is_woken() {
        let alarm = Arc::new(Alarm::new());
        let (mut looks, mut waker) = (0, None);
        let runner = Arc::new(Runner::default());
        let runs = Waker::from(runner.clone());
        let mut watched = pin!(poll_fn(|cx| {
            looks += 1;
            let again = waker.replace(cx.waker().clone());
            if again.is_some() { Poll::Ready(looks) } else { Poll::Pending }
        }));
        let mut look = || alarm.look(watched.as_mut(), &mut Context::from_waker(&runs));
        assert_eq!((look(), look(), look()), (Poll::Pending, Poll::Pending, Poll::Pending));
        assert_eq!(runner.0.load(Ordering::SeqCst), 0);
        Waker::from(alarm.clone()).wake();
        assert_eq!(runner.0.load(Ordering::SeqCst), 1);
        assert_eq!(look(), Poll::Ready(2));
    }
}
