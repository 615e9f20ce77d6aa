//! On which thread a container computes.
//!
//! Usually on those of the agent's runtime. But whoever has a request for an
//! idle container of a quick kind runs it right there: a change of thread and
//! back takes several times as long as the container does. What it does not
//! finish at once goes on in the runtime. A kind that turns out to be slow is
//! not run on the thread of a request for a while, because others wait there.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_task::Runnable;
use cpu_time::ThreadTime;
use tokio::runtime::Handle;

/// A kind is quick while its containers compute no longer than this on
/// average between two pauses: a few times what changing the thread takes.
const QUICK: Duration = Duration::from_micros(50);

/// Longer than this is an offence: nobody else on the thread should notice.
const SLOW: Duration = Duration::from_millis(1);

/// How many turns in a row a container gets on the thread of a request: what it
/// waits for then may come at once.
const TURNS: u32 = 8;

/// What a kind begins with: it has to prove itself.
const UNPROVEN: Duration = Duration::from_micros(400);

/// How long a kind is barred after its first offence; twice as long after each
/// more, up to the longest.
const BAR: Duration = Duration::from_millis(100);
const LONGEST_BAR: Duration = Duration::from_secs(30);

/// As many quick turns forgive one offence.
const FORGIVEN_AFTER: u32 = 10_000;

/// How many turns are timed by the processor's clock after one that seemed
/// slow: on a busy machine it may only have been interrupted. That clock costs
/// a system call, so it is not used for every turn.
const SUSPECT: u32 = 1_000;

/// How long a turn took.
#[derive(Clone, Copy, Debug)]
enum Took {
    /// By the processor's clock.
    Exactly(Duration),
    /// From its beginning to its end, whatever else the processor did.
    AtMost(Duration),
}

/// How long the containers of a kind compute. Pure.
#[derive(Debug)]
struct Record {
    average: Duration,
    offences: u32,
    quick: u32,
    /// Turns that are still timed by the processor's clock.
    suspect: u32,
    barred_until: Option<Instant>,
}

impl Record {
    const fn new() -> Self {
        Self { average: UNPROVEN, offences: 0, quick: 0, suspect: 0, barred_until: None }
    }

    /// Most kinds are never barred, and need no look at the clock.
    fn is_quick(&self, now: impl FnOnce() -> Instant) -> bool {
        self.average <= QUICK && self.barred_until.is_none_or(|until| until <= now())
    }

    /// Whether turns are to be timed by the processor's clock.
    fn is_suspect(&self) -> bool {
        self.suspect > 0
    }

    /// A container computed until `now`; by the processor's clock, or as it
    /// seems.
    fn computed(&mut self, now: Instant, took: Took) {
        let took = match took {
            Took::Exactly(took) => {
                self.suspect = self.suspect.saturating_sub(1);
                took
            }
            Took::AtMost(took) if took >= SLOW => {
                self.suspect = SUSPECT;
                return;
            }
            Took::AtMost(took) => took,
        };
        self.average = (self.average * 7 + took) / 8;
        if took < SLOW {
            self.quick += 1;
            if self.quick == FORGIVEN_AFTER {
                self.quick = 0;
                self.offences = self.offences.saturating_sub(1);
            }
            return;
        }
        self.suspect = SUSPECT;
        let bar = BAR.saturating_mul(1_u32.checked_shl(self.offences).unwrap_or(u32::MAX));
        self.barred_until = Some(now + bar.min(LONGEST_BAR));
        self.offences = self.offences.saturating_add(1).min(u32::BITS);
        self.quick = 0;
    }
}

/// The pace of a kind. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Arc<Mutex<Record>>);

impl Default for Pace {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Record::new())))
    }
}

impl Pace {
    fn record(&self) -> MutexGuard<'_, Record> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, task: Runnable) {
        let exact = self.record().is_suspect().then(ThreadTime::now);
        let began = Instant::now();
        // Whether it woke itself meanwhile makes no difference here.
        task.run();
        let now = Instant::now();
        let took = match exact {
            Some(began) => Took::Exactly(began.elapsed()),
            None => Took::AtMost(now.saturating_duration_since(began)),
        };
        self.record().computed(now, took);
    }
}

/// The task of a thread that has a request.
struct Here {
    takes: bool,
    task: Option<Runnable>,
}

thread_local! {
    static HERE: RefCell<Here> = const { RefCell::new(Here { takes: false, task: None }) };
}

/// Where the containers of a kind compute.
#[derive(Clone, Debug)]
pub(crate) struct Executor {
    runtime: Handle,
    pace: Pace,
}

impl Executor {
    /// Those of the runtime, and of whoever has requests, as the pace allows.
    pub(crate) fn new(runtime: Handle, pace: Pace) -> Self {
        Self { runtime, pace }
    }

