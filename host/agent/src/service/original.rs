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
use futures::{StreamExt, future::join_all, stream};
use hulynet_backrpc::{
    calls::{NOT_FOUND, Send, ToAgent},
    json,
};
use hulynet_bus::{OriginalRequest, OriginalResponder};
use hulynet_protocol::{
    Caller, ClientId, ConnectionId, ContainerId, ErrorKind, Flow, NetworkError, Policy, Target,
    Uuid, limits,
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, error::Elapsed, interval, timeout_at},
};

use super::{
    core::Core,
    listening::{LISTENED, Listener},
    sink::{Outlet, Route},
};
use crate::{
    capabilities::raise,
    container::{Container, Incoming},
    network::{Answer, Chunks},
};

/// How long a request may take; its client sets no limit. Longer than anybody
/// waits.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Clients that a container that was started connects at a time.
const AT_A_TIME: usize = 16;

/// How often those are connected again whom their containers did not take.
const AGAIN: Duration = Duration::from_secs(1);

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
/// are not are waited for. Each is heard as soon as it accepts, and the answer comes
/// when all did, refused or took too long.
async fn connect(
    core: &Arc<Core>,
    peer: &ClientId,
    containers: Vec<Uuid>,
    responder: OriginalResponder,
) {
    let added = core.listeners().add(peer, &containers.into_iter().collect());
    let Some(added) = added else {
        return responder.refuse(&format!(
            "a client may listen to {LISTENED} containers; disconnect from some first"
        ));
    };
    let here: Vec<_> = {
        let table = core.table();
        let here =
            added.into_iter().filter_map(|(uuid, name)| Some((table.identity(&uuid)?, name)));
        here.collect()
    };
    join_all(here.iter().map(|(id, connection)| listen(core, peer, id, connection))).await;
    responder.reply(Bytes::from_static(b"0"));
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

/// Connects everybody who listens to a container that was started: a few at a time,
/// so that they leave room in its mailbox.
pub(super) async fn listen_again(
    core: Arc<Core>,
    id: ContainerId,
    listeners: BTreeMap<ClientId, ConnectionId>,
) {
    let listening = stream::iter(&listeners);
    listening
        .for_each_concurrent(AT_A_TIME, |(peer, connection)| listen(&core, peer, &id, connection))
        .await;
}

/// Connects those again whom their containers did not take for now, as long as the
/// agent runs: a client is not told that it hears nothing, so it would not ask
/// again. One container holds up nobody who waits for another one.
pub(super) async fn listen_at_last(core: Arc<Core>) {
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trying = JoinSet::new();
    loop {
        again.tick().await;
        while trying.try_join_next().is_some() {}
        let refused = core.listeners().take_refused();
        for (uuid, listeners) in refused {
            // What is not here any more connects them when it starts again.
            let id = core.table().identity(&uuid);
            if let Some(id) = id {
                trying.spawn(listen_again(core.clone(), id, listeners));
            }
        }
    }
}

/// Has a client hear a container, now or when it takes the client. One that does not
/// even answer is not asked again, unless the client does.
async fn listen(core: &Arc<Core>, peer: &ClientId, id: &ContainerId, connection: &ConnectionId) {
    let Err(error) = hear(core, peer, id, connection).await else { return };
    tracing::debug!(container = %id, %peer, %error, "a client is not connected");
    if matches!(error.kind, ErrorKind::Busy | ErrorKind::Unavailable) {
        core.listeners().refused(peer, &id.uuid, connection);
    }
}

/// Makes the connection of a client to a container, unless it is there or about
/// to be, or the client listens no more.
///
/// # Errors
/// Why the container does not accept it.
async fn hear(
    core: &Arc<Core>,
    peer: &ClientId,
    id: &ContainerId,
    connection: &ConnectionId,
) -> Result<(), NetworkError> {
    let (container, attempt) = {
        let mut table = core.table();
        if table.is_attached(connection, peer) {
            return Ok(());
        }
        let located = table.locate(Instant::now(), &Target { id: id.clone(), epoch: None })?;
        let begun = table.attach(connection.clone(), id.uuid.clone(), peer.clone())?;
        (located.container, begun.attempt)
    };
    let started = container.started().await;
    // Whoever left before this was noted was looked for in vain.
    if started.is_err() || !core.listeners().has(peer, &id.uuid, connection) {
        core.table().attach_failed(connection, attempt);
        return started;
    }
    match accepted(core, peer, &container, connection).await {
        Ok(Ok(())) if core.table().is_attached(connection, peer) => {
            container.connections().open(connection);
        }
        // It left meanwhile, and this connection was looked for in vain.
        Ok(Ok(())) => drop(container.connections().remove(connection)),
        Ok(Err(error)) => {
            if core.table().attach_failed(connection, attempt) {
                container.connections().forget(connection);
            }
            return Err(error);
        }
        Err(_late) => {
            // The container may have accepted it, and is told of its end.
            if core.table().attach_failed(connection, attempt) {
                container.connections().remove(connection);
            }
            if core.listeners().has(peer, &id.uuid, connection) {
                tracing::warn!(
                    container = %id,
                    %peer,
                    "the container did not accept a client in time, which hears nothing of it until it \
                     asks again; {}",
                    raise("request")
                );
            }
        }
    }
    Ok(())
}

/// What a container answers to a client.
///
/// # Errors
/// It takes longer than it may for a request.
async fn accepted(
    core: &Core,
    peer: &ClientId,
    container: &Container,
    connection: &ConnectionId,
) -> Result<Result<(), NetworkError>, Elapsed> {
    let listener = Listener {
        container: container.activation().id.uuid.clone(),
        server: core.server().clone(),
        peer: peer.clone(),
        broadcasts: core.broadcasts().clone(),
    };
    let outlet = Arc::new(Outlet::new(core, Route::Original(listener)));
    // In this language there is no credit, and no word for the end of a connection.
    let flow = Flow::endless(Policy::DropOldest);
    let (deadline, caller) = (container.unattended(), Caller::outside(None));
    let connecting = container.connect(connection.clone(), caller, deadline, flow, outlet);
    timeout_at(deadline.into(), connecting).await
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
