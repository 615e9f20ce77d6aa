//! The thin driver of a client's references and retries.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hulynet_client::{
    paths::Paths,
    references::{Action, References, Ticket},
    retry::{Attempts, Next, Repeat},
};
use hulynet_protocol::{
    Call, Change, ContainerId, Epoch, ErrorKind, GetOptions, Kind, NetworkError, NetworkEvent,
    Reply,
};

use crate::{
    check::Mirror,
    follow::Open,
    link::{Pending, Place, Role},
    requests::Request,
    world::{Event, World},
};

/// How long a client waits for any answer.
pub(crate) const PATIENCE: u64 = 40_000_000;

/// One process of a client.
pub(crate) struct Client {
    pub(crate) references: References,
    /// The handles that the program has.
    pub(crate) handles: Vec<ContainerId>,
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) requests: BTreeMap<u64, Request>,
    /// Which agents are reached directly, for connections.
    pub(crate) paths: Paths,
    /// Its connections to containers, by number.
    pub(crate) connections: BTreeMap<u64, Open>,
    pub(crate) watching: bool,
    pub(crate) mirror: Option<Mirror>,
    /// The newest epoch known of each container.
    known: BTreeMap<ContainerId, Epoch>,
    wake: u64,
}

/// A call to the coordinator, repeated while that helps.
pub(crate) struct Job {
    pub(crate) what: What,
    call: Call,
    attempts: Attempts,
    pub(crate) deadline: u64,
    /// The request under way.
    asked: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Get(Ticket, Kind, Box<GetOptions>),
    Reclaim(ContainerId, Epoch),
    Release(ContainerId),
    Once,
    Watch,
}

impl Client {
    /// One that reaches agents directly, or only through the coordinator.
    pub(crate) fn new(direct: bool) -> Self {
        Self {
            references: References::new(),
            handles: Vec::new(),
            jobs: BTreeMap::new(),
            requests: BTreeMap::new(),
            paths: Paths::new(direct),
            connections: BTreeMap::new(),
            watching: false,
            mirror: None,
            known: BTreeMap::new(),
            wake: u64::MAX,
        }
    }

    /// What it holds, each once.
    pub(crate) fn held(&self) -> BTreeSet<ContainerId> {
        let connected = self.connections.values().map(|open| &open.id);
        self.handles.iter().chain(connected).cloned().collect()
    }
}

impl World {
    pub(crate) fn client(&mut self, peer: usize) -> Option<&mut Client> {
        match &mut self.peers[peer].role {
            Role::Client(client) => Some(&mut **client),
            Role::Agent(_) => None,
        }
    }

    pub(crate) fn client_joined(&mut self, peer: usize, resumed: bool) {
        self.proxied_again(peer);
        let Some(client) = self.client(peer) else { return };
        client.references.joined(resumed);
        if client.watching {
            client.mirror = None;
            self.job(peer, What::Watch, Call::Watch, false);
        }
        self.client_acts(peer);
    }

    pub(crate) fn get(&mut self, peer: usize, kind: Kind, options: GetOptions) {
        let Some(client) = self.client(peer) else { return };
        let ticket = client.references.begin_get();
        let call = Call::Get { kind: kind.clone(), options: options.clone() };
        self.job(peer, What::Get(ticket, kind, Box::new(options)), call, true);
    }

    pub(crate) fn drop_one(&mut self, peer: usize, which: u64) {
        let Some(client) = self.client(peer) else { return };
        if client.handles.is_empty() {
            return;
        }
        let index = (which % client.handles.len() as u64) as usize;
        let id = client.handles.remove(index);
        client.references.drop_handle(&id);
        self.client_acts(peer);
    }

