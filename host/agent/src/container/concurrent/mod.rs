//! Containers of the world `container`: several calls are in progress at a
//! time, and wait side by side.

mod awake;
mod call;
mod calls;
mod work;

use std::{future::poll_fn, pin::pin, sync::Arc};

use wasmtime::{Store, component::Accessor};

use self::{
    awake::Awake,
    work::{Work, enter},
};
use super::{
    Ending, exports,
    handle::{Shared, Start},
    mailbox::Inbox,
    supervisor::Pulse,
};
use crate::{
    bindings::{exports::huly::network::guest, huly::network::types::Body},
    capabilities::{Context, from_guest},
};

type Access = Accessor<Context>;
type Exports = exports::Exports<guest::Incoming, Body, guest::Connection>;

/// Ends when the container does.
pub(super) async fn serve(
    store: &mut Store<Context>,
    start: &Start,
    shared: &Arc<Shared>,
    inbox: &mut Inbox,
    pulse: &Pulse,
) -> Ending {
    let awake = Arc::new(Awake::default());
    let worked = {
        let working = pin!(work(store, start, shared, inbox, pulse, &awake));
        awake.within(working).await
    };
    match worked {
        Ok(ending) => ending,
        Err(error) => Ending::trapped(&error, store.data().memory.refused()),
    }
}

async fn work(
    store: &mut Store<Context>,
    start: &Start,
    shared: &Arc<Shared>,
    inbox: &mut Inbox,
    pulse: &Pulse,
    awake: &Awake,
) -> wasmtime::Result<Ending> {
    let exports: Exports = start.code.instantiate(store).await?;
    let extra = start.extra.clone();
    store
        .run_concurrent(async |access| {
            let mut starting = pin!(exports.start.call_concurrent(access, (extra,)));
            let started = poll_fn(|cx| {
                awake.look();
                enter(access, None);
                starting.as_mut().poll(cx)
            });
            if let (Err(error),) = started.await? {
                return Ok(Ending::StartFailed(from_guest(error)));
            }
            pulse.well();
            shared.has_started(Ok(()));
            let limits = &start.services.limits;
            Work::new(access, &exports, limits, shared, pulse, awake).run(inbox).await
        })
        .await?
}
