//! Who is there: sessions by client id, over their connections.
//!
//! A state machine without clock: times are parameters. A session begins with
//! a hello, goes on over new connections of the same client, and ends by
//! goodbye, by being forgotten, or by silence.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::Duration,
};

use hulynet_protocol::ClientId;
use tokio::time::Instant;

/// The most sessions at the same time.
const SESSIONS: usize = 65_536;

/// One session.
#[derive(Debug)]
struct Session {
    alive_timeout: Duration,
    heard: Instant,
    /// Its connection, unless that was lost.
    connection: Option<u64>,
    /// When its silence is looked at next; its key in the timetable.
    check: Instant,
}

/// What a hello brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Greeted {
    /// A new session.
    New,
    /// A known session on the connection that it had.
    Repeated,
    /// A known session on a new connection, instead of this one.
    Moved(Option<u64>),
    /// The connection belongs to another client.
    Taken,
    /// There are too many sessions.
    Full,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: HashMap<ClientId, Session>,
    by_connection: HashMap<u64, ClientId>,
    /// When to look at whom. Being heard does not change it: a look that finds
    /// the session alive plans the next one.
    timetable: BTreeSet<(Instant, ClientId)>,
}

impl Sessions {
    /// A hello arrived on a connection.
    pub(super) fn hello(
        &mut self,
        now: Instant,
        connection: u64,
        client: &ClientId,
        alive_timeout: Duration,
    ) -> Greeted {
        if self.by_connection.get(&connection).is_some_and(|owner| owner != client) {
            return Greeted::Taken;
        }
        let full = self.sessions.len() >= SESSIONS;
        let check = now + alive_timeout;
        let greeted = match self.sessions.entry(client.clone()) {
            Entry::Occupied(mut entry) => {
                let session = entry.get_mut();
                self.timetable.remove(&(session.check, client.clone()));
                session.check = check;
                session.heard = now;
                session.alive_timeout = alive_timeout;
                let before = session.connection.replace(connection);
                if before == Some(connection) {
                    Greeted::Repeated
                } else {
                    if let Some(before) = before {
                        self.by_connection.remove(&before);
                    }
                    Greeted::Moved(before)
                }
            }
            Entry::Vacant(_) if full => return Greeted::Full,
            Entry::Vacant(entry) => {
                let connection = Some(connection);
                entry.insert(Session { alive_timeout, heard: now, connection, check });
                Greeted::New
            }
        };
        self.by_connection.insert(connection, client.clone());
        self.timetable.insert((check, client.clone()));
        greeted
    }

    /// A message arrived on a connection; whose it is.
    pub(super) fn heard(&mut self, now: Instant, connection: u64) -> Option<&ClientId> {
        let client = self.by_connection.get(&connection)?;
        self.sessions.get_mut(client)?.heard = now;
        Some(client)
    }

    /// A connection was lost; its session waits for another one.
    pub(super) fn disconnected(&mut self, connection: u64) -> Option<ClientId> {
        let client = self.by_connection.remove(&connection)?;
        self.sessions.get_mut(&client)?.connection = None;
        Some(client)
    }

    /// Ends a session. `None` when there is none, else its connection.
    pub(super) fn remove(&mut self, client: &ClientId) -> Option<Option<u64>> {
        let session = self.sessions.remove(client)?;
        self.timetable.remove(&(session.check, client.clone()));
        if let Some(connection) = session.connection {
            self.by_connection.remove(&connection);
        }
        Some(session.connection)
    }

    /// When [`Self::silent`] must be asked next.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timetable.first().map(|(check, _)| *check)
    }

    /// A session that was silent for its alive timeout; ask until `None`, and
    /// [`Self::remove`] each.
    pub(super) fn silent(&mut self, now: Instant) -> Option<ClientId> {
        loop {
            let (check, _) = self.timetable.first()?;
            if *check > now {
                return None;
            }
            let (_, client) = self.timetable.pop_first()?;
            let Some(session) = self.sessions.get_mut(&client) else { continue };
            session.check = session.heard + session.alive_timeout;
            let is_silent = session.check <= now;
            self.timetable.insert((session.check, client.clone()));
            if is_silent {
                return Some(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(3);

    fn client(name: &str) -> ClientId {
        ClientId::new(name).unwrap()
    }

    #[test]
    fn a_session_moves_with_its_client() {
        let (mut sessions, now, ann) = (Sessions::default(), Instant::now(), client("ann"));
        assert_eq!(sessions.hello(now, 1, &ann, TIMEOUT), Greeted::New);
        assert_eq!(sessions.hello(now, 1, &ann, TIMEOUT), Greeted::Repeated);
        assert_eq!(sessions.hello(now, 2, &ann, TIMEOUT), Greeted::Moved(Some(1)));
        assert_eq!(sessions.heard(now, 1), None);
        assert_eq!(sessions.heard(now, 2), Some(&ann));
        assert_eq!(sessions.disconnected(2), Some(ann.clone()));
        assert_eq!(sessions.hello(now, 3, &ann, TIMEOUT), Greeted::Moved(None));
        assert_eq!(sessions.remove(&ann), Some(Some(3)));
        assert_eq!(sessions.hello(now, 3, &ann, TIMEOUT), Greeted::New);
    }

    #[test]
    fn a_connection_has_one_owner() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        sessions.hello(now, 1, &client("ann"), TIMEOUT);
        assert_eq!(sessions.hello(now, 1, &client("bob"), TIMEOUT), Greeted::Taken);
        assert_eq!(sessions.heard(now, 1), Some(&client("ann")));
    }

    #[test]
    fn silence_ends_a_session_and_a_message_prolongs_it() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (ann, bob) = (client("ann"), client("bob"));
        sessions.hello(now, 1, &ann, TIMEOUT);
        sessions.hello(now, 2, &bob, TIMEOUT);
        let half = now + TIMEOUT / 2;
        sessions.heard(half, 2);
        assert_eq!(sessions.next_timeout(), Some(now + TIMEOUT));
        assert_eq!(sessions.silent(half), None);
        assert_eq!(sessions.silent(now + TIMEOUT), Some(ann.clone()));
        sessions.remove(&ann);
        assert_eq!(sessions.silent(now + TIMEOUT), None);
        assert_eq!(sessions.next_timeout(), Some(half + TIMEOUT));
        assert_eq!(sessions.silent(half + TIMEOUT), Some(bob));
    }

    #[test]
    fn there_are_not_more_sessions_than_allowed() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        for number in 0..SESSIONS as u64 {
            sessions.hello(now, number, &client(&number.to_string()), TIMEOUT);
        }
        assert_eq!(sessions.hello(now, u64::MAX, &client("late"), TIMEOUT), Greeted::Full);
        assert_eq!(sessions.hello(now, u64::MAX, &client("7"), TIMEOUT), Greeted::Moved(Some(7)));
    }
}
