//! Where a call came from, and the way back for events.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hulynet_bus::{Peer, Server};
use hulynet_protocol::{Call, ClientId, ConnectionId, Event, NetworkError, limits};

use super::{core::Core, listening::Listener};
use crate::capabilities::Sink;

/// Where a call came from.
#[derive(Clone)]
pub(super) enum Route {
    /// From a client, on the agent's own address.
    Direct(Server, ClientId),
    /// From the coordinator, its own or a client's.
    Coordinator(Peer),
    /// From a client of the original network, on the agent's own address.
    Original(Listener),
}

impl Route {
    /// From a client.
    pub(super) fn direct(core: &Arc<Core>, peer: &ClientId) -> Self {
        Self::Direct(core.server().clone(), peer.clone())
    }
}

/// The way to one client for the events of an activation.
pub(super) struct Outlet {
    route: Route,
    /// How long the client may take to learn of an end.
    timeout: Duration,
}

impl Outlet {
    /// From this agent.
    pub(super) fn new(core: &Core, route: Route) -> Self {
        Self { route, timeout: core.disconnect_timeout() }
    }
}

impl Sink for Outlet {
    fn peer(&self) -> Option<&ClientId> {
        match &self.route {
            Route::Direct(_, peer) => Some(peer),
            Route::Coordinator(_) => None,
            Route::Original(listener) => Some(&listener.peer),
        }
    }

    fn batch(&self) -> usize {
        match &self.route {
            Route::Direct(..) | Route::Coordinator(_) => limits::BATCH_EVENTS,
            // In its language each has a message of its own.
            Route::Original(_) => 1,
        }
    }

    fn deliver(&self, event: Event, payload: Bytes) -> Result<(), NetworkError> {
        match &self.route {
            Route::Direct(server, peer) => server.event(peer, event, payload),
            Route::Coordinator(peer) => peer.event(event, payload),
            Route::Original(listener) => listener.tell(&payload),
        }
    }

    fn closed(&self, connection: ConnectionId, error: Option<NetworkError>) {
        let (route, timeout) = (self.route.clone(), self.timeout);
        tokio::spawn(async move {
            let id = connection.clone();
            let call = Call::Disconnected { connection, error };
            let told = match route {
                Route::Direct(server, peer) => {
                    server.call(&peer, call, Bytes::new(), timeout).await
                }
                Route::Coordinator(peer) => peer.call(call, Bytes::new(), timeout).await,
                // Its language has no such message.
                Route::Original(_) => return,
            };
            if let Err(error) = told {
                tracing::debug!(connection = %id, "the client was not told of the end: {error}");
            }
        });
    }
}
