//! Native clients hear what containers on agents of the original network
//! broadcast.
//!
//! Such an agent sends its events on its own address only, to whoever connected
//! there, and knows no credit. So the coordinator connects in the client's
//! place, once for each of its connections, and passes on what it hears: it
//! reads as fast as the agent sends, what the client does not take waits in the
//! ledger of its connection, and the client's policy decides about the rest,
//! just as on a native agent. When the agent's connection is over, so is the
//! client's, which then makes it again wherever the container is by then.

use std::time::Duration;

use bytes::Bytes;
use hulynet_backrpc::{endpoints::Way, visit::Subject};
use hulynet_bus::{Guest, Guests, Responder, Server};
use hulynet_protocol::{
    Amount, ConnectionId, ContainerId, ErrorKind, Event, Flow, NetworkError, NetworkEvent, Reply,
    flow::join,
    ledger::{Full, Ledger},
    limits,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    connections::Attempt,
    driver::{Driver, Report},
    ears::{Counted, Ear, Unread},
};
use crate::registry::Route;

/// How often a client is tried again for whose events there was no room.
const AGAIN: Duration = Duration::from_millis(5);

/// Where a container is heard.
#[derive(Debug)]
pub(crate) struct Place {
    address: String,
    subject: Subject,
}

impl Driver {
    /// Where the coordinator has to hear a container itself; `None` for one on
    /// a native agent.
    ///
    /// # Errors
    /// `Unavailable`, final, when its agent has no address; `Busy`.
    pub(crate) fn place(
        &self,
        route: &Route,
        id: &ContainerId,
    ) -> Result<Option<Place>, NetworkError> {
        if !self.originals.desk.speaks(&route.peer) {
            return Ok(None);
        }
        self.ears.check()?;
        match self.originals.desk.way(&route.agent, &id.uuid) {
            Way::Routed(address) => {
                Ok(Some(Place { address, subject: Subject::Routed(id.uuid.clone()) }))
            }
            Way::Direct(address) => Ok(Some(Place { address, subject: Subject::Direct })),
            Way::Unreachable => Err(NetworkError::refused(
                ErrorKind::Unavailable,
                format!(
                    "{id} is not heard: the agent {} gave no address for it; start that agent with \
                     an endpoint of its own",
                    route.agent
                ),
            )),
        }
    }

    /// Hears a container for a client.
    pub(crate) fn hear(&mut self, ear: Ear, place: Place, flow: Flow, responder: Responder) {
        let (guests, server) = (self.guests.clone(), self.server.clone());
        let unread = self.ears.unread.clone();
        let credit = self.ears.begin(ear.clone(), flow.credit);
        let hearing = Hearing { ear, ledger: Ledger::new(flow), unread, server, credit };
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            if let Some(report) = hearing.run(&guests, place, responder).await {
                // A driver that is gone has forgotten the connection.
                let _gone = reports.send(report).await;
            }
        });
    }

    /// A connection ends because its container is not heard any more.
    pub(crate) fn unheard(
        &mut self,
        connection: ConnectionId,
        attempt: Attempt,
        error: Option<NetworkError>,
    ) {
        let Some(Ear { client, .. }) = self.ears.end(&connection, attempt) else { return };
        if self.connections.end(&client, &connection).is_some() {
            self.end_at_client(client, connection, error);
        }
    }

    /// Agents of the original do not tell those who listen that a container
    /// ended.
    pub(crate) fn follow(&mut self, events: &[NetworkEvent]) {
        for NetworkEvent { change, .. } in events {
            for (connection, attempt) in self.ears.ended_by(change) {
                self.unheard(connection, attempt, None);
            }
        }
    }
}

/// Why a hearing is over.
enum End {
    /// The driver knows: it ended the connection.
    Forgotten,
    /// Something else did.
    Unheard(Option<NetworkError>),
}

/// Ends when the driver does not know the connection any more.
async fn forgotten(credit: &mut watch::Receiver<Amount>) {
    while credit.changed().await.is_ok() {}
}

