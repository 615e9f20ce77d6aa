//! One request from its arrival to its answer.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::StreamExt;
use hulynet_agent_table::{Begun, Located};
use hulynet_bus::{Request, Responder};
use hulynet_protocol::{
    Call, Caller, ClientId, ConnectionId, ContainerCall, ContainerId, Epoch, ErrorKind, Flow,
    NetworkError, Reply, Target,
};

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    core::Core,
    sink::{Outlet, Route},
};
use crate::{
    container::{Asker, Gone, Incoming},
    network::{Answer, Chunks},
};

/// Answers a request that is not for a container's code.
pub(super) async fn answer(core: Arc<Core>, route: Route, request: Request) {
    let Request { peer, call, responder, .. } = request;
    match (call, &route) {
        (Call::Connect { target, connection, caller, flow }, _) => {
            let wanted = Wanted { target, connection, caller, flow };
            connect(&core, route, peer, wanted, responder).await;
        }
        (Call::Credit { connection, credit }, _) => {
            let container = core.table().attached_to(&connection, &peer);
            let is_known = container.is_some_and(|c| c.connections().grant(&connection, credit));
            responder.reply(if is_known {
                Ok((Reply::Done, Bytes::new()))
            } else {
                Err(NetworkError::refused(
                    ErrorKind::UnknownContainer,
                    format!("there is no connection {connection} here; make it again"),
                ))
            });
        }
        (Call::Disconnect { connection }, _) => {
            let container = core.table().detach(&connection, &peer);
            if let Some(container) = container {
                container.connections().remove(&connection);
            }
            responder.reply(Ok((Reply::Done, Bytes::new())));
        }
        (Call::Limits(target), _) => {
            let located = core.table().locate(Instant::now(), &target);
            let limits = located.map(|located| located.container.limits_in_use());
            responder.reply(limits.map(|limits| (Reply::Limits(limits), Bytes::new())));
        }
        (Call::Start(order), Route::Coordinator(_)) => {
            let started = core.start(order).await;
            responder.reply(started.map(|()| (Reply::Done, Bytes::new())));
        }
        (Call::Terminate { target, force }, Route::Coordinator(_)) => {
            let ended = core.terminate(&target, force).await;
            responder.reply(Ok((Reply::Terminated(ended), Bytes::new())));
        }
        (Call::ReportKinds, _) => {
            responder.reply(Ok((Reply::KindReports(core.kind_reports()), Bytes::new())));
        }
        (Call::Drain { drain, .. }, Route::Coordinator(_)) => {
            let load = core.drain(drain);
            responder.reply(Ok((Reply::Load(load), Bytes::new())));
        }
        (Call::Start(_) | Call::Terminate { .. } | Call::Drain { .. }, Route::Direct(..)) => {
            responder.reply(Err(NetworkError::refused(
                ErrorKind::PermissionDenied,
                "only the coordinator starts and terminates containers and drains agents; ask it",
            )));
        }
        _ => responder.reply(Err(NetworkError::refused(
            ErrorKind::Protocol,
            "an agent does not answer this call; ask the coordinator",
        ))),
    }
}

/// Hands a request to its container.
pub(super) fn forward(core: &Arc<Core>, call: ContainerCall, payload: Bytes, responder: Responder) {
    let located = core.table().reach(Instant::now(), &call.target);
    let Located { container, epoch } = match located {
        Ok(located) => located,
        Err(error) => return responder.reply(Err(error)),
    };
    let deadline = if call.send { container.unattended() } else { responder.deadline() };
    let incoming = Incoming {
        operation: call.operation,
        payload,
        caller: call.caller,
        deadline,
        idempotency: call.idempotency,
        trace: call.trace,
    };
    if call.send {
        let accepted = container.send(incoming);
        return responder.reply(accepted.map(|()| (Reply::Done, Bytes::new())));
    }
    let core = core.clone();
    let counted = core.count();
    let waiting = Waiting { id: call.target.id, epoch, responder, core, counted };
    container.request(incoming, Box::new(waiting));
}

