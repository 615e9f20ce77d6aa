//! Clients of the original network on the agent's own address.
//!
//! They name containers by uuid only and are not told when a connection ends.
//! So what they listen to is remembered: a container that is started again
//! here has them connected again.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use hulynet_agent_table::Located;
use hulynet_backrpc::{
    calls::{NOT_FOUND, Send, ToAgent},
    json,
};
use hulynet_bus::{OriginalRequest, OriginalResponder};
use hulynet_protocol::{
    Caller, ClientId, ConnectionId, ContainerId, ErrorKind, Flow, NetworkError, Policy, Target,
    Uuid, limits,
};
use tokio::time::timeout_at;

use super::{
    core::Core,
    listening::{LISTENED, Listener},
    sink::{Outlet, Route},
};
use crate::{
    container::{Container, Incoming},
    network::{Answer, Chunks},
};

/// How long a request may take; its client sets no limit. Longer than anybody
/// waits.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Answers a request.
pub(super) async fn answer(core: Arc<Core>, request: OriginalRequest) {
    let OriginalRequest { peer, body, responder } = request;
    match ToAgent::read(&body) {
        Ok(ToAgent::Connect(containers)) => connect(&core, &peer, containers, responder).await,
        Ok(ToAgent::Disconnect(container)) => disconnect(&core, &peer, &container, responder),
        Ok(ToAgent::Send(send)) => pass(&core, send, responder).await,
        Err(refusal) => responder.refuse(&refusal.0),
    }
}

/// The answer is the same whether the containers are here or not: those that
/// are not are waited for. One that is slow to accept holds no other up.
async fn connect(
    core: &Arc<Core>,
    peer: &ClientId,
    containers: Vec<Uuid>,
    responder: OriginalResponder,
) {
    let mut here = Vec::new();
    for uuid in containers {
        let Some(connection) = core.listeners().add(peer, &uuid) else {
            return responder.refuse(&format!("a client may listen to {LISTENED} containers"));
        };
        here.extend(core.table().identity(&uuid).map(|id| (id, connection)));
    }
    let listening = here.iter().map(async |(id, connection)| {
        listen(core, peer, id, connection).await.map(|container| (container, connection))
    });
    let made = join_all(listening).await;
    responder.reply(Bytes::from_static(b"0"));
    for (container, connection) in made.into_iter().flatten() {
        container.connections().open(connection);
    }
}

fn disconnect(core: &Core, peer: &ClientId, uuid: &Uuid, responder: OriginalResponder) {
    let connection = core.listeners().remove(peer, uuid);
    let container = connection.as_ref().and_then(|name| core.table().detach(name, peer));
    if let (Some(container), Some(connection)) = (container, &connection) {
        container.connections().remove(connection);
    }
    if connection.is_some() || core.table().identity(uuid).is_some() {
        responder.reply(Bytes::from_static(b"\"ok\""));
    } else {
        responder.refuse(NOT_FOUND);
    }
}

/// Connects everybody who listens to a container that was started.
pub(super) async fn listen_again(
    core: Arc<Core>,
    id: ContainerId,
    listeners: BTreeMap<ClientId, ConnectionId>,
) {
    for (peer, connection) in listeners {
        if let Some(container) = listen(&core, &peer, &id, &connection).await {
            container.connections().open(&connection);
        }
    }
}

/// Makes the connection of a client to a container, unless it is there or about
/// to be.
async fn listen(
    core: &Arc<Core>,
    peer: &ClientId,
    id: &ContainerId,
    connection: &ConnectionId,
) -> Option<Container> {
    let target = Target { id: id.clone(), epoch: None };
    let located = {
        let mut table = core.table();
        if table.is_attached(connection, peer) {
            return None;
        }
        table.locate(Instant::now(), &target).and_then(|located| {
            let begun = table.attach(connection.clone(), id.uuid.clone(), peer.clone())?;
            Ok((located, begun.attempt))
        })
    };
    let refused = |error: NetworkError| {
        tracing::debug!(container = %id, %peer, %error, "a client is not connected");
    };
    let (Located { container, .. }, attempt) = located.map_err(refused).ok()?;
    let listener = Listener {
        container: id.uuid.clone(),
        server: core.server().clone(),
        peer: peer.clone(),
        broadcasts: core.broadcasts().clone(),
    };
    let outlet = Arc::new(Outlet::new(core, Route::Original(listener)));
    // There is no credit in this language.
    let flow = Flow::endless(Policy::Disconnect);
    let (deadline, caller) = (container.unattended(), Caller::outside(None));
    let connecting = container.connect(connection.clone(), caller, deadline, flow, outlet);
    match timeout_at(deadline.into(), connecting).await {
        Ok(Ok(())) if core.table().is_attached(connection, peer) => Some(container),
        Ok(Ok(())) => {
            // It left meanwhile, and this connection was looked for in vain.
            container.connections().remove(connection);
            None
        }
        Ok(Err(error)) => {
            if core.table().attach_failed(connection, attempt) {
                container.connections().forget(connection);
            }
            refused(error);
            None
        }
        Err(_late) => {
            // The container may have accepted it, and is told of its end.
            if core.table().attach_failed(connection, attempt) {
                container.connections().remove(connection);
            }
            refused(NetworkError::maybe_processed(
                ErrorKind::DeadlineExceeded,
                "the container did not accept the connection in time",
            ));
            None
        }
    }
}

async fn pass(core: &Core, send: Send, responder: OriginalResponder) {
    let Send { container, operation, data } = send;
    let Some(id) = core.table().identity(&container) else { return responder.refuse(NOT_FOUND) };
    let target = Target { id, epoch: None };
    let located = core.table().locate(Instant::now(), &target);
    let (container, epoch) = match located {
        Ok(located) => (located.container, located.epoch),
        Err(error) if error.kind == ErrorKind::UnknownContainer => {
            return responder.refuse(NOT_FOUND);
        }
        Err(error) => return responder.refuse(&error.message),
    };
    let deadline = Instant::now() + PATIENCE;
    let incoming = Incoming {
        operation,
        payload: data,
        caller: Caller::outside(None),
        deadline,
        idempotency: None,
        trace: 0,
    };
    let answering = async {
        match container.answer(incoming).await {
            Ok(Answer::Payload(payload)) => json::payload(&payload).map_err(|why| why.0),
            Ok(Answer::Chunks(chunks)) => collect(chunks).await,
            Err(error) => Err(error.message),
        }
    };
    let answer = tokio::select! {
        biased;
        answer = answering => answer,
        // A stream that is read for it is read no more.
        () = responder.cancelled() => return,
        () = tokio::time::sleep_until(deadline.into()) => {
            Err(format!("it was not answered within {PATIENCE:?}"))
        }
    };
    // A process that was stopped for longer than its lease gives nothing out
    // when it goes on.
    let confirmed = core.table().confirm(Instant::now(), &target.id, epoch);
    let confirmed = confirmed.map_err(|error| error.message);
    match confirmed.and(answer) {
        Ok(result) => responder.reply(result),
        Err(why) => responder.refuse(&why),
    }
}

/// The items of a stream as an array.
async fn collect(mut chunks: Chunks) -> Result<Bytes, String> {
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().await {
        all.extend_from_slice(&chunk.map_err(|error| error.message)?);
        if all.len() > limits::PAYLOAD_BYTES {
            return Err(format!("the answer is over {} bytes", limits::PAYLOAD_BYTES));
        }
    }
    json::lines(&all.into()).map_err(|why| why.0)
}
