//! The thin driver of a client's connections.

use std::time::{Duration, Instant};

use hulynet_client::{
    attachment::{Attached, Attachment, Step},
    paths::{Choice, Path},
};
use hulynet_protocol::{
    Call, Caller, ConnectionId, ContainerId, ContainerRecord, Epoch, ErrorKind, Flow, NetworkError,
    Policy, Reply, Target,
};

use crate::{
    coordinator::LEASE,
    link::{Pending, Place},
    names,
    sessions::Answer,
    world::{Event, World},
};

/// How long a round of attempts may take.
const ROUND: Duration = Duration::from_secs(10);

/// How long a goodbye may take, in microseconds.
const GOODBYE: u64 = 1_000_000;

/// How long an agent has for its first hello.
const HELLO: Duration = Duration::from_secs(1);

/// A connection that the program has.
pub(crate) struct Open {
    pub(crate) id: ContainerId,
    pub(crate) attachment: Attachment,
    doing: Doing,
    /// When a goodbye under way is given up.
    until: Option<u64>,
    /// What it read, by number.
    pub(crate) read: Vec<u64>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Calling { place: Place, call: u64 },
    Locating { token: u64 },
}

impl World {
    /// Connects to a container that the program holds.
    pub(crate) fn open(&mut self, peer: usize, id: ContainerId) {
        let number = self.number();
        let local = self.local(peer);
        let Some(client) = self.client(peer) else { return };
        client.references.add_handle(&id);
        let open = Open {
            id,
            attachment: Attachment::new(local, ROUND, LEASE),
            doing: Doing::Nothing,
            until: None,
            read: Vec::new(),
        };
        client.connections.insert(number, open);
        self.follow(peer, number);
    }

    /// The program gives a connection up, or its container refused it.
    pub(crate) fn close(&mut self, peer: usize, number: u64) {
        let Some(client) = self.client(peer) else { return };
        let Some(open) = client.connections.remove(&number) else { return };
        if let Doing::Calling { place, call } = open.doing {
            self.give_up(peer, place, call);
        }
        let connection = names::connection(number);
        for attached in open.attachment.places() {
            let call = Call::Disconnect { connection: connection.clone() };
            // One that reconnects hears it when its session goes on.
            if let Some(place) = self.place(&attached.path)
                && self.peers[peer].lines.contains_key(&place)
            {
                self.call(peer, place, call, Pending::Nothing);
            }
        }
        let Some(client) = self.client(peer) else { return };
        client.references.drop_handle(&open.id);
        self.client_acts(peer);
    }

    fn local(&self, peer: usize) -> Instant {
        self.peers[peer].clock.instant(self.now)
    }

    /// Where a path leads.
    fn place(&self, path: &Path) -> Option<Place> {
        match path {
            Path::Proxied => Some(Place::Coordinator),
            Path::Direct(address) => self.host(address).map(Place::Agent),
        }
    }

    fn attachment(&mut self, peer: usize, number: u64) -> Option<&mut Attachment> {
        let open = self.client(peer)?.connections.get_mut(&number)?;
        Some(&mut open.attachment)
    }

    /// Does what a connection asks for, until it waits.
    pub(crate) fn follow(&mut self, peer: usize, number: u64) {
        loop {
            let (now, local) = (self.now, self.local(peer));
            let Some(client) = self.client(peer) else { return };
            let Some(open) = client.connections.get_mut(&number) else { return };
            if open.doing != Doing::Nothing {
                return;
            }
            let step = open.attachment.step(local);
            // Without deadlines: they are those of this machine's clock.
            if let Step::Leave(at) | Step::Connect(at, _) = &step {
                let leaves = matches!(step, Step::Leave(_));
                self.note(|| format!("client {peer}: {number} at {at:?}, leaves {leaves}"));
            }
            let Some(client) = self.client(peer) else { return };
            let Some(open) = client.connections.get_mut(&number) else { return };
            match step {
                Step::Wait(None) => return,
                Step::Wait(Some(until)) => return self.follow_at(peer, number, until),
                Step::End(_) => return self.close(peer, number),
                Step::Route(deadline) => {
                    if !self.route(peer, number, deadline) {
                        return;
                    }
                }
                Step::Leave(at) => {
                    let until = *open.until.get_or_insert(now + GOODBYE);
                    let connection = names::connection(number);
                    let call = Call::Disconnect { connection };
                    if !self.ask_server(peer, number, &at, call, Pending::Leave(number), until) {
                        return;
                    }
                }
                Step::Connect(at, deadline) => {
                    let target = Target { id: open.id.clone(), epoch: Some(at.epoch) };
                    let connection = names::connection(number);
                    let caller = Caller::default();
                    let flow = Flow::endless(Policy::Disconnect);
                    let call = Call::Connect { target, connection, caller, flow };
                    let until = self.peers[peer].clock.when_instant(deadline);
                    if !self.ask_server(peer, number, &at, call, Pending::Connect(number), until) {
                        return;
                    }
                }
                Step::Locate { tried, deadline } => {
                    let token = self.number();
                    let Some(client) = self.client(peer) else { return };
                    let Some(open) = client.connections.get_mut(&number) else { return };
                    open.doing = Doing::Locating { token };
                    client.references.locate(&open.id, tried, token);
                    self.follow_at(peer, number, deadline);
                    return self.client_acts(peer);
                }
            }
        }
    }

