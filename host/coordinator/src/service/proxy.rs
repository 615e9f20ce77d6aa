//! What passes through the coordinator: for peers that cannot reach agents.

use std::collections::BTreeMap;

use bytes::Bytes;
use hulynet_bus::Responder;
use hulynet_protocol::{
    Amount, Call, Caller, ClientId, ConnectionId, ContainerCall, ErrorKind, Event, Flow,
    NetworkError, Reply, Retry, Target,
};

use super::{
    connections::Begun,
    driver::{Driver, Report},
    ears::Ear,
    original::without_limits,
    relay::{Outcome, relay},
};
use crate::registry::Route;

impl Driver {
    /// A request to a container. The live epoch goes along, so that the agent
    /// refuses it when the container ended meanwhile.
    pub(crate) fn proxy(&mut self, mut call: ContainerCall, payload: Bytes, responder: Responder) {
        match self.route(&call.target) {
            Ok(route) => {
                if self.originals.desk.speaks(&route.peer) {
                    let Route { peer, agent, .. } = route;
                    return self.relay_original(peer, &agent, &call, &payload, responder);
                }
                call.target.epoch = Some(route.epoch);
                let relayed = relay(
                    self.server.clone(),
                    route.peer,
                    Call::Container(call),
                    payload,
                    responder,
                );
                self.tasks.spawn(async {
                    relayed.await;
                });
            }
            Err(error) => responder.reply(Err(error)),
        }
    }

    /// What only the container's agent knows.
    pub(crate) fn limits(&mut self, mut target: Target, responder: Responder) {
        match self.route(&target) {
            Ok(route) if self.originals.desk.speaks(&route.peer) => {
                responder.reply(Err(without_limits(&route.agent)));
            }
            Ok(route) => {
                target.epoch = Some(route.epoch);
                let call = Call::Limits(target);
                let relayed = relay(self.server.clone(), route.peer, call, Bytes::new(), responder);
                self.tasks.spawn(async {
                    relayed.await;
                });
            }
            Err(error) => responder.reply(Err(error)),
        }
    }

    /// The connection is known before the agent is asked, because its events
    /// may overtake its answer.
    pub(crate) fn connect(
        &mut self,
        client: ClientId,
        mut target: Target,
        connection: ConnectionId,
        caller: Caller,
        flow: Flow,
        responder: Responder,
    ) {
        let begun = self.route(&target).and_then(|route| {
            let place = self.place(&route, &target.id)?;
            let begun = self.connections.begin(&client, &route.peer, &connection)?;
            Ok((route, place, begun))
        });
        let (route, place, Begun { attempt, earlier }) = match begun {
            Ok(begun) => begun,
            Err(error) => return responder.reply(Err(error)),
        };
        self.ears.forget(&connection);
        if let Some(earlier) = earlier {
            self.end_at_agent(earlier, connection.clone());
        }
        if let Some(place) = place {
            let (id, epoch) = (target.id, route.epoch);
            let ear = Ear { client, connection, attempt, id, epoch };
            return self.hear(ear, place, flow, responder);
        }
        target.epoch = Some(route.epoch);
        let (server, reports) = (self.server.clone(), self.reports.clone());
        self.tasks.spawn(async move {
            let call = Call::Connect { target, connection: connection.clone(), caller, flow };
            let perhaps_made = match relay(server, route.peer, call, Bytes::new(), responder).await
            {
                Outcome::Succeeded => return,
                Outcome::Failed(retry) => retry == Retry::MaybeProcessed,
                Outcome::Cancelled => true,
            };
            let report = Report::NotConnected { connection, attempt, perhaps_made };
            // A driver that is gone has forgotten the connection.
            let _gone = reports.send(report).await;
        });
    }

    /// The client ends a connection. Idempotent.
    pub(crate) fn disconnect(
        &mut self,
        client: &ClientId,
        connection: ConnectionId,
        responder: Responder,
    ) {
        match self.connections.end(client, &connection) {
            Some(_) if self.ears.forget(&connection) => {
                responder.reply(Ok((Reply::Done, Bytes::new())));
            }
            Some(agent) => {
                let call = Call::Disconnect { connection: connection.clone() };
                let (server, reports) = (self.server.clone(), self.reports.clone());
                self.tasks.spawn(async move {
                    let relayed = relay(server, agent.clone(), call, Bytes::new(), responder);
                    if relayed.await != Outcome::Succeeded {
                        // As above.
                        let _gone = reports.send(Report::NotEnded { agent, connection }).await;
                    }
                });
            }
            None => responder.reply(Ok((Reply::Done, Bytes::new()))),
        }
    }

