//! Moves the engines' epochs on while containers run.
//!
//! When none has run for a while the clock stands, so that an idle agent does not
//! wake the processor hundreds of times a second.

use std::{
    io,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

/// The time between two epochs: how long a container computes before others
/// get a turn, and up to twice as long at first. A request that finds all
/// threads computing waits about as long; shorter ones cost more than they gain.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// Epochs in which no container ran before the clock stands: to start it again
/// costs a system call, so it is not done between requests that follow closely.
const IDLE: u32 = 50;

/// The clock of an agent. Clones are the same; it ends with the last one.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Containers that run now.
    running: AtomicUsize,
    /// One ran since the last epoch.
    ran: AtomicBool,
    /// It stands until this is false and its thread is woken.
    stands: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Clock {
    /// Starts one that calls `moves_on` at each epoch.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(crate) fn start(moves_on: impl Fn() + Send + 'static) -> io::Result<Self> {
        let clock = Self(Arc::default());
        let state = Arc::downgrade(&clock.0);
        let thread = thread::Builder::new()
            .name("wasm-epochs".to_owned())
            .spawn(move || go(&state, moves_on))?;
        clock.0.thread.get_or_init(|| thread.thread().clone());
        Ok(clock)
    }

    /// A container runs until this is dropped, and as long the clock goes.
    pub(crate) fn run(&self) -> Running<'_> {
        let state = &*self.0;
        // Usually it is known already, and then nothing is written.
        if !state.ran.load(Ordering::Relaxed) {
            state.ran.store(true, Ordering::Relaxed);
        }
        // Either its thread sees that one runs, or it is seen here that it stands.
        state.running.fetch_add(1, Ordering::SeqCst);
        if state.stands.load(Ordering::SeqCst) {
            state.wake();
        }
        Running(state)
    }
}

impl State {
    fn wake(&self) {
        if self.stands.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether a container ran since this was asked last, or still does.
    fn is_used(&self) -> bool {
        self.ran.swap(false, Ordering::Relaxed) || self.running.load(Ordering::SeqCst) > 0
    }

    /// Whether it stands from now on.
    fn stops(&self) -> bool {
        self.stands.store(true, Ordering::SeqCst);
        let stops = self.running.load(Ordering::SeqCst) == 0;
        if !stops {
            self.stands.store(false, Ordering::SeqCst);
        }
        stops
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.wake();
    }
}

/// A container that runs.
pub(crate) struct Running<'a>(&'a State);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Until nobody has the clock any more.
fn go(clock: &Weak<State>, moves_on: impl Fn()) {
    let mut idle = 0;
    while let Some(state) = clock.upgrade() {
        idle = if state.is_used() { 0 } else { idle + 1 };
        let stops = idle >= IDLE && state.stops();
        drop(state);
        if stops {
            while clock.upgrade().is_some_and(|state| state.stands.load(Ordering::SeqCst)) {
                thread::park();
            }
            idle = 0;
        }
        thread::sleep(TICK);
        moves_on();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A clock, and what receives a message at each epoch.
    fn clock() -> (Clock, mpsc::Receiver<()>) {
        let (sender, epochs) = mpsc::channel();
        let clock = Clock::start(move || {
            // Who does not listen any more needs no epoch.
            let _gone = sender.send(());
        })
        .unwrap();
        (clock, epochs)
    }

    /// Waits until it stands.
    fn stand(clock: &Clock) {
        while !clock.0.stands.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }

    #[test]
    fn it_goes_as_long_as_a_container_runs() {
        let (clock, epochs) = clock();
        let running = clock.run();
        for _ in 0..2 * IDLE {
            epochs.recv().unwrap();
            assert!(!clock.0.stands.load(Ordering::SeqCst));
        }
        drop(running);
        stand(&clock);
    }

    #[test]
    fn it_stands_when_none_runs_and_goes_again_for_the_next_one() {
        let (clock, epochs) = clock();
        for _ in 0..3 {
            stand(&clock);
            while epochs.try_recv().is_ok() {}
            let _running = clock.run();
            assert!(!clock.0.stands.load(Ordering::SeqCst));
            epochs.recv().unwrap();
        }
    }

    #[test]
    fn it_is_used_by_who_runs_and_by_who_ran_since_it_was_asked_last() {
        let clock = Clock(Arc::default());
        assert!(!clock.0.is_used());
        drop(clock.run());
        assert!(clock.0.is_used());
        assert!(!clock.0.is_used());
        let _running = clock.run();
        for _ in 0..3 {
            assert!(clock.0.is_used());
        }
    }

    #[test]
    fn it_ends_with_the_last_who_has_it() {
        for idle in [false, true] {
            let (clock, epochs) = clock();
            if idle {
                stand(&clock);
            }
            let last = clock.clone();
            drop(clock);
            drop(last);
            while epochs.recv().is_ok() {}
        }
    }
}
