//! Containers of the world `container-sync`: one thing after the other.
//!
//! Nothing else of the container runs during a call, so its engine needs no
//! support for calls in progress, which makes a call much cheaper.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use hulynet_agent_kinds::ContainerLimits;
use hulynet_protocol::{Caller, ConnectionId};
use tokio::time::{Sleep, sleep_until};
use wasmtime::{
    Store,
    component::{ComponentNamedList, Lift, Lower, TypedFunc},
};

use super::{
    Ending, STUCK,
    call::{Connected, guest_trace, still_there, unwell, wanted, whole},
    exports,
    handle::{Incoming, Shared, Start},
    mailbox::{Inbox, Letter, Message, Order},
    reply::Reply,
    supervisor::Pulse,
    turn::Turn,
};
use crate::{
    bindings::{
        exports::huly::network::guest::Termination, sync::exports::huly::network::guest_sync,
    },
    capabilities::{Context, Serving, container_id, from_guest},
};

type Exports = exports::Exports<guest_sync::Incoming, Vec<u8>, guest_sync::Connection>;

/// Ends when the container does.
pub(super) async fn serve(
    store: &mut Store<Context>,
    start: &Start,
    shared: &Arc<Shared>,
    inbox: &mut Inbox,
    pulse: &Pulse,
    turn: &Turn,
) -> Ending {
    let exports = match start.code.instantiate(store).await {
        Ok(exports) => exports,
        Err(error) => return Ending::trapped(&error, store.data().memory.refused()),
    };
    let limits = &start.services.limits;
    let mut work = Work { store, exports, limits, shared, pulse, turn };
    match work.run(start.extra.clone(), inbox).await {
        Ok(ending) | Err(ending) => ending,
    }
}

/// What a container works on.
struct Work<'a> {
    store: &'a mut Store<Context>,
    exports: Exports,
    limits: &'a ContainerLimits,
    shared: &'a Shared,
    pulse: &'a Pulse,
    turn: &'a Turn,
}

