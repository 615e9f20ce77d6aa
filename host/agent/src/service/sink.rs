//! Where a call came from, and the way back for events.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hulynet_agent_table::Table;
use hulynet_bus::{Peer, Server};
use hulynet_protocol::{Call, ClientId, ConnectionId, ContainerId, Epoch, Event, NetworkError};

use super::core::Core;
use crate::{capabilities::Sink, container::Container};

/// How long a client is tried to be told that its connection ended.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where a call came from.
#[derive(Clone)]
pub(super) enum Route {
    /// From a client, on the agent's own address.
    Direct(Server, ClientId),
    /// From the coordinator, its own or a client's.
    Coordinator(Peer),
}

impl Route {
    /// From a client.
    pub(super) fn direct(core: &Arc<Core>, peer: &ClientId) -> Self {
        Self::Direct(core.server().clone(), peer.clone())
    }
}

/// The way to one client for the events of one activation. They leave only
/// while it is certain that it is the live one.
pub(super) struct Outlet {
    route: Route,
    /// The table holds the container, so the container must not hold it.
    table: Weak<Mutex<Table<Container>>>,
    id: ContainerId,
    epoch: Epoch,
}

impl Outlet {
    /// From an activation on this agent.
    pub(super) fn new(core: &Core, route: Route, id: ContainerId, epoch: Epoch) -> Self {
        Self { route, table: core.weak_table(), id, epoch }
    }
}

impl Sink for Outlet {
    fn deliver(&self, event: Event, payload: Bytes) -> Result<(), NetworkError> {
        // Without a table the agent is gone, and nobody sends.
        if let Some(table) = self.table.upgrade() {
            let table = table.lock().unwrap_or_else(PoisonError::into_inner);
            table.release(Instant::now(), &self.id, self.epoch)?;
        }
        match &self.route {
            Route::Direct(server, peer) => server.event(peer, event, payload),
            Route::Coordinator(peer) => peer.event(event, payload),
        }
    }

    fn closed(&self, connection: ConnectionId) {
        let route = self.route.clone();
        tokio::spawn(async move {
            let id = connection.clone();
            let call = Call::Disconnected { connection };
            let told = match route {
                Route::Direct(server, peer) => {
                    server.call(&peer, call, Bytes::new(), FAREWELL).await
                }
                Route::Coordinator(peer) => peer.call(call, Bytes::new(), FAREWELL).await,
            };
            if let Err(error) = told {
                tracing::debug!(connection = %id, "the client was not told of the end: {error}");
            }
        });
    }
}
