//! Judges a container from outside of it: timers inside would stand still while
//! it computes.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures::{StreamExt, stream::FuturesUnordered};
use hulynet_agent_kinds::ContainerLimits;
use tokio::time::sleep_until;

use super::{
    Ending,
    handle::Shared,
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
    // In a list, which looks at it when something happened to it, and not
    // whenever the container runs.
    let mut supervising = FuturesUnordered::from_iter([supervise(shared, pulse)]);
    tokio::select! {
        biased;
        Some(ending) = supervising.next() => ending,
        ending = serving => ending,
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
        () = shared.kill.notified() => match shared.stuck.get() {
            Some(cause) => Ending::Unhealthy(cause.clone()),
            None => Ending::Forced,
        },
        ending = watching => ending,
    }
}
