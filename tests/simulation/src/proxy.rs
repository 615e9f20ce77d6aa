//! Connections through the coordinator, as its service proxies them.

use hulynet_coordinator::connections::{Attempt, Begun};
use hulynet_protocol::{
    Call, Caller, ClientId, ConnectionId, Epoch, Flow, NetworkError, Policy, Reply, Retry, Target,
};

use crate::{link::Message, orders::Ordered, sessions::Answer, world::World};

impl World {
    pub(crate) fn proxy_connect(
        &mut self,
        client: &ClientId,
        token: u64,
        mut target: Target,
        connection: ConnectionId,
    ) {
        let Some(node) = &mut self.coordinator else { return };
        let begun = node.registry.route(&target).and_then(|route| {
            let begun = node.proxied.begin(client, &route.peer, &connection)?;
            Ok((route, begun))
        });
        let (route, Begun { attempt, earlier }) = match begun {
            Ok(begun) => begun,
            Err(error) => return self.coordinator_answers(token, Err(error)),
        };
        if let Some(earlier) = earlier {
            self.end_at_agent(earlier, connection.clone());
        }
        target.epoch = Some(route.epoch);
        let caller = Caller::default();
        let flow = Flow::endless(Policy::Disconnect);
        let call = Call::Connect { target, connection: connection.clone(), caller, flow };
        self.order(&route.peer, Ordered::Connect { token, connection, attempt }, call);
    }

    pub(crate) fn proxy_connected(
        &mut self,
        token: u64,
        connection: &ConnectionId,
        attempt: Attempt,
        result: Answer,
    ) {
        let failed = result.as_ref().err().map(|error| error.retry);
        self.coordinator_answers(token, result);
        if let Some(retry) = failed {
            self.not_connected(connection, attempt, retry == Retry::MaybeProcessed);
        }
    }

    fn not_connected(&mut self, connection: &ConnectionId, attempt: Attempt, perhaps_made: bool) {
        let Some(node) = &mut self.coordinator else { return };
        if let Some(agent) = node.proxied.failed(connection, attempt, perhaps_made) {
            self.end_at_agent(agent, connection.clone());
        }
    }

    pub(crate) fn proxy_disconnect(
        &mut self,
        client: &ClientId,
        token: u64,
        connection: ConnectionId,
    ) {
        let Some(node) = &mut self.coordinator else { return };
        let Some(agent) = node.proxied.end(client, &connection) else {
            return self.coordinator_answers(token, Ok(Reply::Done));
        };
        let call = Call::Disconnect { connection: connection.clone() };
        let ordered = Ordered::Disconnect { token: Some(token), agent: agent.clone(), connection };
        self.order(&agent, ordered, call);
    }

    /// An agent was told of an end, or not.
    pub(crate) fn proxy_ended(
        &mut self,
        token: Option<u64>,
        agent: ClientId,
        connection: ConnectionId,
        result: Result<Reply, NetworkError>,
    ) {
        let Some(node) = &mut self.coordinator else { return };
        if result.is_err() && node.registry.knows(&agent) {
            node.proxied.owe(agent, connection);
        }
        if let Some(token) = token {
            self.coordinator_answers(token, result);
        }
    }

    pub(crate) fn proxy_disconnected(
        &mut self,
        agent: &ClientId,
        token: u64,
        connection: &ConnectionId,
    ) {
        let Some(node) = &mut self.coordinator else { return };
        if node.proxied.listener(agent, connection).is_some()
            && let Some(client) = node.proxied.end(agent, connection)
        {
            self.end_at_client(&client, connection.clone());
        }
        self.coordinator_answers(token, Ok(Reply::Done));
    }

    pub(crate) fn proxy_cancelled(&mut self, token: u64) {
        match self.cancel_order(token) {
            Some(Ordered::Connect { connection, attempt, .. }) => {
                self.not_connected(&connection, attempt, true);
            }
            Some(Ordered::Disconnect { agent, connection, .. }) => {
                if let Some(node) = &mut self.coordinator {
                    node.proxied.owe(agent, connection);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn proxy_event(
        &mut self,
        agent: &ClientId,
        connection: &ConnectionId,
        epoch: Epoch,
        number: u64,
    ) {
        let Some(node) = &mut self.coordinator else { return };
        let Some(client) = node.proxied.listener(agent, connection).cloned() else { return };
        let connection = connection.clone();
        match node.sessions.connection(&client) {
            Some(way) => self.send_down(way, Message::Broadcast { connection, epoch, number }),
            None => {
                node.proxied.end(&client, &connection);
                self.end_at_agent(agent.clone(), connection.clone());
                self.end_at_client(&client, connection);
            }
        }
    }

    /// Nothing of a peer that is gone stays.
    pub(crate) fn proxy_loses(&mut self, peer: &ClientId) {
        let Some(node) = &mut self.coordinator else { return };
        let ended = node.proxied.end_all(peer);
        for (agent, connection) in ended.at_agents {
            self.end_at_agent(agent, connection);
        }
        for (client, connection) in ended.at_clients {
            self.end_at_client(&client, connection);
        }
    }

    /// An agent was heard: what it could not be told before is told now.
    pub(crate) fn settle(&mut self, agent: &ClientId) {
        let Some(node) = &mut self.coordinator else { return };
        for connection in node.proxied.owed(agent) {
            self.end_at_agent(agent.clone(), connection);
        }
    }

    fn end_at_agent(&mut self, agent: ClientId, connection: ConnectionId) {
        let call = Call::Disconnect { connection: connection.clone() };
        let ordered = Ordered::Disconnect { token: None, agent: agent.clone(), connection };
        self.order(&agent, ordered, call);
    }

    fn end_at_client(&mut self, client: &ClientId, connection: ConnectionId) {
        self.order(client, Ordered::Tell, Call::Disconnected { connection, error: None });
    }
}