    /// Runs a container.
    pub(crate) fn spawn(&self, container: impl Future<Output = ()> + Send + 'static) {
        let executor = self.clone();
        let (task, container) = async_task::spawn(container, move |task| executor.schedule(task));
        task.schedule();
        container.detach();
    }

    fn schedule(&self, task: Runnable) {
        let task = HERE.with_borrow_mut(|here| {
            if here.takes && here.task.is_none() {
                here.task = Some(task);
                return None;
            }
            Some(task)
        });
        if let Some(task) = task {
            let pace = self.pace.clone();
            self.runtime.spawn(async move { pace.run(task) });
        }
    }

    /// Does what wakes a container, and has it compute on this thread, if it is
    /// idle and its kind is quick.
    pub(crate) fn wake<T>(&self, wake: impl FnOnce() -> T) -> T {
        if !self.pace.record().is_quick(Instant::now) {
            return wake();
        }
        HERE.with_borrow_mut(|here| here.takes = true);
        let woken = wake();
        // What it begins to wait for belongs to its own runtime.
        let _inside = self.runtime.enter();
        for turn in 1..=TURNS {
            let task = HERE.with_borrow_mut(|here| {
                here.takes = turn < TURNS;
                here.task.take()
            });
            match task {
                Some(task) => self.pace.run(task),
                None => break,
            }
        }
        HERE.with_borrow_mut(|here| here.takes = false);
        woken
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    const FAST: Took = Took::AtMost(Duration::from_micros(5));

    fn proven(start: Instant) -> Record {
        let mut record = Record::new();
        for _ in 0..100 {
            record.computed(start, FAST);
        }
        record
    }

    #[test]
    fn a_kind_has_to_prove_that_it_is_quick() {
        let start = Instant::now();
        let mut record = Record::new();
        assert!(!record.is_quick(|| start));
        record.computed(start, FAST);
        assert!(!record.is_quick(|| start));
        assert!(proven(start).is_quick(|| start));
    }

    #[test]
    fn a_slow_kind_is_barred_and_longer_each_time() {
        let start = Instant::now();
        let mut record = proven(start);
        let offend = |record: &mut Record, now: Instant| {
            record.computed(now, Took::AtMost(SLOW));
            record.computed(now, Took::Exactly(SLOW));
            for _ in 0..100 {
                record.computed(now, FAST);
            }
        };
        offend(&mut record, start);
        let after = start;
        assert!(!record.is_quick(|| after + BAR - Duration::from_micros(1)));
        assert!(record.is_quick(|| after + BAR));
        offend(&mut record, start);
        assert!(!record.is_quick(|| after + BAR));
        assert!(record.is_quick(|| after + 2 * BAR));
        for _ in 0..100 {
            offend(&mut record, start);
        }
        assert!(!record.is_quick(|| after + LONGEST_BAR - Duration::from_micros(1)));
        assert!(record.is_quick(|| after + LONGEST_BAR));
    }

    #[test]
    fn a_kind_that_was_interrupted_is_not_barred_and_watched_for_a_while() {
        let start = Instant::now();
        let mut record = proven(start);
        record.computed(start, Took::AtMost(SLOW * 100));
        assert!(record.is_quick(|| start) && record.is_suspect());
        for _ in 0..SUSPECT {
            record.computed(start, Took::Exactly(Duration::from_micros(5)));
        }
        assert!(record.is_quick(|| start) && !record.is_suspect());
    }

    /// Answers on which thread it computed.
    fn container(executor: &Executor) -> mpsc::UnboundedSender<oneshot::Sender<ThreadId>> {
        let (sender, mut receiver) = mpsc::unbounded_channel::<oneshot::Sender<ThreadId>>();
        executor.spawn(async move {
            while let Some(reply) = receiver.recv().await {
                let _gone = reply.send(thread::current().id());
            }
        });
        sender
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_quick_container_computes_where_its_request_is_and_a_slow_one_elsewhere() {
        let pace = Pace::default();
        let executor = Executor::new(Handle::current(), pace.clone());
        let container = container(&executor);
        let ask = || {
            let (reply, answer) = oneshot::channel();
            executor.wake(|| container.send(reply)).unwrap();
            answer
        };
        // On a thread outside of the runtime, as a bus has one.
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    let here = thread::current().id();
                    assert_ne!(ask().blocking_recv().unwrap(), here);
                    *pace.record() = proven(Instant::now());
                    // It may not be idle yet after the first answer.
                    let quick = (0..1_000).any(|_| ask().blocking_recv().unwrap() == here);
                    assert!(quick, "it never computed here");
                    let now = Instant::now();
                    pace.record().computed(now, Took::Exactly(LONGEST_BAR));
                    assert_ne!(ask().blocking_recv().unwrap(), here);
                })
                .join()
        })
        .unwrap();
    }
}
