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

#[cfg(test)]
mod tests {
    use hulynet_agent_kinds::ContainerLimits;
    use hulynet_backrpc::visit::Subject;
    use hulynet_bus::{Bus, Guest, Guests, Incoming, ServerConfig};
    use hulynet_protocol::{
        ContainerId, Epoch, ErrorKind, Flow, Kind, Policy, Role, ServerId, Uuid,
    };
    use tokio::sync::mpsc;

    use super::{
        super::listening::{Broadcasts, WRITTEN},
        *,
    };
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

    /// A container that is listened to, and the server that its clients reach.
    struct World {
        server: Server,
        incoming: mpsc::Receiver<Incoming>,
        container: Uuid,
        connections: Arc<Connections>,
        broadcasts: Arc<Broadcasts>,
        guests: Guests,
    }

    impl World {
        async fn new() -> (Self, impl Sized) {
            let bus = Bus::start("test").unwrap();
            let config = ServerConfig { role: Role::Agent, id: ServerId::random() };
            let (server, incoming) = bus.bind("127.0.0.1:0", config).await.unwrap();
            let (kind, container) = (Kind::new("echo").unwrap(), Uuid::new("c").unwrap());
            let (connections, kept) = connections(ContainerId { kind, uuid: container.clone() });
            let (broadcasts, guests) = (Arc::default(), Guests::default());
            let world = Self { server, incoming, container, connections, broadcasts, guests };
            (world, (bus, kept))
        }

        /// One more client that listens; it hears what it is sent as it is.
        async fn listen(&mut self) -> (Guest, ClientId) {
            let address = self.server.local_addr().to_string();
            let guest = self.guests.visit(&address, Subject::Direct).await.unwrap();
            let peer = match self.incoming.recv().await.unwrap() {
                Incoming::Joined { peer, .. } => peer,
                other => panic!("{other:?}"),
            };
            let listener = Listener {
                container: self.container.clone(),
                server: self.server.clone(),
                peer: peer.clone(),
                broadcasts: self.broadcasts.clone(),
            };
            let (route, timeout) = (Route::Original(listener), Duration::ZERO);
            let name = ConnectionId::random();
            let flow = Flow::endless(Policy::DropOldest);
            let outlet = Arc::new(Outlet { route, timeout });
            self.connections.add(name.clone(), flow, outlet).unwrap();
            self.connections.open(&name);
            (guest, peer)
        }
    }

    #[tokio::test]
    async fn an_event_for_many_clients_of_the_original_is_written_once() {
        let (mut world, _kept) = World::new().await;
        let mut listeners = Vec::new();
        for _ in 0..LISTENERS {
            listeners.push(world.listen().await.0);
        }
        let before = WRITTEN.get();
        for number in 0..EVENTS {
            world.connections.broadcast(Bytes::from(format!("{{\"evt\":{number}}}"))).unwrap();
        }
        while world.connections.flush() == Left::More {}
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

    #[tokio::test]
    async fn events_wait_for_a_client_of_the_original_whose_connection_was_lost() {
        let (mut world, _kept) = World::new().await;
        let (guest, peer) = world.listen().await;
        drop(guest);
        let is_lost = |told: Result<(), NetworkError>| {
            told.is_err_and(|error| error.kind == ErrorKind::Unavailable)
        };
        while !is_lost(world.server.tell_original(&peer, Bytes::new())) {
            tokio::task::yield_now().await;
        }
        world.connections.broadcast(Bytes::from_static(b"1")).unwrap();
        assert_eq!(world.connections.flush(), Left::Held);
        assert_eq!(world.connections.flush(), Left::Held, "as long as it has not left");
    }
}
