//! Who is there: sessions by client id, over their connections.
//!
//! A state machine without clock: times are parameters. A session begins with
//! a hello, goes on over new connections of the same client, and ends by
//! goodbye, by being forgotten, or by silence.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use hulynet_protocol::ClientId;
use tokio::time::Instant;

/// The most sessions at the same time.
const SESSIONS: usize = 65_536;

/// One session.
#[derive(Debug)]
struct Session {
    client: ClientId,
    /// The client's run, as it says; a client of the original says none.
    run: Option<u64>,
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
    /// A session of this name, the client's first.
    New(u64),
    /// A session of this name instead of the client's former one (`ended`),
    /// which was of another run.
    Replaced { session: u64, ended: u64 },
    /// A known session on a new connection.
    Moved(u64),
    /// A known session on the connection that it had.
    Repeated(u64),
    /// The connection belongs to another client.
    Taken,
    /// There are too many sessions.
    Full,
}

/// Who says hello, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Greeting<'hello> {
    pub(super) connection: u64,
    pub(super) client: &'hello ClientId,
    pub(super) run: Option<u64>,
    pub(super) alive_timeout: Duration,
}

/// See the module. Sessions are named by numbers, which are never used again.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    latest: u64,
    sessions: HashMap<u64, Session>,
    by_client: HashMap<ClientId, u64>,
    by_connection: HashMap<u64, u64>,
    /// When to look at which. Being heard does not change it: a look that finds
    /// the session alive plans the next one.
    timetable: BTreeSet<(Instant, u64)>,
}

impl Sessions {
    /// A hello arrived.
    pub(super) fn hello(&mut self, now: Instant, greeting: Greeting<'_>) -> Greeted {
        let Greeting { connection, client, run, alive_timeout } = greeting;
        let owner = self.by_connection.get(&connection).and_then(|owner| self.sessions.get(owner));
        if owner.is_some_and(|owner| owner.client != *client) {
            return Greeted::Taken;
        }
        let known = self.by_client.get(client).copied();
        let same = known.and_then(|known| Some((known, self.sessions.get_mut(&known)?)));
        if let Some((number, session)) = same
            && session.run == run
        {
            self.timetable.remove(&(session.check, number));
            session.check = now + alive_timeout;
            self.timetable.insert((session.check, number));
            session.heard = now;
            session.alive_timeout = alive_timeout;
            let before = session.connection.replace(connection);
            if before == Some(connection) {
                return Greeted::Repeated(number);
            }
            if let Some(before) = before {
                self.by_connection.remove(&before);
            }
            self.by_connection.insert(connection, number);
            return Greeted::Moved(number);
        }
        if known.is_none() && self.sessions.len() >= SESSIONS {
            return Greeted::Full;
        }
        let ended = known.filter(|known| self.remove(*known).is_some());
        self.latest += 1;
        let session = self.latest;
        let (check, client) = (now + alive_timeout, client.clone());
        self.by_client.insert(client.clone(), session);
        self.by_connection.insert(connection, session);
        self.timetable.insert((check, session));
        let connection = Some(connection);
        let new = Session { client, run, alive_timeout, heard: now, connection, check };
        self.sessions.insert(session, new);
        ended.map_or(Greeted::New(session), |ended| Greeted::Replaced { session, ended })
    }

    /// A message arrived on a connection; for which session.
    pub(super) fn heard(&mut self, now: Instant, connection: u64) -> Option<u64> {
        let session = *self.by_connection.get(&connection)?;
        self.sessions.get_mut(&session)?.heard = now;
        Some(session)
    }

    /// A connection was lost; its session waits for another one.
    pub(super) fn disconnected(&mut self, connection: u64) -> Option<u64> {
        let session = self.by_connection.remove(&connection)?;
        self.sessions.get_mut(&session)?.connection = None;
        Some(session)
    }

    /// Whether a connection has a session.
    pub(super) fn is_attached(&self, connection: u64) -> bool {
        self.by_connection.contains_key(&connection)
    }

    /// The session of a client.
    pub(super) fn of(&self, client: &ClientId) -> Option<u64> {
        self.by_client.get(client).copied()
    }

