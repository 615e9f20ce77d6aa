//! How one container runs.
//!
//! One task owns the store. Inside of it the container works, and beside it a
//! supervisor watches the clock. Whatever ends the container drops the store, and
//! with it every call in progress; their callers are told why.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use hulynet_protocol::Activation;
use wasmtime::{Store, UpdateDeadline};

use super::{
    Ending, concurrent,
    handle::{Shared, Start},
    mailbox::{Inbox, Message},
    meter::Tick,
    serial,
    supervisor::{Pulse, supervised},
    turn::Turn,
};
use crate::{capabilities::Context, world::World};

/// Bytes that a container may hand to the host in one call: the largest is a
/// commit to documents. What is more ends it.
pub(crate) const HANDED_OVER: usize = 48 * 1024 * 1024;

/// Runs a container from its start to its end.
pub(super) async fn run(start: Start, shared: &Arc<Shared>, inbox: &mut Inbox) -> Ending {
    let world = start.code.world;
    let Some(_place) = start.services.places.take(world) else {
        return not_started(&start, &Ending::no_place());
    };
    let pulse = Pulse::new(&start.services.limits);
    let turn = Turn::new(&start.services.threads);
    let mut store = make_store(&start, shared, turn.clone());
    let _over = Over(&shared.ended);
    let ending = {
        let serving = pin!(async {
            let (store, start) = (&mut store, &start);
            match world {
                World::Container => concurrent::serve(store, start, shared, inbox, &pulse).await,
                World::ContainerSync => {
                    serial::serve(store, start, shared, inbox, &pulse, &turn).await
                }
            }
        });
        supervised(shared, &pulse, turn.within(serving)).await
    };
    match ending {
        // Somebody had it end: no failure, whether it had started or not.
        Ending::Terminated | Ending::Forced(_) => ending,
        ending if pulse.vitals().started() => ending,
        ending => not_started(&start, &ending),
    }
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
pub(super) fn conclude(ending: &Ending, shared: &Shared, inbox: Inbox) {
    shared.end(ending.cause());
    if let Ending::StartFailed(_) | Ending::Terminated | Ending::Forced(_) = ending {
        // Where it had started, that is known.
        shared.has_started(Err(ending.not_started()));
    }
    refuse_waiting(inbox, ending, &shared.activation);
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
            Tick::Begun => Ok(UpdateDeadline::Continue(1)),
            Tick::GivesWay => Ok(UpdateDeadline::YieldCustom(1, turn.next())),
            Tick::TooLong(computed) => {
                Err(wasmtime::Error::msg(format!("it computed for {computed:.1?} without a pause")))
            }
        }
    });
    store
}

/// A container that ended before it had started is a failed start.
fn not_started(start: &Start, ending: &Ending) -> Ending {
    if let Ending::Trapped { details, .. } = ending {
        tracing::error!(container = %start.activation.id, "the container failed to start: {details}");
    }
    Ending::StartFailed(ending.not_started())
}

fn refuse_waiting(mut inbox: Inbox, ending: &Ending, activation: &Activation) {
    for message in inbox.close() {
        let error = ending.unseen(activation);
        match *message {
            Message::Request { reply, .. } => reply.send(Err(error)),
            // Who gave up needs no answer.
            Message::Connect { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}