/// A caller who waits for a container.
struct Waiting {
    id: ContainerId,
    epoch: Epoch,
    responder: Responder,
    core: Arc<Core>,
    /// The end of the agent waits for it.
    counted: TaskTrackerToken,
}

impl Asker for Waiting {
    fn is_gone(&self) -> bool {
        self.responder.is_cancelled()
    }

    fn gone(&mut self) -> Gone<'_> {
        Box::pin(self.responder.cancelled())
    }

    fn answer(self: Box<Self>, answer: Result<Answer, NetworkError>) {
        let Self { id, epoch, responder, core, counted } = *self;
        // A process that was stopped for longer than its lease gives nothing
        // out when it goes on.
        let confirm = |answer| core.table().confirm(Instant::now(), &id, epoch).map(|()| answer);
        match answer.and_then(confirm) {
            Ok(Answer::Payload(payload)) => responder.reply(Ok((Reply::Payload, payload))),
            Ok(Answer::Chunks(chunks)) => {
                core.clone().track(stream(core, id, epoch, chunks, responder));
            }
            // The container heard that nobody waits any more; whoever still does,
            // by a clock that is behind, is told what that means.
            Err(error) if error.kind == ErrorKind::Cancelled && is_late(&responder) => {
                drop(responder);
            }
            Err(error) => responder.reply(Err(error)),
        }
        drop(counted);
    }
}

/// Whether its deadline has passed: dropped, it says so.
fn is_late(responder: &Responder) -> bool {
    responder.remaining().is_zero()
}

/// Passes the chunks of an answer on, at the pace of the receiver.
async fn stream(
    core: Arc<Core>,
    id: ContainerId,
    epoch: Epoch,
    mut chunks: Chunks,
    responder: Responder,
) {
    let mut sender = responder.stream();
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            () = sender.cancelled() => return,
        };
        if let Err(error) = core.table().confirm(Instant::now(), &id, epoch) {
            return sender.finish(Err(error));
        }
        match chunk {
            // The receiver is gone; the container notices at its next chunk.
            Some(Ok(chunk)) => {
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => return sender.finish(Err(error)),
            None => return sender.finish(Ok(())),
        }
    }
}

/// A connection that a client wants.
struct Wanted {
    target: Target,
    connection: ConnectionId,
    caller: Caller,
    flow: Flow,
}

/// A client connects to a container.
async fn connect(
    core: &Core,
    route: Route,
    peer: ClientId,
    wanted: Wanted,
    mut responder: Responder,
) {
    let Wanted { target, connection, caller, flow } = wanted;
    let located = {
        let mut table = core.table();
        table.reach(Instant::now(), &target).and_then(|located| {
            let begun = table.attach(connection.clone(), target.id.uuid.clone(), peer.clone())?;
            Ok((located, begun))
        })
    };
    let (Located { container, .. }, Begun { attempt, again }) = match located {
        Ok(located) => located,
        Err(error) => return responder.reply(Err(error)),
    };
    if again {
        container.connections().remove(&connection);
    }
    let deadline = responder.deadline();
    let outlet = Arc::new(Outlet::new(core, route));
    let connecting = container.connect(connection.clone(), caller, deadline, flow, outlet);
    let connected = tokio::select! {
        connected = connecting => connected,
        () = responder.cancelled() => {
            // The container may have accepted it, and is told of its end.
            if core.table().attach_failed(&connection, attempt) {
                container.connections().remove(&connection);
            }
            return responder.reply(Err(NetworkError::maybe_processed(
                ErrorKind::DeadlineExceeded,
                format!("the container {} did not accept the connection in time", target.id),
            )));
        }
    };
    match connected {
        Ok(()) => {
            responder.reply(Ok((Reply::Done, Bytes::new())));
            container.connections().open(&connection);
            // A client that left before the container had its connection was
            // looked for in vain.
            if !core.table().is_attached(&connection, &peer) {
                container.connections().remove(&connection);
            }
        }
        Err(error) => {
            if core.table().attach_failed(&connection, attempt) {
                container.connections().forget(&connection);
            }
            responder.reply(Err(error));
        }
    }
}
