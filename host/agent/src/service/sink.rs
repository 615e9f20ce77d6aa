//! Where a call came from, and the way back for events.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hulynet_bus::{Peer, Server};
use hulynet_protocol::{Call, ClientId, ConnectionId, Event, NetworkError};

use super::core::Core;
use crate::capabilities::Sink;

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

impl Sink for Route {
    fn deliver(&self, event: Event, payload: Bytes) -> Result<(), NetworkError> {
        match self {
            Self::Direct(server, peer) => server.event(peer, event, payload),
            Self::Coordinator(peer) => peer.event(event, payload),
        }
    }

    fn closed(&self, connection: ConnectionId) {
        let route = self.clone();
        tokio::spawn(async move {
            let id = connection.clone();
            let call = Call::Disconnected { connection };
            let told = match route {
                Self::Direct(server, peer) => {
                    server.call(&peer, call, Bytes::new(), FAREWELL).await
                }
                Self::Coordinator(peer) => peer.call(call, Bytes::new(), FAREWELL).await,
            };
            if let Err(error) = told {
                tracing::debug!(connection = %id, "the client was not told of the end: {error}");
            }
        });
    }
}
