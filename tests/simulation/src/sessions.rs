//! The sessions of a server, as the bus keeps them.

use std::{collections::BTreeMap, time::Duration};

use hulynet_bus::{Arrival, Window};
use hulynet_protocol::{ClientId, ErrorKind, NetworkError, Reply};

use crate::link::Clock;

pub(crate) type Answer = Result<Reply, NetworkError>;

struct Session {
    connection: Option<u64>,
    heard: u64,
    /// It was heard after its hello: the welcome arrived.
    known: bool,
    requests: Window<u64, Answer>,
}

/// What to do with a request that came.
pub(crate) enum Taken {
    /// Begin it under this number.
    New,
    /// It is in progress, or its session is over.
    Ignored,
    /// It ran before.
    Ran(Answer),
}

/// All sessions, by client and by connection.
#[derive(Default)]
pub(crate) struct Sessions {
    all: BTreeMap<ClientId, Session>,
    owners: BTreeMap<u64, ClientId>,
}

impl Sessions {
    /// Answers whether the session goes on, and its connection before.
    pub(crate) fn hello(
        &mut self,
        now: u64,
        connection: u64,
        client: &ClientId,
    ) -> (bool, Option<u64>) {
        self.owners.insert(connection, client.clone());
        let Some(session) = self.all.get_mut(client) else {
            let requests = Window::default();
            let session =
                Session { connection: Some(connection), heard: now, known: false, requests };
            self.all.insert(client.clone(), session);
            return (false, None);
        };
        session.heard = now;
        let before = session.connection.replace(connection).filter(|old| *old != connection);
        if let Some(before) = before {
            self.owners.remove(&before);
        }
        (session.known, before)
    }

    /// Who is heard on a connection.
    pub(crate) fn heard(&mut self, now: u64, connection: u64) -> Option<ClientId> {
        let client = self.owners.get(&connection)?;
        if let Some(session) = self.all.get_mut(client) {
            session.heard = now;
            session.known = true;
        }
        Some(client.clone())
    }

    /// Where a client is reached now.
    pub(crate) fn connection(&self, client: &ClientId) -> Option<u64> {
        self.all.get(client)?.connection
    }

    pub(crate) fn disconnected(&mut self, connection: u64) {
        if let Some(client) = self.owners.remove(&connection)
            && let Some(session) = self.all.get_mut(&client)
        {
            session.connection = None;
        }
    }

    /// Who was silent for too long.
    pub(crate) fn silent(&self, now: u64, clock: &Clock, lease: Duration) -> Vec<ClientId> {
        let silent = |session: &Session| clock.elapsed(now - session.heard) >= lease;
        let all = self.all.iter().filter(|(_, session)| silent(session));
        all.map(|(client, _)| client.clone()).collect()
    }

    /// Ends a session; answers its connection.
    pub(crate) fn forget(&mut self, client: &ClientId) -> Option<u64> {
        let connection = self.all.remove(client)?.connection?;
        self.owners.remove(&connection);
        Some(connection)
    }

    /// A request of a client came.
    pub(crate) fn take(&self, client: &ClientId, id: u64) -> Taken {
        let Some(session) = self.all.get(client) else { return Taken::Ignored };
        match session.requests.arrival(id) {
            Arrival::New => Taken::New,
            Arrival::Joined => Taken::Ignored,
            Arrival::Finished(answer) => Taken::Ran(answer.clone()),
            Arrival::Forgotten => Taken::Ran(Err(NetworkError::maybe_processed(
                ErrorKind::Unavailable,
                "it may have been processed",
            ))),
        }
    }

    /// It is in progress under this number.
    pub(crate) fn begin(&mut self, client: &ClientId, id: u64, number: u64) {
        if let Some(session) = self.all.get_mut(client) {
            session.requests.begin(id, number);
        }
    }

    /// It is over; answers where the answer goes.
    pub(crate) fn finish(&mut self, client: &ClientId, id: u64, answer: Answer) -> Option<u64> {
        let session = self.all.get_mut(client)?;
        session.requests.finish(id, answer, 100);
        session.connection
    }

    /// It was given up; answers its number.
    pub(crate) fn cancel(&mut self, client: &ClientId, id: u64) -> Option<u64> {
        self.all.get_mut(client)?.requests.cancel(id)
    }
}
