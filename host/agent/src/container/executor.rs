//! On which thread a container computes.
//!
//! Usually on those of the agent's runtime. But whoever has requests for idle
//! containers of quick kinds runs these right there, when it has handed over all
//! that it has: they answer sooner than with a change of thread and back, and one
//! that has several requests runs once for all of them. What is not finished soon
//! goes on in the runtime. A kind that turns out to be slow is not run on the
//! thread of a request for a while, because others wait there.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_task::Runnable;
use cpu_time::ThreadTime;
use tokio::runtime::Handle;

use super::pace::{MOST_LETTERS, Pace, QUICK, Took};
use crate::engine::Clock;

/// How long the containers that a thread takes at a time compute, to judge by
/// their kinds: so long others wait for that thread.
const AT_A_TIME: Duration = Duration::from_millis(1);
const _: () = assert!(QUICK.as_nanos() <= AT_A_TIME.as_nanos());

/// No run is expected to take less, so that there is an end to them.
const LEAST: Duration = Duration::from_micros(1);

/// The letters that a container may still take in its present run. Clones are the
/// same.
#[derive(Clone, Debug)]
pub(crate) struct Letters(Arc<AtomicU32>);

impl Default for Letters {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(MOST_LETTERS)))
    }
}

impl Letters {
    /// A run begins, in which it may take so many.
    pub(super) fn begin(&self, letters: u32) {
        self.0.store(letters, Ordering::Relaxed);
    }

    /// It takes one of those that are left.
    pub(super) fn taken(&self) {
        self.0.store(self.left().saturating_sub(1), Ordering::Relaxed);
    }

    /// How many it may still take: when it is none, what still waits is for its
    /// next run.
    pub(super) fn left(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a thread does with containers that wake.
struct Here {
    /// How long those may compute that it still takes; it takes none, as any
    /// thread, while it has not said that it does.
    room: Option<Duration>,
    tasks: VecDeque<(Executor, Runnable)>,
}

impl Here {
    /// Makes room for a run of a container with this pace, if there is any.
    fn makes_room(&mut self, pace: &Pace) -> bool {
        let left = self.room.and_then(|room| {
            let expected = pace.record().quick(Instant::now)?;
            room.checked_sub(expected.max(LEAST))
        });
        self.room = left.or(self.room);
        left.is_some()
    }
}

thread_local! {
    static HERE: RefCell<Here> =
        const { RefCell::new(Here { room: None, tasks: VecDeque::new() }) };
}

/// Hands requests over, and then has this thread run the containers that were
/// idle and are of quick kinds.
pub(crate) fn here<T>(hand_over: impl FnOnce() -> T) -> T {
    let is_outermost = HERE.with_borrow_mut(|here| {
        let is_outermost = here.room.is_none();
        if is_outermost {
            here.room = Some(AT_A_TIME);
        }
        is_outermost
    });
    if !is_outermost {
        return hand_over();
    }
    let leaving = Leaving;
    let handed_over = hand_over();
    run_taken();
    drop(leaving);
    handed_over
}

/// Also those that wake meanwhile. The rest is for the runtime when these took as
/// long as a thread may.
fn run_taken() {
    let mut ends = None;
    while let Some((executor, task)) = HERE.with_borrow_mut(|here| here.tasks.pop_front()) {
        // One that ran before may have shown that its kind is slow.
        if executor.pace.record().quick(Instant::now).is_none() {
            executor.elsewhere(task);
            continue;
        }
        // What it begins to wait for belongs to its own runtime.
        let _inside = executor.runtime.enter();
        let (began, ended) = executor.run(task);
        if ended >= *ends.get_or_insert(began + AT_A_TIME) {
            return;
        }
    }
}

/// The thread takes nothing any more, also when something unwinds it; what it
/// did not run is for the runtime.
struct Leaving;

impl Drop for Leaving {
    fn drop(&mut self) {
        let left = HERE.with_borrow_mut(|here| {
            here.room = None;
            // Usually nothing, and then there is room for the next ones already.
            (!here.tasks.is_empty()).then(|| std::mem::take(&mut here.tasks))
        });
        for (executor, task) in left.into_iter().flatten() {
            executor.elsewhere(task);
        }
    }
}

/// Where a container computes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Executor {
    runtime: Handle,
    clock: Clock,
    pace: Pace,
    letters: Letters,
}

impl Executor {
    /// On the threads of the runtime, and of whoever has requests, as the pace of
    /// its kind allows.
    pub(crate) fn new(runtime: Handle, clock: Clock, pace: Pace) -> Self {
        Self { runtime, clock, pace, letters: Letters::default() }
    }

    /// What the container counts its letters with.
    pub(super) fn letters(&self) -> &Letters {
        &self.letters
    }

    /// Runs the container.
    pub(crate) fn spawn(&self, container: impl Future<Output = ()> + Send + 'static) {
        let executor = self.clone();
        let (task, container) = async_task::spawn(container, move |task| executor.schedule(task));
        task.schedule();
        container.detach();
    }

    fn schedule(&self, task: Runnable) {
        let task = HERE.with_borrow_mut(|here| {
            if here.makes_room(&self.pace) {
                here.tasks.push_back((self.clone(), task));
                return None;
            }
            Some(task)
        });
        if let Some(task) = task {
            self.elsewhere(task);
        }
    }

    fn elsewhere(&self, task: Runnable) {
        let executor = self.clone();
        self.runtime.spawn(async move {
            executor.run(task);
        });
    }

    /// Runs it once; answers from when to when that was.
    fn run(&self, task: Runnable) -> (Instant, Instant) {
        let (letters, is_suspect) = {
            let record = self.pace.record();
            (record.letters(), record.is_suspect())
        };
        self.letters.begin(letters);
        let exact = is_suspect.then(ThreadTime::now);
        let began = Instant::now();
        {
            let _running = self.clock.run();
            // Whether it woke itself meanwhile makes no difference to its time.
            task.run();
        }
        let now = Instant::now();
        let took = match exact {
            Some(began) => Took::Exactly(began.elapsed()),
            None => Took::AtMost(now.saturating_duration_since(began)),
        };
        // A container that woke meanwhile may run on another thread already and
        // count anew: then what is left is that of its next run.
        let taken = letters.saturating_sub(self.letters.left());
        self.pace.record().computed(now, took, taken);
        (began, now)
    }
}

#[cfg(test)]
mod tests;
