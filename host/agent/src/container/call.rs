//! One call into a container.

use std::{pin::pin, sync::Arc, time::Instant};

use hulynet_protocol::{Caller, ConnectionId, ErrorKind, NetworkError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmtime::{
    AsContextMut,
    component::{Accessor, Resource, TypedFunc},
};

use super::{
    handle::{Incoming, Order, Shared, Weight},
    reply::Reply,
};
use crate::{
    bindings::{
        exports::huly::network::guest::{
            Connection, Guest, Incoming as GuestIncoming, Termination,
        },
        huly::network::types::{Body, Error},
    },
    capabilities::{CallerHandle, Connections, Context, from_guest, read_chunks},
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

type Access = Accessor<Context>;

/// The export that answers requests. It is called through its own handle,
/// because only that tells which call is which.
pub(super) type Answers = TypedFunc<(GuestIncoming,), (Result<Body, Error>,)>;

/// A request. A failure in here is the container's end.
pub(super) async fn request(
    accessor: &Access,
    answers: Answers,
    incoming: Incoming,
    _weight: Weight,
    mut reply: Reply,
    shared: Arc<Shared>,
) -> wasmtime::Result<Done> {
    let left = incoming.deadline.saturating_duration_since(Instant::now());
    let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
    if deadline_ms == 0 || reply.is_gone() {
        reply.send(Err(NetworkError::not_processed(
            ErrorKind::DeadlineExceeded,
            "the deadline passed while the request waited for the container",
        )));
        return Ok(Done::Served);
    }
    let given_up = CancellationToken::new();
    let path = incoming.caller.path.clone();
    let caller = push_caller(accessor, incoming.caller, given_up.clone())?;
    let incoming = GuestIncoming {
        operation: incoming.operation,
        payload: incoming.payload.into(),
        caller,
        deadline_ms,
        idempotency: incoming.idempotency,
        trace: format!("{:032x}", incoming.trace),
    };
    let call = accessor.with(|mut access| -> wasmtime::Result<_> {
        let call = answers.start_call_concurrent(access.as_context_mut(), (incoming,))?;
        if !path.is_empty() {
            access.get().paths.began(call.task(), path);
        }
        Ok(call)
    })?;
    let task = call.task();
    let mut answering = pin!(answers.finish_call_concurrent(accessor, call));
    let answered = tokio::select! {
        biased;
        answered = &mut answering => answered,
        () = reply.gone() => {
            given_up.cancel();
            answering.await
        }
    };
    let (limit, (answered,)) = accessor.with(|mut access| -> wasmtime::Result<_> {
        access.get().paths.ended(task);
        Ok((access.get().limits().reply_bytes, answered?))
    })?;
    let answer = match answered {
        Ok(Body::Payload(payload)) if payload.len() > limit => Err(NetworkError::maybe_processed(
            ErrorKind::TooLarge,
            format!(
                "the answer has {} bytes; at most {limit} are allowed, larger ones must be \
                     streamed",
                payload.len(),
            ),
        )),
        Ok(Body::Payload(payload)) => Ok(Answer::Payload(payload.into())),
        Ok(Body::Chunks(reader)) => {
            let (ended, broke_off) = (shared.ended.clone(), shared.broke_off());
            accessor
                .with(|access| read_chunks(access, reader, ended, broke_off))?
                .map(Answer::Chunks)
        }
        Err(error) => Err(from_guest(error)),
    };
    // The caller may have given up; its chunks are then dropped with it.
    reply.send(answer);
    Ok(Done::Served)
}

/// A client connects.
pub(super) async fn connect(
    accessor: &Access,
    guest: &Guest,
    connections: &Connections,
    connection: ConnectionId,
    caller: Caller,
    reply: oneshot::Sender<Result<(), NetworkError>>,
) -> wasmtime::Result<Done> {
    if reply.is_closed() || !connections.contains(&connection) {
        // The client left while the call waited, and the container was told
        // so already: it must not hear of the beginning after the end. There
        // is hardly anybody to tell.
        let _ = reply.send(Err(NetworkError::not_processed(
            ErrorKind::Cancelled,
            "the client left before it was connected",
        )));
        return Ok(Done::Served);
    }
    // Whoever accepts a client does not work for it: there is nothing to give up.
    let caller = push_caller(accessor, caller, CancellationToken::new())?;
    let connection = Connection { id: connection.as_str().to_owned(), caller };
    let accepted = guest.call_connect(accessor, connection).await?;
    // Without a caller the connection ends by itself.
    let _ = reply.send(accepted.map_err(from_guest));
    Ok(Done::Served)
}

/// A client is gone.
pub(super) async fn disconnect(
    accessor: &Access,
    guest: &Guest,
    connection: ConnectionId,
) -> wasmtime::Result<Done> {
    guest.call_disconnect(accessor, connection.as_str().to_owned()).await?;
    Ok(Done::Served)
}

/// The container was silent.
pub(super) async fn ping(accessor: &Access, guest: &Guest) -> wasmtime::Result<Done> {
    Ok(match guest.call_ping(accessor).await? {
        Ok(()) => Done::Well,
        Err(error) => Done::Unwell(format!("it answered a ping with: {}", from_guest(error))),
    })
}

/// The container should end.
pub(super) async fn terminate(
    accessor: &Access,
    guest: &Guest,
    order: Order,
) -> wasmtime::Result<Done> {
    let termination = guest.call_terminate(accessor, order.force).await?;
    let ended = order.force || matches!(termination, Termination::Ended);
    if ended {
        // The order is answered when the container is gone.
        return Ok(Done::Ended);
    }
    // Who ordered may have stopped waiting and asks again.
    let _ = order.reply.send(false);
    Ok(Done::Served)
}

fn push_caller(
    accessor: &Access,
    caller: Caller,
    given_up: CancellationToken,
) -> wasmtime::Result<Resource<CallerHandle>> {
    let handle = CallerHandle { caller, given_up };
    Ok(accessor.with(|mut access| access.get().table.push(handle))?)
}
