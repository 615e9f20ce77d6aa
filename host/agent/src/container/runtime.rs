//! How one container runs.
//!
//! One task owns the store. Inside of it a loop takes messages and runs the
//! calls, several at a time. Beside it a supervisor watches the clock: timers
//! inside of the loop would stand still while the container computes.
//! Whatever ends the container drops the store, and with it every call in
//! flight; their callers see their reply channels close.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hulynet_protocol::Activation;
use tokio::{
    sync::{Notify, futures::Notified, watch},
    time::sleep_until,
};
use wasmtime::{AsContextMut, Store, UpdateDeadline, component::Accessor};

use super::{
    Ending,
    awake::Awake,
    call::{self, Done},
    exports::Exports,
    handle::{Inbox, Message, Shared, Start, Started},
    turn::Turn,
    vitals::{Verdict, Vitals},
};
use crate::capabilities::{Context, from_guest};

/// Bytes that a container may hand to the host in one call: the largest is a
/// commit to documents. What is more ends it.
const HANDED_OVER: usize = 48 * 1024 * 1024;

/// How long a container that is full of calls is given to finish one of them
/// after the last of their callers has given up.
const STUCK: Duration = Duration::from_secs(1);

/// What the loop and the supervisor tell one another.
struct Pulse {
    vitals: Mutex<Vitals>,
    ping: Notify,
    changed: Notify,
}

impl Pulse {
    fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn well(&self) {
        self.vitals().well(Instant::now());
        self.changed.notify_one();
    }
}

/// Runs a container from its start to its end.
pub(super) async fn run(
    start: Start,
    shared: &Arc<Shared>,
    inbox: &mut Inbox,
    started: &watch::Sender<Started>,
) -> Ending {
    let pulse = Pulse {
        vitals: Mutex::new(Vitals::new(&start.services.limits, Instant::now())),
        ping: Notify::new(),
        changed: Notify::new(),
    };
    let turn = Turn::new(&start.services.threads);
    let awake = Arc::new(Awake::default());
    let mut store = make_store(&start, shared, turn.clone());
    let _over = Over(&shared.ended);
    let ending = {
        let serving = pin!(serve(&mut store, &start, shared, inbox, &pulse, &awake, started));
        let serving = pin!(turn.within(serving));
        let serving = pin!(awake.within(serving));
        let supervising = pin!(supervise(shared, &pulse));
        tokio::select! {
            biased;
            ending = supervising => ending,
            ending = serving => ending,
        }
    };
    if pulse.vitals().started() { ending } else { not_started(&start, ending) }
}

/// Tells streams that the container is over, before the store drops them, also
/// when a defect of the host unwinds it.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Tells everybody who waits for a container that ended. Its store is gone, and
/// with it every call in progress.
pub(super) async fn conclude(
    ending: &Ending,
    shared: &Shared,
    inbox: Inbox,
    started: &watch::Sender<Started>,
) {
    shared.end(ending.cause());
    if let Ending::StartFailed(error) = ending {
        started.send_replace(Some(Err(error.clone())));
    }
    refuse_waiting(inbox, ending, &shared.activation).await;
    shared.connections.close();
    ending.log(&shared.activation);
}

fn make_store(start: &Start, shared: &Shared, turn: Turn) -> Store<Context> {
    let context = Context::new(
        start.activation.clone(),
        start.services.clone(),
        shared.connections.clone(),
        shared.usage.clone(),
        start.share.clone(),
    );
    let mut store = Store::new(start.code.engine(), context);
    store.limiter(|context| &mut context.memory);
    store.set_hostcall_fuel(HANDED_OVER);
    store.set_max_component_handles(start.services.limits.resources);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut store| {
        let meter = &mut store.data_mut().meter;
        if turn.paused() {
            meter.pause_again();
        }
        match meter.tick(Instant::now()) {
            None => Ok(UpdateDeadline::YieldCustom(1, turn.next())),
            Some(computed) => {
                Err(wasmtime::Error::msg(format!("it computed for {computed:.1?} without a pause")))
            }
        }
    });
    store
}

/// A container that ended before it had started is a failed start.
fn not_started(start: &Start, ending: Ending) -> Ending {
    if let Ending::Trapped { details, .. } = &ending {
        tracing::error!(container = %start.activation.id, "the container failed to start: {details}");
    }
    Ending::StartFailed(ending.not_started())
}

