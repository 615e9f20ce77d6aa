//! On which thread a container computes.
//!
//! Usually on those of the agent's runtime. But whoever has requests for idle
//! containers of quick kinds runs these right there, when it has handed over all
//! that it has: a change of thread and back takes several times as long as such
//! a container does, and one that has several requests runs once for all of
//! them. What is not finished at once goes on in the runtime. A kind that turns
//! out to be slow is not run on the thread of a request for a while, because
//! others wait there.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_task::Runnable;
use cpu_time::ThreadTime;
use tokio::runtime::Handle;

use crate::engine::Clock;

/// A kind is quick while its containers compute no longer than this on average
/// for a letter: a few times what changing the thread takes.
const QUICK: Duration = Duration::from_micros(50);

/// Longer than this is an offence: nobody else on the thread should notice.
const SLOW: Duration = Duration::from_millis(1);

/// Letters that a container takes in a run: one of a quick kind is never so long
/// that it is an offence.
const TURN: u32 = 16;
const _: () = assert!(TURN as u128 * QUICK.as_micros() < SLOW.as_micros());

/// Containers that a thread takes at a time. Larger batches make the first one
/// wait longer for the last one.
pub(crate) const BATCH: usize = 32;

/// How many more turns containers get on the thread of their requests when each
/// had one: what they wait for then may come at once.
const TURNS: usize = 8;

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

    /// A container computed until `now`, for so many letters; by the processor's
    /// clock, or as it seems.
    fn computed(&mut self, now: Instant, took: Took, letters: u32) {
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
        self.average = (self.average * 7 + took / letters.max(1)) / 8;
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

    fn is_quick(&self) -> bool {
        self.record().is_quick(Instant::now)
    }
}

/// The letters that a container took in its present run. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Letters(Arc<AtomicU32>);