    pub(crate) fn job(&mut self, peer: usize, what: What, call: Call, repeat: bool) {
        let number = self.number();
        let now = self.now;
        let clock = self.peers[peer].clock;
        let deadline = clock.instant(now) + Duration::from_micros(PATIENCE);
        let repeat = if repeat { Repeat::Idempotent } else { Repeat::Unprocessed };
        let attempts = Attempts::new(deadline, repeat);
        let deadline = now + PATIENCE;
        let Some(client) = self.client(peer) else { return };
        client.jobs.insert(number, Job { what, call, attempts, deadline, asked: None });
        let time = self.random.between(1, 400);
        let life = self.peers[peer].life;
        self.at(now + time, Event::Job { peer, life, job: number });
    }

    /// Sends a job's call, when there is a connection.
    pub(crate) fn job_due(&mut self, peer: usize, number: u64) {
        let now = self.now;
        let (joined, life) =
            (self.peers[peer].is_joined(Place::Coordinator), self.peers[peer].life);
        let Some(client) = self.client(peer) else { return };
        let Some(job) = client.jobs.get_mut(&number) else { return };
        if now >= job.deadline {
            let error = NetworkError::not_processed(ErrorKind::DeadlineExceeded, "no coordinator");
            return self.job_done(peer, number, Err(error));
        }
        if !joined {
            return self.at(now + 50_000, Event::Job { peer, life, job: number });
        }
        let call = job.call.clone();
        let asked = self.call(peer, Place::Coordinator, call, Pending::Job(number));
        if let Some(job) = self.client(peer).and_then(|client| client.jobs.get_mut(&number)) {
            job.asked = Some(asked);
        }
    }

    /// Whether a job begins a watch: its answer is in order with the events.
    pub(crate) fn is_watch(&mut self, peer: usize, number: u64) -> bool {
        let job = self.client(peer).and_then(|client| client.jobs.get(&number));
        job.is_some_and(|job| matches!(job.what, What::Watch))
    }

    pub(crate) fn job_answered(
        &mut self,
        peer: usize,
        number: u64,
        result: Result<Reply, NetworkError>,
    ) {
        let now = self.now;
        let clock = self.peers[peer].clock;
        let life = self.peers[peer].life;
        let Some(client) = self.client(peer) else { return };
        let Some(job) = client.jobs.get_mut(&number) else { return };
        job.asked = None;
        if let Err(error) = &result
            && let Next::Again { pause, .. } = job.attempts.after(clock.instant(now), error)
        {
            let at = now + clock.when(pause);
            return self.at(at, Event::Job { peer, life, job: number });
        }
        self.job_done(peer, number, result);
    }

    fn job_done(&mut self, peer: usize, number: u64, result: Result<Reply, NetworkError>) {
        let local = self.peers[peer].clock.instant(self.now);
        let Some(client) = self.client(peer) else { return };
        let Some(job) = client.jobs.remove(&number) else { return };
        match (job.what, result) {
            (What::Get(ticket, kind, options), Ok(Reply::Container(record))) => {
                client.handles.push(record.id.clone());
                client.references.got(ticket, record.clone(), &options);
                let other = options.uuid.as_ref().is_some_and(|uuid| *uuid != record.id.uuid);
                if record.id.kind != kind || other {
                    self.fail("get", format!("{kind} {options:?} was answered {}", record.id));
                }
            }
            (What::Get(ticket, kind, options), result) => {
                client.references.get_failed(ticket);
                // The uuid may have become another kind's.
                if let Err(error) = result
                    && error.kind != ErrorKind::InvalidArguments
                    && self.quiet
                {
                    self.fail("get", format!("{kind} {options:?}: {error}"));
                }
            }
            (What::Reclaim(id, held), Ok(Reply::Container(record))) => {
                let given = record.epoch;
                client.references.reclaimed(local, &id, Ok(record));
                if given < held {
                    self.fail("client", format!("{id} went back from {held} to {given}"));
                }
            }
            (What::Reclaim(id, _), Ok(_)) => {
                let error = NetworkError::refused(ErrorKind::Protocol, "out of place");
                client.references.reclaimed(local, &id, Err(error));
            }
            (What::Reclaim(id, _), Err(error)) => {
                client.references.reclaimed(local, &id, Err(error));
            }
            (What::Release(id), _) => client.references.released(&id),
            (What::Watch, Ok(Reply::Snapshot(snapshot))) => {
                client.mirror = Some(Mirror::new(&snapshot));
            }
            (What::Once | What::Watch, _) => {}
        }
        self.client_acts(peer);
    }