    fn follow_at(&mut self, peer: usize, number: u64, local: Instant) {
        let life = self.peers[peer].life;
        let at = self.peers[peer].clock.when_instant(local).max(self.now);
        self.at(at, Event::Follow { peer, life, number });
    }

    /// It is time to look at a connection again.
    pub(crate) fn follow_due(&mut self, peer: usize, number: u64) {
        let local = self.local(peer);
        let Some(client) = self.client(peer) else { return };
        let Some(open) = client.connections.get_mut(&number) else { return };
        if let Doing::Locating { .. } = open.doing
            && let Step::Locate { deadline, .. } = open.attachment.step(local)
            && deadline <= local
        {
            open.attachment.unlocated(local);
            open.doing = Doing::Nothing;
        }
        self.follow(peer, number);
    }

    /// Finds a path; `false` when it takes a while.
    fn route(&mut self, peer: usize, number: u64, deadline: Instant) -> bool {
        let local = self.local(peer);
        let Some(client) = self.client(peer) else { return false };
        let Some(open) = client.connections.get_mut(&number) else { return false };
        let Some(record) = client.references.record(&open.id).cloned() else {
            let error = NetworkError::refused(ErrorKind::Internal, "it is not counted");
            open.attachment.failed(local, Epoch::default(), error);
            return true;
        };
        let epoch = record.epoch;
        if local >= deadline {
            let error = NetworkError::not_processed(ErrorKind::DeadlineExceeded, "no path");
            open.attachment.failed(local, epoch, error);
            return true;
        }
        let mut choice = client.paths.choose(local, &record.endpoint);
        if let Choice::Open(address) = choice {
            client.paths.opened(&address, local + HELLO);
            choice = client.paths.choose(local, &record.endpoint);
            self.open_link(peer, &address);
        }
        match choice {
            Choice::Wait(_, until) => {
                self.follow_at(peer, number, until);
                return false;
            }
            Choice::Take(path) => {
                if let Some(attachment) = self.attachment(peer, number) {
                    attachment.routed(Attached { path, epoch });
                }
            }
            Choice::Open(_) => {}
        }
        true
    }

    /// Makes a call for a connection; `false` when its answer is awaited, or a
    /// session with the coordinator.
    fn ask_server(
        &mut self,
        peer: usize,
        number: u64,
        at: &Attached,
        call: Call,
        pending: Pending,
        until: u64,
    ) -> bool {
        let now = self.now;
        let life = self.peers[peer].life;
        let place = self.place(&at.path);
        let joined = place.filter(|place| self.peers[peer].is_joined(*place));
        let Some(place) = joined else {
            if place == Some(Place::Coordinator) && now < until {
                self.at(now + 50_000, Event::Follow { peer, life, number });
                return false;
            }
            let error = NetworkError::not_processed(ErrorKind::Unavailable, "no link");
            self.ended(peer, number, pending, Err(error));
            return true;
        };
        let call = self.call(peer, place, call, pending);
        let Some(client) = self.client(peer) else { return false };
        let Some(open) = client.connections.get_mut(&number) else { return false };
        open.doing = Doing::Calling { place, call };
        self.at(until.max(now), Event::FollowLate { peer, life, number, call });
        false
    }

    /// A call for a connection is not waited for any longer.
    pub(crate) fn follow_late(&mut self, peer: usize, number: u64, call: u64) {
        let Some(client) = self.client(peer) else { return };
        let Some(open) = client.connections.get(&number) else { return };
        let Doing::Calling { place, call: current } = open.doing else { return };
        if current != call {
            return;
        }
        let pending = self.peers[peer].line(place).calls.get(&call).map(|(_, pending)| *pending);
        self.give_up(peer, place, call);
        if let Some(pending) = pending {
            let error = NetworkError::maybe_processed(ErrorKind::DeadlineExceeded, "late");
            self.ended(peer, number, pending, Err(error));
            self.follow(peer, number);
        }
    }