    /// The client takes more events.
    pub(crate) fn credit(
        &mut self,
        client: &ClientId,
        connection: ConnectionId,
        credit: Amount,
        responder: Responder,
    ) {
        match self.connections.speaker(client, &connection).cloned() {
            Some(_) if self.ears.grant(&connection, credit) => {
                responder.reply(Ok((Reply::Done, Bytes::new())));
            }
            Some(agent) => {
                let call = Call::Credit { connection, credit };
                let relayed = relay(self.server.clone(), agent, call, Bytes::new(), responder);
                self.tasks.spawn(async {
                    relayed.await;
                });
            }
            None => responder.reply(Err(NetworkError::refused(
                ErrorKind::UnknownContainer,
                format!("there is no connection {connection} through here; make it again"),
            ))),
        }
    }

    /// The container ended a connection.
    pub(crate) fn disconnected(
        &mut self,
        agent: &ClientId,
        connection: &ConnectionId,
        error: Option<NetworkError>,
        responder: Responder,
    ) {
        if self.connections.listener(agent, connection).is_some()
            && let Some(client) = self.connections.end(agent, connection)
        {
            self.end_at_client(client, connection.clone(), error);
        }
        responder.reply(Ok((Reply::Done, Bytes::new())));
    }

    /// Broadcasts and sends of a container. A client that is too slow for them
    /// loses the connection rather than a part of what is sent on it.
    pub(crate) fn container_event(&mut self, agent: &ClientId, event: Event, payload: &Bytes) {
        let Event::Container { connections, epoch, missed, lengths } = event else {
            tracing::debug!(%agent, "a peer sent an event that only the coordinator sends");
            return;
        };
        let mut listeners: BTreeMap<ClientId, Vec<ConnectionId>> = BTreeMap::new();
        for connection in connections {
            if let Some(client) = self.connections.listener(agent, &connection) {
                listeners.entry(client.clone()).or_default().push(connection);
            }
        }
        for (client, connections) in listeners {
            let lengths = lengths.clone();
            let event =
                Event::Container { connections: connections.clone(), epoch, missed, lengths };
            let Err(error) = self.server.event(&client, event, payload.clone()) else { continue };
            if error.kind == ErrorKind::Busy {
                tracing::warn!(%client, "client is too slow for its connections");
            }
            for connection in connections {
                self.connections.end(&client, &connection);
                self.end_at_agent(agent.clone(), connection.clone());
                self.end_at_client(client.clone(), connection, None);
            }
        }
    }

    /// Nothing of a peer that is gone stays.
    pub(crate) fn lose_peer(&mut self, peer: &ClientId) {
        self.forget_watcher(peer);
        self.originals.left(peer);
        let ended = self.connections.end_all(peer);
        for (agent, connection) in ended.at_agents {
            self.ears.forget(&connection);
            self.end_at_agent(agent, connection);
        }
        for (client, connection) in ended.at_clients {
            self.ears.forget(&connection);
            self.end_at_client(client, connection, None);
        }
    }

    /// An agent was heard: what it could not be told before is told now.
    pub(crate) fn settle(&mut self, agent: &ClientId) {
        for connection in self.connections.owed(agent) {
            self.end_at_agent(agent.clone(), connection);
        }
    }

    pub(crate) fn end_at_agent(&mut self, agent: ClientId, connection: ConnectionId) {
        if self.originals.desk.speaks(&agent) {
            // What was heard there ended with its ear.
            return;
        }
        let (server, reports) = (self.server.clone(), self.reports.clone());
        let timeout = self.config.disconnect_timeout;
        self.tasks.spawn(async move {
            let call = Call::Disconnect { connection: connection.clone() };
            if let Err(error) = server.call(&agent, call, Bytes::new(), timeout).await {
                tracing::debug!(%agent, %connection, %error, "an agent was not told of an end");
                // A driver that is gone has forgotten the connection.
                let _gone = reports.send(Report::NotEnded { agent, connection }).await;
            }
        });
    }

    /// A client that cannot be told has lost its connections with its own, and
    /// makes them again.
    pub(crate) fn end_at_client(
        &mut self,
        client: ClientId,
        connection: ConnectionId,
        error: Option<NetworkError>,
    ) {
        let (server, timeout) = (self.server.clone(), self.config.disconnect_timeout);
        self.tasks.spawn(async move {
            let call = Call::Disconnected { connection: connection.clone(), error };
            if let Err(error) = server.call(&client, call, Bytes::new(), timeout).await {
                tracing::debug!(%client, %connection, %error, "a client was not told of an end");
            }
        });
    }
}