    /// Gives up calls whose time is over, as the bus does.
    pub(crate) fn client_ticks(&mut self, peer: usize) {
        let now = self.now;
        let Some(client) = self.client(peer) else { return };
        let late: Vec<(u64, Option<u64>)> = client
            .jobs
            .iter()
            .filter(|(_, job)| now >= job.deadline)
            .map(|(number, job)| (*number, job.asked))
            .collect();
        for (number, asked) in late {
            if let Some(id) = asked {
                self.give_up(peer, Place::Coordinator, id);
            }
            let error = NetworkError::maybe_processed(ErrorKind::DeadlineExceeded, "late");
            self.job_done(peer, number, Err(error));
        }
    }

    pub(crate) fn client_acts(&mut self, peer: usize) {
        loop {
            let action = self.client(peer).and_then(|client| client.references.poll_action());
            let Some(action) = action else { break };
            self.note(|| format!("client {peer} > {action:?}"));
            match action {
                Action::Reclaim { id, epoch, options } => {
                    let call = Call::Reclaim { id: id.clone(), epoch, options };
                    self.job(peer, What::Reclaim(id, epoch), call, true);
                }
                Action::Release(id) => {
                    self.job(peer, What::Release(id.clone()), Call::Release(id), true);
                }
                Action::Located { token, result } => {
                    let result = result.map(|_| ());
                    if !self.connection_located(peer, token, &result) {
                        self.located(peer, token, result);
                    }
                }
                Action::Moved(record) => {
                    let Some(client) = self.client(peer) else { continue };
                    let newest = client.known.entry(record.id.clone()).or_default();
                    if record.epoch < *newest {
                        let (old, new) = (*newest, record.epoch);
                        self.fail("client", format!("{} went back from {old} to {new}", record.id));
                    } else {
                        *newest = record.epoch;
                    }
                    self.moved(peer, &record);
                }
                Action::Unused(address) => self.close_link(peer, &address),
                Action::Released { .. } => {}
            }
        }
        let clock = self.peers[peer].clock;
        let life = self.peers[peer].life;
        let now = self.now;
        let Some(client) = self.client(peer) else { return };
        if let Some(due) = client.references.next_timeout() {
            let at = clock.when_instant(due).max(now);
            if at < client.wake {
                client.wake = at;
                self.at(at, Event::ClientWakes { peer, life });
            }
        }
    }

    pub(crate) fn client_wakes(&mut self, peer: usize) {
        let local = self.peers[peer].clock.instant(self.now);
        let Some(client) = self.client(peer) else { return };
        client.wake = u64::MAX;
        client.references.handle_timeout(local);
        self.client_acts(peer);
    }

    pub(crate) fn client_told(&mut self, peer: usize, events: &[NetworkEvent]) {
        let Some(client) = self.client(peer) else { return };
        let mut wrong = None;
        let mut gap = false;
        for event in events {
            client.references.observe(&event.change);
            let endpointless = match &event.change {
                Change::ContainerAdded(r) | Change::ContainerUpdated(r) => {
                    r.endpoint.address.is_none()
                }
                _ => false,
            };
            if endpointless {
                wrong = Some(format!("{event:?} has no address"));
            }
            let Some(mirror) = &mut client.mirror else { continue };
            match mirror.apply(event) {
                Ok(true) => {}
                Ok(false) => gap = true,
                Err(what) => wrong = Some(what),
            }
        }
        if gap {
            client.mirror = None;
            self.job(peer, What::Watch, Call::Watch, false);
        }
        if let Some(what) = wrong {
            self.fail("events", what);
        }
        self.client_acts(peer);
    }
}
