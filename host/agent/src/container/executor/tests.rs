use std::{
    future::poll_fn,
    panic::{self, AssertUnwindSafe},
    sync::Mutex,
    task::Poll,
    thread::{self, ThreadId},
};

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::container::pace::Record;

fn clock() -> Clock {
    Clock::start(|| {}).unwrap()
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
                *pace.record() = Record::proven();
                // It may not be idle yet after the first answer.
                let quick = (0..1_000).any(|_| ask().blocking_recv().unwrap() == here);
                assert!(quick, "it never computed here");
                pace.record().offend();
                assert_ne!(ask().blocking_recv().unwrap(), here);
            })
            .join()
    })
    .unwrap();
}

#[tokio::test]
async fn a_run_whose_next_one_counts_its_letters_already_ends_well() {
    let executor = Executor::new(Handle::current(), clock(), Pace::default());
    let letters = executor.letters().clone();
    let container = async move { letters.begin(u32::MAX) };
    let (task, container) = async_task::spawn(container, |_| {});
    executor.run(task);
    container.await;
}

/// Runs a container, waits until it is idle, and makes its kind a quick one.
fn idle(pace: &Pace, container: impl Future<Output = ()> + Send + 'static) {
    *pace.record() = Record::new();
    Executor::new(Handle::current(), clock(), pace.clone()).spawn(container);
    // Its first run is judged when it is over.
    while pace.record().is_new() {
        thread::yield_now();
    }
    *pace.record() = Record::proven();
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
    idle(
        &Pace::default(),
        poll_fn(move |cx| {
            let mut handled = 0;
            while let Poll::Ready(Some(())) = receiver.poll_recv(cx) {
                handled += 1;
            }
            told.lock().unwrap().push(handled);
            Poll::Pending
        }),
    );
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
    let (sender, mut receiver) = mpsc::unbounded_channel::<oneshot::Sender<(ThreadId, ThreadId)>>();
    idle(&Pace::default(), async move {
        while let Some(reply) = receiver.recv().await {
            let (first, mut left) = (thread::current().id(), 2 * AT_A_TIME.as_micros());
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
    idle(&Pace::default(), async move {
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

/// Containers of one kind that answer on which thread they computed.
fn several(count: usize, pace: &Pace) -> Vec<mpsc::UnboundedSender<oneshot::Sender<ThreadId>>> {
    let container = |_| {
        let (sender, mut receiver) = mpsc::unbounded_channel::<oneshot::Sender<ThreadId>>();
        let computed = pace.clone();
        idle(pace, async move {
            while let Some(reply) = receiver.recv().await {
                let _gone = reply.send(thread::current().id());
                computed.record().offend();
            }
        });
        sender
    };
    (0..count).map(container).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_thread_takes_no_more_containers_than_it_has_time_for() {
    let pace = Pace::default();
    let containers = several(100, &pace);
    pace.record().takes(QUICK);
    outside(|| {
        here(|| {
            for container in &containers {
                container.send(oneshot::channel().0).unwrap();
            }
            assert_eq!(taken() as u128, AT_A_TIME.as_nanos() / QUICK.as_nanos());
        });
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn when_one_shows_that_its_kind_is_slow_the_others_compute_elsewhere() {
    let containers = several(3, &Pace::default());
    outside(|| {
        let answers: Vec<_> = here(|| {
            let ask = |container: &mpsc::UnboundedSender<_>| {
                let (reply, answer) = oneshot::channel();
                container.send(reply).unwrap();
                answer
            };
            let answers = containers.iter().map(ask).collect();
            assert_eq!(taken(), containers.len());
            answers
        });
        let is_here = |answer: oneshot::Receiver<_>| {
            answer.blocking_recv().unwrap() == thread::current().id()
        };
        assert_eq!(answers.into_iter().map(is_here).collect::<Vec<_>>(), [true, false, false]);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn when_they_take_longer_than_was_expected_the_rest_computes_elsewhere() {
    let pace = Pace::default();
    let container = || {
        let (sender, mut receiver) = mpsc::unbounded_channel::<oneshot::Sender<ThreadId>>();
        idle(&pace, async move {
            while let Some(reply) = receiver.recv().await {
                let began = Instant::now();
                while began.elapsed() <= AT_A_TIME {}
                let _gone = reply.send(thread::current().id());
            }
        });
        sender
    };
    let containers = [container(), container(), container()];
    outside(|| {
        let answers = here(|| {
            let answers = containers.each_ref().map(|container| {
                let (reply, answer) = oneshot::channel();
                container.send(reply).unwrap();
                answer
            });
            assert_eq!(taken(), answers.len());
            answers
        });
        let is_here = |answer: oneshot::Receiver<_>| {
            answer.blocking_recv().unwrap() == thread::current().id()
        };
        assert_eq!(answers.map(is_here), [true, false, false]);
    });
}
