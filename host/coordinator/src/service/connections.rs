//! Which proxied connection joins which client and agent; pure.

use std::collections::{BTreeMap, BTreeSet};

use hulynet_protocol::{ClientId, ConnectionId, ErrorKind, NetworkError};

/// How many proxied connections one client may have.
pub(crate) const PER_CLIENT: usize = 10_000;

/// The two ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ends {
    client: ClientId,
    agent: ClientId,
    attempt: Attempt,
}

/// Tells the attempts to make one connection apart: a client that came back
/// makes it again under its name while the former attempt is still ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempt(u64);

/// An attempt that was added, and the agent at which an earlier one has to be
/// ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) attempt: Attempt,
    pub(crate) earlier: Option<ClientId>,
}

/// The proxied connections, by name and by either end.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    table: BTreeMap<ConnectionId, Ends>,
    by_peer: BTreeMap<ClientId, BTreeSet<ConnectionId>>,
    latest: Attempt,
}

impl Connections {
    /// Adds a connection. When the client had it to another agent, its end
    /// there has to be ended.
    ///
    /// # Errors
    /// When the name is another client's, or the client has too many.
    pub(crate) fn begin(
        &mut self,
        client: &ClientId,
        agent: &ClientId,
        connection: &ConnectionId,
    ) -> Result<Begun, NetworkError> {
        let earlier = match self.table.get(connection) {
            Some(ends) if ends.client != *client => {
                return Err(NetworkError::refused(
                    ErrorKind::InvalidArguments,
                    format!("the connection {connection} is in use; choose another name"),
                ));
            }
            Some(ends) => Some(ends.agent.clone()).filter(|earlier| earlier != agent),
            None if self.by_peer.get(client).is_some_and(|all| all.len() >= PER_CLIENT) => {
                return Err(NetworkError::not_processed(
                    ErrorKind::Busy,
                    format!("{client} has {PER_CLIENT} connections already; end some of them"),
                ));
            }
            None => None,
        };
        self.remove(connection);
        self.latest.0 += 1;
        let attempt = self.latest;
        let ends = Ends { client: client.clone(), agent: agent.clone(), attempt };
        for peer in [client, agent] {
            self.by_peer.entry(peer.clone()).or_default().insert(connection.clone());
        }
        self.table.insert(connection.clone(), ends);
        Ok(Begun { attempt, earlier })
    }

    /// Ends a connection whose attempt failed, unless it was made again since;
    /// gives its agent.
    pub(crate) fn failed(
        &mut self,
        connection: &ConnectionId,
        attempt: Attempt,
    ) -> Option<ClientId> {
        self.table.get(connection).filter(|ends| ends.attempt == attempt)?;
        Some(self.remove(connection)?.agent)
    }

    /// Who listens to what an agent sends on a connection.
    pub(crate) fn listener(
        &self,
        agent: &ClientId,
        connection: &ConnectionId,
    ) -> Option<&ClientId> {
        let ends = self.table.get(connection).filter(|ends| ends.agent == *agent)?;
        Some(&ends.client)
    }

    /// Ends a connection of one of its two peers; gives the other one.
    pub(crate) fn end(&mut self, peer: &ClientId, connection: &ConnectionId) -> Option<ClientId> {
        let ends = self.table.get(connection)?;
        if ends.client != *peer && ends.agent != *peer {
            return None;
        }
        let ends = self.remove(connection)?;
        Some(if ends.client == *peer { ends.agent } else { ends.client })
    }

    /// Ends all connections of a peer that is gone. Gives those of its agents
    /// (it was their client), then those of its clients.
    pub(crate) fn end_all(&mut self, peer: &ClientId) -> Ended {
        let mut ended = Ended::default();
        for connection in self.by_peer.get(peer).cloned().unwrap_or_default() {
            let Some(Ends { client, agent, .. }) = self.remove(&connection) else { continue };
            if client == *peer {
                ended.at_agents.push((agent, connection));
            } else {
                ended.at_clients.push((client, connection));
            }
        }
        ended
    }