    /// Ends a session; whose it was.
    pub(super) fn remove(&mut self, session: u64) -> Option<ClientId> {
        let Session { client, check, connection, .. } = self.sessions.remove(&session)?;
        self.timetable.remove(&(check, session));
        self.by_client.remove(&client);
        if let Some(connection) = connection {
            self.by_connection.remove(&connection);
        }
        Some(client)
    }

    /// When [`Self::silent`] must be asked next.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timetable.first().map(|(check, _)| *check)
    }

    /// A session that was silent for its alive timeout; ask until `None`, and
    /// [`Self::remove`] each.
    pub(super) fn silent(&mut self, now: Instant) -> Option<u64> {
        loop {
            let (check, _) = self.timetable.first()?;
            if *check > now {
                return None;
            }
            let (_, number) = self.timetable.pop_first()?;
            let Some(session) = self.sessions.get_mut(&number) else { continue };
            session.check = session.heard + session.alive_timeout;
            let is_silent = session.check <= now;
            self.timetable.insert((session.check, number));
            if is_silent {
                return Some(number);
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

    fn hello(sessions: &mut Sessions, now: Instant, connection: u64, name: &str) -> Greeted {
        again(sessions, now, connection, name, 1)
    }

    fn again(
        sessions: &mut Sessions,
        now: Instant,
        connection: u64,
        name: &str,
        run: u64,
    ) -> Greeted {
        let (client, run) = (&client(name), Some(run));
        sessions.hello(now, Greeting { connection, client, run, alive_timeout: TIMEOUT })
    }

    #[test]
    fn a_session_moves_with_its_client() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        assert_eq!(hello(&mut sessions, now, 1, "ann"), Greeted::New(1));
        assert_eq!(hello(&mut sessions, now, 1, "ann"), Greeted::Repeated(1));
        assert_eq!(hello(&mut sessions, now, 2, "ann"), Greeted::Moved(1));
        assert_eq!(sessions.heard(now, 1), None);
        assert_eq!(sessions.heard(now, 2), Some(1));
        assert_eq!(sessions.disconnected(2), Some(1));
        assert_eq!(hello(&mut sessions, now, 3, "ann"), Greeted::Moved(1));
        assert_eq!(sessions.remove(1), Some(client("ann")));
        assert_eq!(hello(&mut sessions, now, 3, "ann"), Greeted::New(2));
    }

    #[test]
    fn another_run_of_a_client_has_a_session_of_its_own() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        assert_eq!(again(&mut sessions, now, 1, "ann", 7), Greeted::New(1));
        let replaced = Greeted::Replaced { session: 2, ended: 1 };
        assert_eq!(again(&mut sessions, now, 2, "ann", 8), replaced);
        assert_eq!((sessions.heard(now, 1), sessions.heard(now, 2)), (None, Some(2)));
        assert_eq!(sessions.of(&client("ann")), Some(2));
        assert_eq!(sessions.silent(now + TIMEOUT), Some(2));
    }

    #[test]
    fn a_connection_has_one_owner() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        hello(&mut sessions, now, 1, "ann");
        assert_eq!(hello(&mut sessions, now, 1, "bob"), Greeted::Taken);
        assert_eq!(sessions.heard(now, 1), Some(1));
    }

    #[test]
    fn silence_ends_a_session_and_a_message_prolongs_it() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        hello(&mut sessions, now, 1, "ann");
        hello(&mut sessions, now, 2, "bob");
        let half = now + TIMEOUT / 2;
        sessions.heard(half, 2);
        assert_eq!(sessions.next_timeout(), Some(now + TIMEOUT));
        assert_eq!(sessions.silent(half), None);
        assert_eq!(sessions.silent(now + TIMEOUT), Some(1));
        sessions.remove(1);
        assert_eq!(sessions.silent(now + TIMEOUT), None);
        assert_eq!(sessions.next_timeout(), Some(half + TIMEOUT));
        assert_eq!(sessions.silent(half + TIMEOUT), Some(2));
    }

    #[test]
    fn there_are_not_more_sessions_than_allowed() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        for number in 0..SESSIONS as u64 {
            hello(&mut sessions, now, number, &number.to_string());
        }
        assert_eq!(hello(&mut sessions, now, u64::MAX, "late"), Greeted::Full);
        assert_eq!(hello(&mut sessions, now, u64::MAX, "7"), Greeted::Moved(8));
    }
}
