//! One call into a container.

use std::{sync::Arc, time::Instant};

use hulynet_protocol::{Caller, ConnectionId, ErrorKind, NetworkError};
use tokio::sync::oneshot;
use wasmtime::component::Accessor;

use super::{
    exports::Exports,
    handle::{Incoming, Shared},
    mailbox::{Order, Weight},
    reply::Reply,
};
use crate::{
    bindings::huly::network::types::Body,
    capabilities::{Connections, Context, from_guest, read_chunks},
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

/// A request, whose answer may have at most `limit` bytes. A failure in here is
/// the container's end.
pub(super) async fn request(
    accessor: &Access,
    exports: &Exports,
    limit: usize,
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
    let answered = exports.request(accessor, incoming, deadline_ms, &mut reply).await?;
    let answer = match answered {
        Ok(Body::Payload(payload)) if payload.len() > limit => Err(NetworkError::maybe_processed(
            ErrorKind::TooLarge,
            too_large(payload.len(), limit, exports.are_serial()),
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

/// What helps depends on the world: a container of the synchronous one has no
/// streams.
fn too_large(bytes: usize, limit: usize, serial: bool) -> String {
    let remedy = if serial {
        "answer in parts that are asked for one by one"
    } else {
        "stream larger ones, or answer in parts"
    };
    format!(
        "the answer has {bytes} bytes, and at most {limit} are allowed; {remedy}, or raise the limit \
         reply-bytes of its kind in the agent's grants and start the agent again"
    )
}

/// A client connects.
pub(super) async fn connect(
    accessor: &Access,
    exports: &Exports,
    connections: &Connections,
    connection: ConnectionId,
    caller: Caller,
    deadline: Instant,
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
    let id = connection.as_str().to_owned();
    let accepted = exports.connect(accessor, id, caller, deadline).await?;
    // Without a caller the connection ends by itself.
    let _ = reply.send(accepted.map_err(from_guest));
    Ok(Done::Served)
}

/// A client is gone.
pub(super) async fn disconnect(
    accessor: &Access,
    exports: &Exports,
    connection: ConnectionId,
) -> wasmtime::Result<Done> {
    exports.disconnect(accessor, connection.as_str().to_owned()).await?;
    Ok(Done::Served)
}

/// The container was silent.
pub(super) async fn ping(accessor: &Access, exports: &Exports) -> wasmtime::Result<Done> {
    Ok(match exports.ping(accessor).await? {
        Ok(()) => Done::Well,
        Err(error) => Done::Unwell(format!("it answered a ping with: {}", from_guest(error))),
    })
}

/// The container should end.
pub(super) async fn terminate(
    accessor: &Access,
    exports: &Exports,
    order: Order,
) -> wasmtime::Result<Done> {
    let ended = exports.terminate(accessor, order.force).await? || order.force;
    if ended {
        // The order is answered when the container is gone.
        return Ok(Done::Ended);
    }
    // Who ordered may have stopped waiting and asks again.
    let _ = order.reply.send(false);
    Ok(Done::Served)
}