async fn refuse_waiting(mut inbox: Inbox, ending: &Ending, activation: &Activation) {
    inbox.messages.close();
    inbox.orders.close();
    // Whoever has a place in the mailbox already is about to fill it.
    while let Some(message) = inbox.messages.recv().await {
        let error = ending.unseen(activation);
        match *message {
            Message::Request { reply, .. } => reply.send(Err(error)),
            // Who gave up needs no answer.
            Message::Connect { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// Ends when the container must, judged from outside of it.
async fn supervise(shared: &Shared, pulse: &Pulse) -> Ending {
    let watching = pin!(async {
        loop {
            let verdict = pulse.vitals().look(Instant::now());
            match verdict {
                Verdict::Wait(until) => tokio::select! {
                    () = sleep_until(until.into()) => {}
                    () = pulse.changed.notified() => {}
                },
                Verdict::Ping => pulse.ping.notify_one(),
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

/// Ends when the container does.
async fn serve(
    store: &mut Store<Context>,
    start: &Start,
    shared: &Arc<Shared>,
    inbox: &mut Inbox,
    pulse: &Pulse,
    awake: &Awake,
    started: &watch::Sender<Started>,
) -> Ending {
    let exports = match start.code.instantiate(store).await {
        Ok(exports) => exports,
        Err(error) => return Ending::trapped(&error, store.data().memory.refused()),
    };
    let extra = start.extra.clone();
    let ended = store
        .run_concurrent(async |accessor| {
            let starting = exports.start(accessor, extra);
            match entering(accessor, awake, None, pin!(starting)).await? {
                Ok(()) => {
                    pulse.well();
                    started.send_replace(Some(Ok(())));
                }
                Err(error) => return Ok(Ending::StartFailed(from_guest(error))),
            }
            let limit = start.services.limits.concurrent;
            Loop {
                accessor,
                exports: &exports,
                shared,
                pulse,
                awake,
                limit,
                calls: FuturesUnordered::new(),
                awaited: None,
            }
            .run(inbox)
            .await
        })
        .await;
    match ended {
        Ok(Ok(ending)) => ending,
        Ok(Err(error)) | Err(error) => Ending::trapped(&error, store.data().memory.refused()),
    }
}

/// Polls what enters the container. Whenever this is polled, the container has
/// given control back, so its time begins anew.
async fn entering<T>(
    accessor: &Accessor<Context>,
    awake: &Awake,
    awaited: Option<Instant>,
    mut calls: Pin<&mut impl Future<Output = T>>,
) -> T {
    std::future::poll_fn(|cx| {
        awake.look();
        accessor.with(|mut access| {
            access.get().meter.pause(awaited);
            access.as_context_mut().set_epoch_deadline(1);
        });
        let polled = calls.as_mut().poll(cx);
        if polled.is_pending() {
            awake.pauses();
        }
        polled
    })
    .await
}

/// A container that is full of calls that never end serves nobody, but may still
/// answer pings. Ends a while after the last of their callers gave up.
async fn no_longer_awaited(awaited: Option<Instant>) {
    let last = awaited.unwrap_or_else(Instant::now);
    sleep_until((last + STUCK).into()).await;
}

struct Loop<'a> {
    accessor: &'a Accessor<Context>,
    exports: &'a Exports,
    shared: &'a Arc<Shared>,
    pulse: &'a Pulse,
    awake: &'a Awake,
    limit: usize,
    calls: FuturesUnordered<BoxFuture<'a, wasmtime::Result<Done>>>,
    /// The last deadline of a request in progress.
    awaited: Option<Instant>,
}

impl<'a> Loop<'a> {
    async fn run(mut self, inbox: &mut Inbox) -> wasmtime::Result<Ending> {
        let pulse = self.pulse;
        let mut ping = pin!(pulse.ping.notified());
        loop {
            let (accessor, awake, awaited) = (self.accessor, self.awake, self.awaited);
            let next = pin!(self.next(inbox, ping.as_mut()));
            if let Some(ending) = entering(accessor, awake, awaited, next).await? {
                return Ok(ending);
            }
        }
    }

    /// Takes what comes next; answers how the container ended, if it did.
    async fn next(
        &mut self,
        inbox: &mut Inbox,
        mut ping: Pin<&mut Notified<'a>>,
    ) -> wasmtime::Result<Option<Ending>> {
        let (accessor, exports) = (self.accessor, self.exports);
        let room = self.calls.len() < self.limit;
        let hears = room || !exports.are_serial();
        tokio::select! {
            biased;
            Some(done) = self.calls.next() => return Ok(self.done(done?)),
            Some(order) = inbox.orders.recv(), if hears => {
                self.begin(call::terminate(accessor, exports, order).boxed());
            }
            Some(connection) = inbox.farewells.recv(), if room => {
                self.begin(call::disconnect(accessor, exports, connection).boxed());
            }
            () = ping.as_mut(), if hears => {
                ping.set(self.pulse.ping.notified());
                self.begin(call::ping(accessor, exports).boxed());
            }
            message = inbox.messages.recv(), if room => match message {
                Some(message) => self.take(*message),
                // Nobody holds a handle any more, so nobody can ask.
                None => return Ok(Some(Ending::Terminated)),
            },
            () = no_longer_awaited(self.awaited), if !room => return Ok(Some(Ending::Unhealthy(format!(
                "it did not finish any of {} calls, and nobody waits for them any more",
                self.calls.len()
            )))),
        }
        Ok(None)
    }

    fn begin(&mut self, call: BoxFuture<'a, wasmtime::Result<Done>>) {
        self.awake.begins();
        self.calls.push(call);
    }

    fn take(&mut self, message: Message) {
        let (accessor, exports) = (self.accessor, self.exports);
        let call = match message {
            Message::Request { incoming, weight, reply } => {
                self.awaited_until(incoming.deadline);
                let shared = self.shared.clone();
                call::request(accessor, exports, incoming, weight, reply, shared).boxed()
            }
            Message::Connect { connection, caller, deadline, reply } => {
                self.awaited_until(deadline);
                let connections = &self.shared.connections;
                call::connect(accessor, exports, connections, connection, caller, deadline, reply)
                    .boxed()
            }
        };
        self.begin(call);
    }

    /// It begins something that somebody waits for.
    fn awaited_until(&mut self, deadline: Instant) {
        self.awaited = self.awaited.max(Some(deadline));
        if self.exports.are_serial() {
            self.pulse.vitals().busy(deadline);
            self.shared.deaf.store(true, Ordering::Relaxed);
        }
    }

    fn done(&mut self, done: Done) -> Option<Ending> {
        if self.calls.is_empty() {
            self.awaited = None;
            self.shared.deaf.store(false, Ordering::Relaxed);
        }
        match done {
            Done::Served => self.pulse.vitals().sign(Instant::now()),
            Done::Well => self.pulse.well(),
            Done::Unwell(cause) => return Some(Ending::Unhealthy(cause)),
            Done::Ended => return Some(Ending::Terminated),
        }
        None
    }
}
