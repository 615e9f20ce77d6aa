//! Which proxied connection joins which client and agent; pure.
//!
//! An agent that cannot be told that a connection ended, because it is
//! reconnecting in that moment, is told when it is heard again: its session
//! goes on, and with it the connection that nobody has any more.

use std::collections::{BTreeMap, BTreeSet};

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{ClientId, ConnectionId, ErrorKind, NetworkError};

/// How many ends of connections wait for one agent that is reconnecting. It is
/// told no more than these; the others end with its session.
const OWED: usize = 100_000;

/// How many proxied connections one client may have.
pub const PER_CLIENT: usize = 10_000;

/// The two ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ends {
    client: ClientId,
    agent: ClientId,
    attempt: Attempt,
    /// The agent may have it from an attempt before.
    again: bool,
}

/// Tells the attempts to make one connection apart: a client that came back
/// makes it again under its name while the former attempt is still ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt(u64);

/// An attempt that was added, and the agent at which an earlier one has to be
/// ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Begun {
    /// Names it.
    pub attempt: Attempt,
    /// Where an earlier one has to be ended.
    pub earlier: Option<ClientId>,
}

/// The proxied connections, by name and by either end.
#[derive(Debug, Default)]
pub struct Connections {
    table: BTreeMap<ConnectionId, Ends>,
    by_peer: BTreeMap<ClientId, BTreeSet<ConnectionId>>,
    /// What agents have still to be told of.
    owed: BTreeMap<ClientId, BTreeSet<ConnectionId>>,
    latest: Attempt,
}

impl Connections {
    /// Adds a connection. When the client had it to another agent, its end
    /// there has to be ended.
    ///
    /// # Errors
    /// When the name is another client's, or the client has too many.
    pub fn begin(
        &mut self,
        client: &ClientId,
        agent: &ClientId,
        connection: &ConnectionId,
    ) -> Result<Begun, NetworkError> {
        let known = self.table.get(connection);
        let again = known.is_some_and(|ends| ends.agent == *agent);
        let earlier = match known {
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
        let again = self.settle(agent, connection) || again;
        let ends = Ends { client: client.clone(), agent: agent.clone(), attempt, again };
        for peer in [client, agent] {
            self.by_peer.entry(peer.clone()).or_default().insert(connection.clone());
        }
        self.table.insert(connection.clone(), ends);
        Ok(Begun { attempt, earlier })
    }

    /// Ends a connection whose attempt failed, unless it was made again since;
    /// gives the agent that has to end it: one that perhaps made it, now or in
    /// an attempt before.
    pub fn failed(
        &mut self,
        connection: &ConnectionId,
        attempt: Attempt,
        perhaps_made: bool,
    ) -> Option<ClientId> {
        let ends = self.table.get(connection).filter(|ends| ends.attempt == attempt)?;
        let made = perhaps_made || ends.again;
        let agent = self.remove(connection)?.agent;
        made.then_some(agent)
    }

    /// An agent was not told that a connection ended.
    pub fn owe(&mut self, agent: ClientId, connection: ConnectionId) {
        if self.listener(&agent, &connection).is_some() || mutant(Mutant::UnheardGoodbye) {
            return;
        }
        let owed = self.owed.entry(agent).or_default();
        if owed.len() < OWED {
            owed.insert(connection);
        }
    }

    /// What an agent that was heard again has to be told of.
    pub fn owed(&mut self, agent: &ClientId) -> BTreeSet<ConnectionId> {
        self.owed.remove(agent).unwrap_or_default()
    }

    /// Who listens to what an agent sends on a connection.
    #[must_use]
    pub fn listener(&self, agent: &ClientId, connection: &ConnectionId) -> Option<&ClientId> {
        let ends = self.table.get(connection).filter(|ends| ends.agent == *agent)?;
        Some(&ends.client)
    }

    /// The agent whose container sends on a connection of a client.
    #[must_use]
    pub fn speaker(&self, client: &ClientId, connection: &ConnectionId) -> Option<&ClientId> {
        let ends = self.table.get(connection).filter(|ends| ends.client == *client)?;
        Some(&ends.agent)
    }

    /// Ends a connection of one of its two peers; gives the other one.
    pub fn end(&mut self, peer: &ClientId, connection: &ConnectionId) -> Option<ClientId> {
        let ends = self.table.get(connection)?;
        if ends.client != *peer && ends.agent != *peer {
            return None;
        }
        let ends = self.remove(connection)?;
        Some(if ends.client == *peer { ends.agent } else { ends.client })
    }

    /// Ends all connections of a peer that is gone. Gives those of its agents
    /// (it was their client), then those of its clients.
    pub fn end_all(&mut self, peer: &ClientId) -> Ended {
        let mut ended = Ended::default();
        self.owed.remove(peer);
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

    /// The agent is not told any more; answers whether it was to be.
    fn settle(&mut self, agent: &ClientId, connection: &ConnectionId) -> bool {
        let Some(owed) = self.owed.get_mut(agent) else { return false };
        let settled = owed.remove(connection);
        if owed.is_empty() {
            self.owed.remove(agent);
        }
        settled
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
pub struct Ended {
    /// Agents that still serve a connection.
    pub at_agents: Vec<(ClientId, ConnectionId)>,
    /// Clients that still listen to one.
    pub at_clients: Vec<(ClientId, ConnectionId)>,
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
        assert_eq!(connections.speaker(&peer("c"), &named("1")), Some(&peer("a")));
        assert_eq!(connections.speaker(&peer("d"), &named("1")), None);
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
        assert_eq!(connections.failed(&named("1"), first, true), None);
        assert_eq!(connections.listener(&peer("a"), &named("1")), Some(&peer("c")));
        // The agent saw nothing of it, but perhaps of the first.
        assert_eq!(connections.failed(&named("1"), second, false), Some(peer("a")));
        assert!(connections.by_peer.is_empty());
    }

    #[test]
    fn an_attempt_of_which_the_agent_saw_nothing_has_nothing_to_end() {
        let mut connections = Connections::default();
        let begun = connections.begin(&peer("c"), &peer("a"), &named("1")).unwrap();
        assert_eq!(connections.failed(&named("1"), begun.attempt, false), None);
        assert_eq!(connections.listener(&peer("a"), &named("1")), None);
    }

    #[test]
    fn an_agent_that_was_not_told_of_an_end_is_told_when_it_is_heard_again() {
        let mut connections = Connections::default();
        connections.owe(peer("a"), named("1"));
        assert_eq!(connections.owed(&peer("b")), BTreeSet::new());
        assert_eq!(connections.owed(&peer("a")), [named("1")].into());
        assert_eq!(connections.owed(&peer("a")), BTreeSet::new());
        // Made again meanwhile: nothing has ended.
        connections.begin(&peer("c"), &peer("a"), &named("1")).unwrap();
        connections.owe(peer("a"), named("1"));
        assert_eq!(connections.owed(&peer("a")), BTreeSet::new());
        // The agent itself is gone.
        connections.owe(peer("a"), named("2"));
        connections.end_all(&peer("a"));
        assert_eq!(connections.owed(&peer("a")), BTreeSet::new());
    }

    #[test]
    fn a_connection_that_an_agent_was_to_end_is_made_again_in_its_place() {
        let mut connections = Connections::default();
        connections.owe(peer("a"), named("1"));
        let begun = connections.begin(&peer("c"), &peer("a"), &named("1")).unwrap();
        assert_eq!(connections.owed(&peer("a")), BTreeSet::new());
        assert_eq!(connections.failed(&named("1"), begun.attempt, false), Some(peer("a")));
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