impl Letters {
    /// It takes one.
    pub(crate) fn taken(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it took as many as it may: what still waits is for its next run.
    pub(crate) fn are_enough(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= TURN
    }

    /// The run is over.
    pub(super) fn over(&self) -> u32 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// What a thread does with containers that wake.
struct Here {
    state: State,
    tasks: VecDeque<(Executor, Runnable)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It sends them to the runtime, as any thread does.
    Elsewhere,
    /// It takes those of quick kinds.
    Takes,
    /// It runs what it has taken, and takes no more.
    Ends,
}

thread_local! {
    static HERE: RefCell<Here> =
        const { RefCell::new(Here { state: State::Elsewhere, tasks: VecDeque::new() }) };
}

/// Hands requests over, and then has this thread run the containers that were
/// idle and are of quick kinds.
pub(crate) fn here<T>(hand_over: impl FnOnce() -> T) -> T {
    let before = HERE.with_borrow_mut(|here| {
        let before = here.state;
        if before == State::Elsewhere {
            here.state = State::Takes;
        }
        before
    });
    if before != State::Elsewhere {
        return hand_over();
    }
    let leaving = Leaving;
    let handed_over = hand_over();
    run_taken();
    drop(leaving);
    handed_over
}

/// Each has a turn, and a few more are for those that wake meanwhile.
fn run_taken() {
    let turns = HERE.with_borrow(|here| here.tasks.len()) + TURNS;
    for turn in 1..=turns {
        let next = HERE.with_borrow_mut(|here| {
            if turn == turns {
                here.state = State::Ends;
            }
            here.tasks.pop_front()
        });
        let Some((executor, task)) = next else { return };
        // One that ran before may have shown that its kind is slow.
        if !executor.pace.is_quick() {
            executor.elsewhere(task);
            continue;
        }
        // What it begins to wait for belongs to its own runtime.
        let _inside = executor.runtime.enter();
        executor.run(task);
    }
}

/// The thread takes nothing any more, also when something unwinds it; what it
/// did not run is for the runtime.
struct Leaving;

impl Drop for Leaving {
    fn drop(&mut self) {
        let left = HERE.with_borrow_mut(|here| {
            here.state = State::Elsewhere;
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
            let has_room = here.state == State::Takes && here.tasks.len() < BATCH;
            if has_room && self.pace.is_quick() {
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
        self.runtime.spawn(async move { executor.run(task) });
    }

    fn run(&self, task: Runnable) {
        let exact = self.pace.record().is_suspect().then(ThreadTime::now);
        let began = Instant::now();
        {
            let _running = self.clock.run();
            // Whether it woke itself meanwhile makes no difference here.
            task.run();
        }
        let now = Instant::now();
        let took = match exact {
            Some(began) => Took::Exactly(began.elapsed()),
            None => Took::AtMost(now.saturating_duration_since(began)),
        };
        self.pace.record().computed(now, took, self.letters.over());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        panic::{self, AssertUnwindSafe},
        task::Poll,
        thread::{self, ThreadId},
    };

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    fn clock() -> Clock {
        Clock::start(|| {}).unwrap()
    }

    const FAST: Took = Took::AtMost(Duration::from_micros(5));

    fn proven(start: Instant) -> Record {
        let mut record = Record::new();
        for _ in 0..100 {
            record.computed(start, FAST, 1);
        }
        record
    }

    #[test]
    fn a_kind_has_to_prove_that_it_is_quick() {
        let start = Instant::now();
        let mut record = Record::new();
        assert!(!record.is_quick(|| start));
        record.computed(start, FAST, 1);
        assert!(!record.is_quick(|| start));
        assert!(proven(start).is_quick(|| start));
    }

    #[test]
    fn a_slow_kind_is_barred_and_longer_each_time() {
        let start = Instant::now();
        let mut record = proven(start);
        let offend = |record: &mut Record, now: Instant| {
            record.computed(now, Took::AtMost(SLOW), 1);
            record.computed(now, Took::Exactly(SLOW), 1);
            for _ in 0..100 {
                record.computed(now, FAST, 1);
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
        record.computed(start, Took::AtMost(SLOW * 100), 1);
        assert!(record.is_quick(|| start) && record.is_suspect());
        for _ in 0..SUSPECT {
            record.computed(start, Took::Exactly(Duration::from_micros(5)), 1);
        }
        assert!(record.is_quick(|| start) && !record.is_suspect());
    }

    #[test]
    fn a_run_is_judged_by_what_one_of_its_letters_took() {
        let start = Instant::now();
        let mut record = proven(start);
        for _ in 0..100 {
            record.computed(start, Took::AtMost(QUICK * TURN), TURN);
        }
        assert!(record.is_quick(|| start) && !record.is_suspect());
        for _ in 0..100 {
            record.computed(start, Took::AtMost(QUICK * TURN), TURN / 2);
        }
        assert!(!record.is_quick(|| start));
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
        let executor = Executor::new(Handle::current(), clock(), pace.clone());
        let container = container(&executor);
        let ask = || {
            let (reply, answer) = oneshot::channel();
            here(|| container.send(reply)).unwrap();
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
                    pace.record().computed(now, Took::Exactly(LONGEST_BAR), 1);
                    assert_ne!(ask().blocking_recv().unwrap(), here);
                })
                .join()
        })
        .unwrap();
    }

    /// Runs a container of a kind that is quick, and waits until it is idle.
    fn idle(container: impl Future<Output = ()> + Send + 'static) {
        let executor = Executor::new(Handle::current(), clock(), Pace::default());
        executor.spawn(container);
        // Its first run is judged when it is over.
        while executor.pace.record().average == UNPROVEN && !executor.pace.record().is_suspect() {
            thread::yield_now();
        }
        *executor.pace.record() = proven(Instant::now());
    }

    /// On a thread outside of the runtime.
    fn outside<T: Send>(run: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(run).join()).unwrap()
    }

    fn taken() -> usize {
        HERE.with_borrow(|here| here.tasks.len())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_container_that_gets_several_requests_runs_once_for_all() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let runs = Arc::new(Mutex::new(Vec::new()));
        let told = runs.clone();
        idle(poll_fn(move |cx| {
            let mut handled = 0;
            while let Poll::Ready(Some(())) = receiver.poll_recv(cx) {
                handled += 1;
            }
            told.lock().unwrap().push(handled);
            Poll::Pending
        }));
        outside(|| {
            here(|| {
                for _ in 0..10 {
                    sender.send(()).unwrap();
                }
                assert_eq!(taken(), 1);
            });
            assert_eq!(*runs.lock().unwrap(), [0, 10]);
        });
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_goes_on_and_on_does_so_in_the_runtime() {
        let (sender, mut receiver) =
            mpsc::unbounded_channel::<oneshot::Sender<(ThreadId, ThreadId)>>();
        idle(async move {
            while let Some(reply) = receiver.recv().await {
                let (first, mut left) = (thread::current().id(), TURNS * 10);
                poll_fn(|cx| {
                    left -= 1;
                    cx.waker().wake_by_ref();
                    if left == 0 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                reply.send((first, thread::current().id())).unwrap();
            }
        });
        outside(|| {
            let (reply, answer) = oneshot::channel();
            here(|| sender.send(reply)).unwrap();
            let (first, last) = answer.blocking_recv().unwrap();
            assert_eq!(first, thread::current().id());
            assert_ne!(last, thread::current().id());
        });
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_thread_that_unwinds_while_it_hands_over_keeps_no_container() {
        let (sender, mut receiver) = mpsc::unbounded_channel::<oneshot::Sender<ThreadId>>();
        idle(async move {
            while let Some(reply) = receiver.recv().await {
                reply.send(thread::current().id()).unwrap();
            }
        });
        outside(|| {
            let (reply, answer) = oneshot::channel();
            let unwound = panic::catch_unwind(AssertUnwindSafe(|| {
                here(|| {
                    sender.send(reply).unwrap();
                    assert_eq!(taken(), 1);
                    panic::resume_unwind(Box::new("on purpose"));
                })
            }));
            assert_eq!(*unwound.unwrap_err().downcast::<&str>().unwrap(), "on purpose");
            assert_ne!(answer.blocking_recv().unwrap(), thread::current().id());
        });
    }
}