/// One connection, in a task of its own.
struct Hearing {
    ear: Ear,
    ledger: Ledger<Counted>,
    unread: Unread,
    server: Server,
    /// Closed when the driver forgets the connection.
    credit: watch::Receiver<Amount>,
}

impl Hearing {
    async fn run(
        mut self,
        guests: &Guests,
        Place { address, subject }: Place,
        mut responder: Responder,
    ) -> Option<Report> {
        let time = responder.remaining();
        let visited = tokio::select! {
            visited = timeout(time, guests.visit(&address, subject)) => visited,
            () = responder.cancelled() => return Some(self.not_connected()),
            () = forgotten(&mut self.credit) => return None,
        };
        let mut guest = match visited {
            Ok(Ok(guest)) => guest,
            Ok(Err(error)) => {
                responder.reply(Err(error));
                return Some(self.not_connected());
            }
            Err(_elapsed) => {
                let why =
                    format!("{address}, where the container is heard, did not answer in time");
                responder.reply(Err(NetworkError::not_processed(ErrorKind::DeadlineExceeded, why)));
                return Some(self.not_connected());
            }
        };
        responder.reply(Ok((Reply::Done, Bytes::new())));
        let end = self.pass(&mut guest).await;
        guest.leave();
        match end {
            End::Forgotten => None,
            End::Unheard(error) => {
                let Ear { connection, attempt, .. } = self.ear;
                Some(Report::Unheard { connection, attempt, error })
            }
        }
    }

    fn not_connected(&self) -> Report {
        let Ear { connection, attempt, .. } = self.ear.clone();
        Report::NotConnected { connection, attempt, perhaps_made: false }
    }

    /// Passes events on until it is over.
    async fn pass(&mut self, guest: &mut Guest) -> End {
        let mut held = false;
        self.ledger.grant(*self.credit.borrow_and_update());
        loop {
            tokio::select! {
                heard = guest.hear() => match heard {
                    Ok(events) => {
                        let full = events.iter().find_map(|event| self.push(event).err());
                        if let Some(full) = full {
                            let (name, waiting) = (&self.ear.connection, self.ledger.len());
                            return End::Unheard(Some(full.ended(name, waiting)));
                        }
                    }
                    Err(error) => {
                        tracing::debug!(container = %self.ear.id, %error, "not heard any more");
                        return End::Unheard(None);
                    }
                },
                granted = self.credit.changed() => match granted {
                    Ok(()) => self.ledger.grant(*self.credit.borrow_and_update()),
                    Err(_forgotten) => return End::Forgotten,
                },
                () = sleep(AGAIN), if held => {}
            }
            held = match self.flush() {
                Ok(held) => held,
                // It is gone, or reconnecting, and then it connects anew.
                Err(error) => {
                    tracing::debug!(client = %self.ear.client, %error, "nobody listens any more");
                    return End::Unheard(None);
                }
            };
        }
    }

    /// Has an event wait for the client. All that waits is within this ear's
    /// part; only an event that is larger than that may wait alone.
    fn push(&mut self, event: &Bytes) -> Result<(), Full> {
        let part = self.unread.part();
        while !self.ledger.is_empty() && self.ledger.bytes() + event.len() > part {
            self.ledger.make_room()?;
        }
        let is_kept = event.len() <= part || self.unread.takes(event.len());
        self.ledger.push(event, self.unread.count(event.len()))?;
        if is_kept { Ok(()) } else { self.ledger.make_room() }
    }

    /// Sends what the client takes; whether some is left for which there is no
    /// room on the bus.
    fn flush(&mut self) -> Result<bool, NetworkError> {
        loop {
            let count = self.ledger.ready(limits::BATCH_EVENTS);
            if count == 0 {
                return Ok(false);
            }
            let events: Vec<Bytes> = self.ledger.oldest(count).cloned().collect();
            let (lengths, payload) = join(&events);
            let Ear { client, connection, epoch, .. } = &self.ear;
            let (connections, missed) = (vec![connection.clone()], self.ledger.missed());
            let event = Event::Container { connections, epoch: *epoch, missed, lengths };
            match self.server.event(client, event, payload) {
                Ok(()) => self.ledger.left(count),
                Err(error) if error.kind == ErrorKind::Busy => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
}
