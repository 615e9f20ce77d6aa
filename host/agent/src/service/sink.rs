//! Where a call came from, and the way back for events.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hulynet_agent_table::Table;
use hulynet_bus::{Peer, Server};
use hulynet_protocol::{Call, ClientId, ConnectionId, ContainerId, Epoch, Event, NetworkError};

use super::{core::Core, listening::Listener};
use crate::{capabilities::Sink, container::Container};

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

/// The way to one client for the events of one activation. They leave only
/// while it is certain that it is the live one.
pub(super) struct Outlet {
    route: Route,
    /// The table holds the container, so the container must not hold it.
    table: Weak<Mutex<Table<Container>>>,
    id: ContainerId,
    epoch: Epoch,
    /// How long the client may take to learn of an end.
    timeout: Duration,
}

impl Outlet {
    /// From an activation on this agent.
    pub(super) fn new(core: &Core, route: Route, id: ContainerId, epoch: Epoch) -> Self {
        Self { route, table: core.weak_table(), id, epoch, timeout: core.disconnect_timeout() }
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
            Route::Original(listener) => listener.tell(&payload),
        }
    }

    fn closed(&self, connection: ConnectionId) {
        let (route, timeout) = (self.route.clone(), self.timeout);
        tokio::spawn(async move {
            let id = connection.clone();
            let call = Call::Disconnected { connection };
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

#[cfg(test)]
mod tests {
    use hulynet_bus::{Bus, ServerConfig};
    use hulynet_protocol::{ErrorKind, Kind, Role, ServerId, Uuid};

    use super::*;

    #[tokio::test]
    async fn a_listener_of_the_original_hears_nothing_while_the_container_may_live_elsewhere() {
        let table = Arc::new(Mutex::new(Table::new(1)));
        let config = ServerConfig { role: Role::Agent, id: ServerId::random() };
        let bus = Bus::start("test").unwrap();
        let (server, _incoming) = bus.bind("127.0.0.1:0", config).await.unwrap();
        let uuid = Uuid::new("a").unwrap();
        let listener = Listener {
            container: uuid.clone(),
            server,
            peer: ClientId::new("stranger").unwrap(),
            broadcasts: Arc::default(),
        };
        let epoch = Epoch { term: 1, counter: 1 };
        let outlet = Outlet {
            route: Route::Original(listener),
            table: Arc::downgrade(&table),
            id: ContainerId { kind: Kind::new("echo").unwrap(), uuid },
            epoch,
            timeout: Duration::ZERO,
        };
        let event = Event::Container { connection: ConnectionId::random(), epoch };
        let now = Instant::now();
        for (lease, refusal) in [
            (now, ErrorKind::Busy),
            // It may leave, but nobody of that name is connected.
            (now + Duration::from_secs(3600), ErrorKind::Unavailable),
        ] {
            table.lock().unwrap().serve_until(Some(lease));
            let told = outlet.deliver(event.clone(), Bytes::from_static(b"1"));
            assert_eq!(told.unwrap_err().kind, refusal);
        }
    }
}
