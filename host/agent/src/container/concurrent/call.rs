//! One call into a container.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use hulynet_protocol::{Caller, ConnectionId};
use wasmtime::AsContextMut;

use super::{Access, Exports};
use crate::{
    bindings::{
        exports::huly::network::guest,
        huly::network::{common::Error, types::Body},
    },
    capabilities::{CallerHandle, Connections, GivenUp, from_guest, read_chunks},
    container::{
        call::{Connected, guest_trace, still_there, unwell, wanted, whole},
        handle::{Incoming, Shared},
        mailbox::{Order, Weight},
        reply::Reply,
    },
    network::Answer,
};

/// What a finished call means for the container.
pub(super) enum Done {
    /// It goes on.
    Served,
    /// It answered a ping.
    Well,
    /// It says that it is not well.
    Unwell(String),
    /// It has finished.
    Ended,
}

/// A request, whose answer may have at most `limit` bytes. A failure in here is
/// the container's end.
pub(super) async fn request(
    access: &Access,
    exports: &Exports,
    limit: usize,
    incoming: Incoming,
    _weight: Weight,
    reply: Reply,
    shared: Arc<Shared>,
) -> wasmtime::Result<Done> {
    let Some((deadline_ms, mut reply)) = wanted(&incoming, reply) else {
        return Ok(Done::Served);
    };
    let answer = match answer(access, exports, incoming, deadline_ms, &mut reply).await? {
        Ok(Body::Payload(payload)) => {
            whole(payload, limit, "stream larger ones, or answer in parts")
        }
        Ok(Body::Chunks(reader)) => {
            let (ended, broke_off) = (shared.ended.clone(), shared.broke_off());
            access.with(|access| read_chunks(access, reader, ended, broke_off))?.map(Answer::Chunks)
        }
        Err(error) => Err(from_guest(error)),
    };
    // The caller may have given up; its chunks are then dropped with it.
    reply.send(answer);
    Ok(Done::Served)
}

/// Asks the container; it is told when nobody waits for `reply` any more.
async fn answer(
    access: &Access,
    exports: &Exports,
    incoming: Incoming,
    deadline_ms: u32,
    reply: &mut Reply,
) -> wasmtime::Result<Result<Body, Error>> {
    let Incoming { operation, payload, caller, idempotency, trace, .. } = incoming;
    let (payload, trace) = (payload.into(), guest_trace(trace));
    let given_up = Arc::<GivenUp>::default();
    let caller = CallerHandle { caller, waits: reply.waits(), given_up: given_up.clone() };
    let path = caller.waiting().to_vec();
    let waited_for = !path.is_empty();
    let call = access.with(|mut access| -> wasmtime::Result<_> {
        let caller = access.get().table.push(caller)?;
        let incoming =
            guest::Incoming { operation, payload, caller, deadline_ms, idempotency, trace };
        let call = exports.request.start_call_concurrent(access.as_context_mut(), (incoming,))?;
        if waited_for {
            access.get().paths.began(call.task(), path);
        }
        Ok(call)
    })?;
    let task = call.task();
    let mut answering = pin!(exports.request.finish_call_concurrent(access, call));
    let answered = match at_once(answering.as_mut()).await {
        Some(answered) => answered,
        None => tokio::select! {
            biased;
            answered = &mut answering => answered,
            () = reply.gone() => {
                given_up.tell();
                answering.await
            }
        },
    };
    if waited_for {
        access.with(|mut access| access.get().paths.ended(task));
    }
    Ok(answered?.0)
}

/// The answer of a container that needs no pause for it. It computes between two
/// looks at it, so the second one tells. Whoever takes longer is worth the timer
/// that watches whether somebody still waits.
async fn at_once<T>(mut answering: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut looked = false;
    poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if looked => Poll::Ready(None),
        Poll::Pending => {
            looked = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// A client connects.
pub(super) async fn connect(
    access: &Access,
    exports: &Exports,
    connections: &Connections,
    connection: ConnectionId,
    caller: Caller,
    reply: Connected,
) -> wasmtime::Result<Done> {
    let Some(reply) = still_there(connections, &connection, reply) else {
        return Ok(Done::Served);
    };
    // Whoever accepts a client does not work for it: there is nothing to give
    // up.
    let caller = CallerHandle { caller, waits: true, given_up: Arc::default() };
    let caller = access.with(|mut access| access.get().table.push(caller))?;
    let id = connection.as_str().to_owned();
    let (accepted,) =
        exports.connect.call_concurrent(access, (guest::Connection { id, caller },)).await?;
    // Without a caller the connection ends by itself.
    let _ = reply.send(accepted.map_err(from_guest));
    Ok(Done::Served)
}

/// A client is gone.
pub(super) async fn disconnect(
    access: &Access,
    exports: &Exports,
    connection: ConnectionId,
) -> wasmtime::Result<Done> {
    exports.disconnect.call_concurrent(access, (connection.as_str().to_owned(),)).await?;
    Ok(Done::Served)
}

/// The container was silent.
pub(super) async fn ping(access: &Access, exports: &Exports) -> wasmtime::Result<Done> {
    let (answer,) = exports.ping.call_concurrent(access, ()).await?;
    Ok(answer.map_or_else(|error| Done::Unwell(unwell(error)), |()| Done::Well))
}

/// The container should end.
pub(super) async fn terminate(
    access: &Access,
    exports: &Exports,
    order: Order,
) -> wasmtime::Result<Done> {
    let (termination,) = exports.terminate.call_concurrent(access, (order.force,)).await?;
    if order.force || termination == guest::Termination::Ended {
        // The order is answered when the container is gone.
        return Ok(Done::Ended);
    }
    // Who ordered may have stopped waiting and asks again.
    let _ = order.reply.send(false);
    Ok(Done::Served)
}