    fn remove(&mut self, connection: &ConnectionId) -> Option<Ends> {
        let ends = self.table.remove(connection)?;
        for peer in [&ends.client, &ends.agent] {
            if let Some(all) = self.by_peer.get_mut(peer) {
                all.remove(connection);
                if all.is_empty() {
                    self.by_peer.remove(peer);
                }
            }
        }
        Some(ends)
    }
}

/// The other ends of a lost peer's connections.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Agents that still serve a connection.
    pub(crate) at_agents: Vec<(ClientId, ConnectionId)>,
    /// Clients that still listen to one.
    pub(crate) at_clients: Vec<(ClientId, ConnectionId)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> ClientId {
        ClientId::new(name).unwrap()
    }

    fn named(name: &str) -> ConnectionId {
        ConnectionId::new(name).unwrap()
    }

    #[test]
    fn only_the_agent_of_a_connection_reaches_its_client() {
        let mut connections = Connections::default();
        connections.begin(&peer("c"), &peer("a"), &named("1")).unwrap();
        assert_eq!(connections.listener(&peer("a"), &named("1")), Some(&peer("c")));
        assert_eq!(connections.listener(&peer("b"), &named("1")), None);
        assert_eq!(connections.end(&peer("b"), &named("1")), None);
        assert_eq!(connections.end(&peer("a"), &named("1")), Some(peer("c")));
        assert_eq!(connections.listener(&peer("a"), &named("1")), None);
        assert!(connections.by_peer.is_empty());
    }

    #[test]
    fn a_name_in_use_by_another_client_is_refused() {
        let mut connections = Connections::default();
        connections.begin(&peer("c"), &peer("a"), &named("1")).unwrap();
        let error = connections.begin(&peer("d"), &peer("a"), &named("1")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArguments);
        assert_eq!(connections.listener(&peer("a"), &named("1")), Some(&peer("c")));
    }

    #[test]
    fn a_connection_made_again_elsewhere_ends_at_the_first_agent() {
        let mut connections = Connections::default();
        connections.begin(&peer("c"), &peer("a"), &named("1")).unwrap();
        let mut again = |agent| connections.begin(&peer("c"), &peer(agent), &named("1")).unwrap();
        assert_eq!(again("a").earlier, None);
        assert_eq!(again("b").earlier, Some(peer("a")));
        assert_eq!(connections.end_all(&peer("a")), Ended::default());
    }

    #[test]
    fn an_attempt_that_fails_late_does_not_end_the_connection_that_was_made_since() {
        let mut connections = Connections::default();
        let mut begin = || connections.begin(&peer("c"), &peer("a"), &named("1")).unwrap().attempt;
        let (first, second) = (begin(), begin());
        assert_eq!(connections.failed(&named("1"), first), None);
        assert_eq!(connections.listener(&peer("a"), &named("1")), Some(&peer("c")));
        assert_eq!(connections.failed(&named("1"), second), Some(peer("a")));
        assert!(connections.by_peer.is_empty());
    }

    #[test]
    fn a_lost_peer_ends_its_connections_at_both_sides() {
        let mut connections = Connections::default();
        connections.begin(&peer("c"), &peer("a"), &named("1")).unwrap();
        connections.begin(&peer("d"), &peer("c"), &named("2")).unwrap();
        let ended = connections.end_all(&peer("c"));
        assert_eq!(ended.at_agents, [(peer("a"), named("1"))]);
        assert_eq!(ended.at_clients, [(peer("d"), named("2"))]);
        assert!(connections.table.is_empty() && connections.by_peer.is_empty());
    }

    #[test]
    fn the_connections_of_a_client_are_bounded() {
        let mut connections = Connections::default();
        for number in 0..PER_CLIENT {
            let name = named(&number.to_string());
            connections.begin(&peer("c"), &peer("a"), &name).unwrap();
        }
        let error = connections.begin(&peer("c"), &peer("a"), &named("more")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Busy);
        assert!(connections.begin(&peer("d"), &peer("a"), &named("more")).is_ok());
    }
}