    pub(crate) fn connect_answered(&mut self, peer: usize, number: u64, result: Answer) {
        self.ended(peer, number, Pending::Connect(number), result);
        self.follow(peer, number);
    }

    pub(crate) fn leave_answered(&mut self, peer: usize, number: u64, result: Answer) {
        self.ended(peer, number, Pending::Leave(number), result);
        self.follow(peer, number);
    }

    fn ended(&mut self, peer: usize, number: u64, pending: Pending, result: Answer) {
        let local = self.local(peer);
        let Some(client) = self.client(peer) else { return };
        let Some(open) = client.connections.get_mut(&number) else { return };
        open.doing = Doing::Nothing;
        let line = format!("client {peer}: connection {number}, {pending:?}: {result:?}");
        self.note(|| line);
        let Some(client) = self.client(peer) else { return };
        let Some(open) = client.connections.get_mut(&number) else { return };
        match (pending, result) {
            (Pending::Leave(_), result) => {
                open.until = None;
                open.attachment.left(result.is_ok());
            }
            (_, Ok(Reply::Done)) => _ = open.attachment.connected(local),
            (_, Ok(_)) => {}
            (_, Err(error)) => {
                let Some(tried) = open.attachment.places().next().map(|at| at.epoch) else {
                    return;
                };
                open.attachment.failed(local, tried, error);
            }
        }
    }

    /// Whether the answer was for a connection.
    pub(crate) fn connection_located(
        &mut self,
        peer: usize,
        token: u64,
        result: &Result<(), NetworkError>,
    ) -> bool {
        let local = self.local(peer);
        let Some(client) = self.client(peer) else { return false };
        let waits = Doing::Locating { token };
        let found = client.connections.iter_mut().find(|(_, open)| open.doing == waits);
        let Some((number, open)) = found else { return false };
        let number = *number;
        open.doing = Doing::Nothing;
        open.attachment.located(local, result.clone());
        self.follow(peer, number);
        true
    }

    /// News for some connections.
    pub(crate) fn disturb(&mut self, peer: usize, news: impl Fn(&mut Open)) {
        let Some(client) = self.client(peer) else { return };
        client.connections.values_mut().for_each(news);
        self.follow_all(peer);
    }

    pub(crate) fn follow_all(&mut self, peer: usize) {
        let Some(client) = self.client(peer) else { return };
        let all: Vec<u64> = client.connections.keys().copied().collect();
        for number in all {
            self.follow(peer, number);
        }
    }

    pub(crate) fn moved(&mut self, peer: usize, record: &ContainerRecord) {
        self.disturb(peer, |open| {
            if open.id == record.id {
                open.attachment.moved(record.epoch);
            }
        });
    }

    /// The container's side ended a connection.
    pub(crate) fn connection_ended(&mut self, peer: usize, connection: &ConnectionId) {
        let Some(client) = self.client(peer) else { return };
        let found =
            client.connections.iter_mut().find(|(n, _)| names::connection(**n) == *connection);
        if let Some((number, open)) = found {
            let number = *number;
            open.attachment.disturb();
            self.note(|| format!("client {peer}: connection {number} was ended"));
            self.follow(peer, number);
        }
    }

    /// What a container sent arrives.
    pub(crate) fn client_reads(
        &mut self,
        peer: usize,
        place: Place,
        connection: &ConnectionId,
        epoch: Epoch,
        number: u64,
    ) {
        let path = match place {
            Place::Coordinator => Path::Proxied,
            Place::Agent(agent) => match self.address(agent) {
                Some(address) => Path::Direct(address),
                None => return,
            },
        };
        let Some(client) = self.client(peer) else { return };
        let found =
            client.connections.iter_mut().find(|(n, _)| names::connection(**n) == *connection);
        let Some((_, open)) = found else { return };
        if !open.attachment.accepts(&path, epoch) {
            return;
        }
        let known = client.references.record(&open.id).map_or_else(Epoch::default, |r| r.epoch);
        let again = open.read.contains(&number);
        open.read.push(number);
        let id = open.id.clone();
        self.note(|| format!("client {peer} reads {number} of {id} {epoch}"));
        if epoch < known {
            self.fail("stale", format!("{id} {epoch} is read, though {known} is known"));
        } else if again {
            self.fail("twice", format!("{number} of {id} is read twice"));
        }
    }
}
