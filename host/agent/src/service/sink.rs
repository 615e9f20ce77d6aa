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
            Route::Original(listener) => {
                let missed = matches!(event, Event::Container { missed: 1.., .. });
                listener.tell(missed, &payload);
                Ok(())
            }
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

#[cfg(test)]
mod tests {
    use hulynet_agent_kinds::ContainerLimits;
    use hulynet_backrpc::visit::Subject;
    use hulynet_bus::{Bus, Guests, Incoming, ServerConfig};
    use hulynet_protocol::{ContainerId, Epoch, Flow, Kind, Policy, Role, ServerId, Uuid};
    use tokio::sync::mpsc;

    use super::{super::listening::WRITTEN, *};
    use crate::{
        capabilities::{Connections, Exit, Left, Usage},
        container::Mailbox,
    };

    const LISTENERS: usize = 20;
    const EVENTS: usize = 30;

    /// The connections of a container on an agent that is not in the way.
    fn connections(id: ContainerId) -> (Arc<Connections>, impl Sized) {
        let limits = ContainerLimits::default();
        let mailbox = Arc::new(Mailbox::new(&limits));
        let (orders, flushes) = mpsc::unbounded_channel();
        let exit = Exit { is_open: Box::new(|| true), flushes: orders };
        let usage = Arc::new(Usage::new(id, &limits));
        let connections = Connections::new(Epoch::default(), &limits, usage, mailbox, exit);
        (Arc::new(connections), flushes)
    }

    #[tokio::test]
    async fn an_event_for_many_clients_of_the_original_is_written_once() {
        let bus = Bus::start("test").unwrap();
        let config = ServerConfig { role: Role::Agent, id: ServerId::random() };
        let (server, mut incoming) = bus.bind("127.0.0.1:0", config).await.unwrap();
        let (address, guests) = (server.local_addr().to_string(), Guests::default());
        let (kind, container) = (Kind::new("echo").unwrap(), Uuid::new("c").unwrap());
        let id = ContainerId { kind, uuid: container.clone() };
        let (connections, _kept) = connections(id);
        let broadcasts = Arc::default();
        let mut listeners = Vec::new();
        for number in 0..LISTENERS {
            // Hears what its client is sent as it is.
            listeners.push(guests.visit(&address, Subject::Direct).await.unwrap());
            let peer = match incoming.recv().await.unwrap() {
                Incoming::Joined { peer, .. } => peer,
                other => panic!("{other:?}"),
            };
            let (server, container) = (server.clone(), container.clone());
            let listener =
                Listener { container, server, peer, broadcasts: Arc::clone(&broadcasts) };
            let (route, timeout) = (Route::Original(listener), Duration::ZERO);
            let name = ConnectionId::new(number.to_string()).unwrap();
            let flow = Flow::endless(Policy::DropOldest);
            connections.add(name.clone(), flow, Arc::new(Outlet { route, timeout })).unwrap();
            connections.open(&name);
        }
        let before = WRITTEN.get();
        for number in 0..EVENTS {
            connections.broadcast(Bytes::from(format!("{{\"evt\":{number}}}"))).unwrap();
        }
        while connections.flush() == Left::More {}
        assert_eq!(WRITTEN.get() - before, EVENTS);
        for listener in &mut listeners {
            let mut heard = Vec::new();
            while heard.len() < EVENTS {
                heard.extend(listener.hear().await.unwrap());
            }
            let expected = (0..EVENTS).map(|number| format!("[\"c\",{{\"evt\":{number}}}]"));
            assert_eq!(heard, expected.collect::<Vec<_>>());
        }
    }
}