impl Work<'_> {
    /// Starts the container, and does what comes then. Whatever ends a call
    /// other than an answer ends the container.
    async fn run(&mut self, extra: Vec<u8>, inbox: &mut Inbox) -> Result<Ending, Ending> {
        if let (Err(error),) = self.call(self.exports.start, (extra,), None).await? {
            return Ok(Ending::StartFailed(from_guest(error)));
        }
        self.pulse.well();
        self.shared.has_started(Ok(()));
        loop {
            match poll_fn(|cx| inbox.poll(true, cx)).await {
                Letter::Terminate(order) => {
                    if self.terminate(order).await? {
                        return Ok(Ending::Terminated);
                    }
                }
                Letter::Disconnect(connection) => self.disconnect(&connection).await?,
                Letter::Ping => self.ping().await?,
                Letter::Abandoned => return Ok(Ending::Terminated),
                Letter::Message(message) => match *message {
                    Message::Request { incoming, weight, reply } => {
                        self.request(incoming, reply).await?;
                        drop(weight);
                    }
                    Message::Connect { connection, caller, deadline, reply } => {
                        self.connect(connection, caller, deadline, reply).await?;
                    }
                },
            }
        }
    }

    async fn request(&mut self, incoming: Incoming, reply: Reply) -> Result<(), Ending> {
        let Some((deadline_ms, reply)) = wanted(&incoming, reply) else { return Ok(()) };
        let Incoming { operation, payload, caller, deadline, idempotency, trace } = incoming;
        let incoming = guest_sync::Incoming {
            operation,
            payload: payload.into(),
            caller: guest_caller(&caller),
            deadline_ms,
            idempotency,
            trace: guest_trace(trace),
        };
        let request = self.exports.request;
        let serving = Serving { caller, waits: reply.waits(), deadline };
        let (answered,) = self.serving(serving, request, (incoming,)).await?;
        reply.send(answered.map_err(from_guest).and_then(|payload| {
            let remedy = "answer in parts that are asked for one by one";
            whole(payload, self.limits.reply_bytes, remedy)
        }));
        Ok(())
    }

    async fn connect(
        &mut self,
        connection: ConnectionId,
        caller: Caller,
        deadline: Instant,
        reply: Connected,
    ) -> Result<(), Ending> {
        let there = still_there(&self.shared.connections, &connection, reply);
        let Some(reply) = there else { return Ok(()) };
        let id = connection.as_str().to_owned();
        let connection = guest_sync::Connection { id, caller: guest_caller(&caller) };
        let connect = self.exports.connect;
        let serving = Serving { caller, waits: true, deadline };
        let (accepted,) = self.serving(serving, connect, (connection,)).await?;
        // Without a caller the connection ends by itself.
        let _ = reply.send(accepted.map_err(from_guest));
        Ok(())
    }

    async fn disconnect(&mut self, connection: &ConnectionId) -> Result<(), Ending> {
        let id = connection.as_str().to_owned();
        self.call(self.exports.disconnect, (id,), until(self.limits.request)).await?;
        self.pulse.vitals().sign(Instant::now());
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Ending> {
        let (answer,) = self.call(self.exports.ping, (), until(self.limits.ping)).await?;
        answer.map_err(|error| Ending::Unhealthy(unwell(error)))?;
        self.pulse.well();
        Ok(())
    }

    /// Whether it ends.
    async fn terminate(&mut self, order: Order) -> Result<bool, Ending> {
        let terminate = self.exports.terminate;
        let until = until(self.limits.terminate);
        let (termination,) = self.call(terminate, (order.force,), until).await?;
        self.pulse.vitals().sign(Instant::now());
        let ends = order.force || termination == Termination::Ended;
        if !ends {
            // Who ordered may have stopped waiting and asks again. Otherwise
            // the order is answered when the container is gone.
            let _ = order.reply.send(false);
        }
        Ok(ends)
    }

    /// A call that somebody waits for: until then the container may hear nothing
    /// else.
    async fn serving<P, R>(
        &mut self,
        serving: Serving,
        function: TypedFunc<P, R>,
        arguments: P,
    ) -> Result<R, Ending>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let deadline = serving.deadline;
        self.pulse.vitals().busy(deadline);
        self.shared.deaf.store(true, Ordering::Relaxed);
        self.store.data_mut().serving = Some(serving);
        let answered = self.call(function, arguments, Some(deadline)).await?;
        self.store.data_mut().serving = None;
        self.shared.deaf.store(false, Ordering::Relaxed);
        self.pulse.vitals().sign(Instant::now());
        Ok(answered)
    }

    /// A call that is waited for until then.
    async fn call<P, R>(
        &mut self,
        function: TypedFunc<P, R>,
        arguments: P,
        awaited: Option<Instant>,
    ) -> Result<R, Ending>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        // It begins to compute now, whatever it waited for before.
        self.turn.paused();
        self.store.data_mut().meter.pause(awaited);
        self.store.set_epoch_deadline(1);
        let answered = {
            let calling = pin!(function.call_async(&mut *self.store, arguments));
            in_time(calling, awaited).await
        };
        match answered {
            Some(Ok(answered)) => Ok(answered),
            Some(Err(error)) => Err(Ending::trapped(&error, self.store.data().memory.refused())),
            None => Err(Ending::Unhealthy(
                "it did not finish a call, and nobody waits for it any more".to_owned(),
            )),
        }
    }
}

/// What a call answers, unless it goes on for [`STUCK`] after nobody waits for
/// it any more: what the container waits for ends with the deadline, unless it
/// sleeps. One that is done at once needs no timer.
async fn in_time<T>(
    mut calling: Pin<&mut impl Future<Output = T>>,
    awaited: Option<Instant>,
) -> Option<T> {
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(answered) = calling.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        let Some(awaited) = awaited else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until((awaited + STUCK).into())));
        timer.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// The moment after so much time.
fn until(time: Duration) -> Option<Instant> {
    Some(Instant::now() + time)
}

fn guest_caller(caller: &Caller) -> guest_sync::Caller {
    guest_sync::Caller {
        account: caller.account.as_ref().map(|account| account.as_str().to_owned()),
        container: caller.container().map(container_id),
    }
}
