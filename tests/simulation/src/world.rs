//! Virtual time, and who hears what when.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fmt::Write,
    time::Instant,
};

use hulynet_coordinator::registry::Input;
use hulynet_protocol::{AgentId, ContainerId, Epoch, ErrorKind, NetworkError, Target};

use crate::{
    agent::Agent,
    client::Client,
    coordinator::Coordinator,
    link::{Clock, Connection, Message, Peer, Peers, Place, Role},
    names,
    orders::Ordered,
    plan::{self, Settings, Step},
    random::Random,
    requests::Asking,
    sessions::Answer,
};

/// What went wrong, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which check found it.
    pub check: &'static str,
    /// What it says.
    pub what: String,
    /// In microseconds of the run.
    pub at: u64,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The first failure, if any.
    pub failure: Option<Failure>,
    /// Events that were processed.
    pub events: u64,
    /// Requests to containers that were answered.
    pub served: u64,
    /// What happened, one line for each event; empty unless asked for.
    pub history: String,
    /// A digest of the history.
    pub digest: u64,
}

#[derive(Debug)]
pub(crate) enum Event {
    Step(usize),
    Up { connection: u64, message: Message },
    Down { connection: u64, message: Message },
    BrokenUp(u64),
    BrokenDown(u64),
    Tick { peer: usize },
    Connect { peer: usize, life: u64, place: Place },
    CoordinatorTick,
    CoordinatorWakes(u64),
    CoordinatorStarts,
    OrderFailed(u64),
    Revive { peer: usize, same_name: bool },
    AgentCallLate { peer: usize, life: u64, id: u64 },
    Started { peer: usize, life: u64, container: u64 },
    Ended { peer: usize, life: u64, container: u64 },
    Job { peer: usize, life: u64, job: u64 },
    JobAnswered { peer: usize, life: u64, job: u64, result: Box<Answer> },
    ClientWakes { peer: usize, life: u64 },
    Direct { asker: Asking, address: String, target: Target, proxied: bool },
    Worked { peer: usize, life: u64, asker: Asking, id: ContainerId, epoch: Epoch },
    DirectAnswer { peer: usize, life: u64, number: u64, result: Result<(), NetworkError> },
    RequestAgain { peer: usize, life: u64, number: u64, locate: bool },
    Accepted { peer: usize, life: u64, number: u64 },
    Follow { peer: usize, life: u64, number: u64 },
    FollowLate { peer: usize, life: u64, number: u64, call: u64 },
}

pub(crate) struct Entry {
    /// Time, then class (messages before timers), then order.
    key: (u64, u8, u64),
    pub(crate) event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

pub(crate) type Late = BTreeMap<u64, (Ordered, Box<Answer>)>;

/// Everything there is.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) now: u64,
    pub(crate) random: Random,
    base: Instant,
    pub(crate) queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    numbers: u64,
    pub(crate) peers: Peers,
    pub(crate) coordinator: Option<Coordinator>,
    servers: u64,
    /// What the registry is to be told next.
    pub(crate) inputs: VecDeque<Input>,
    /// Its actions are being carried out.
    pub(crate) acting: bool,
    pub(crate) connections: BTreeMap<u64, Connection>,
    /// Nothing passes between a client and an agent before: to it, and from it.
    pub(crate) cuts: BTreeMap<(usize, usize), (u64, u64)>,
    pub(crate) late: Late,
    /// The newest epoch that was given out for each container, and its agent.
    pub(crate) grants: BTreeMap<ContainerId, BTreeMap<Epoch, AgentId>>,
    /// Which containers answer the last get by labels, if any ran.
    pub(crate) labelled: (u64, Vec<ContainerId>),
    /// Misfortune is over for so long that every get succeeds.
    pub(crate) quiet: bool,
    pub(crate) failure: Option<Failure>,
    events: u64,
    pub(crate) served: u64,
    /// What the containers sent when all was quiet, by container.
    pub(crate) told: BTreeMap<ContainerId, u64>,
    digest: u64,
    history: Option<String>,
    steps: Vec<Step>,
}

/// Runs a plan to its end and checks everything on the way.
#[must_use]
pub fn run(settings: &Settings, steps: &[Step], record: bool) -> Outcome {
    let mut world = World::new(*settings, steps.to_vec(), record);
    world.run();
    Outcome {
        failure: world.failure,
        events: world.events,
        served: world.served,
        history: world.history.unwrap_or_default(),
        digest: world.digest,
    }
}

impl World {
    fn new(settings: Settings, steps: Vec<Step>, record: bool) -> Self {
        let mut world = Self {
            settings,
            now: 0,
            random: Random::new(settings.seed ^ 0xD1CE),
            base: Instant::now(),
            queue: BinaryHeap::new(),
            order: 0,
            numbers: 0,
            peers: Peers::default(),
            coordinator: None,
            servers: 0,
            inputs: VecDeque::new(),
            acting: false,
            connections: BTreeMap::new(),
            cuts: BTreeMap::new(),
            late: BTreeMap::new(),
            grants: BTreeMap::new(),
            labelled: (0, Vec::new()),
            quiet: false,
            failure: None,
            events: 0,
            served: 0,
            told: BTreeMap::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            history: record.then(String::new),
            steps,
        };
        for index in 0..settings.agents + settings.clients {
            let rate = world.random.between(920, 1081);
            let role = if index < settings.agents {
                Role::Agent(Box::new(world.new_agent(index, 0)))
            } else {
                Role::Client(Box::new(world.new_client(index)))
            };
            world.peers.push(Peer {
                id: names::peer(index, 0),
                role,
                clock: Clock::new(world.base, rate),
                alive: true,
                life: 0,
                lines: BTreeMap::new(),
                cut_up: 0,
                cut_down: 0,
                alone: 0,
                paused: 0,
                slow: 0,
            });
        }
        world
    }

    /// Every third client has no way to agents.
    pub(crate) fn new_client(&self, index: usize) -> Client {
        Client::new(!index.is_multiple_of(3))
    }

    pub(crate) fn new_agent(&self, index: usize, name: u64) -> Agent {
        // Every agent serves alpha, every other one beta.
        let kinds = if index.is_multiple_of(2) { &["alpha", "beta"][..] } else { &["alpha"] };
        let kinds = kinds.iter().map(|kind| names::kind(kind)).collect();
        let mut agent =
            Agent::new(&format!("agent{index}-{name}"), format!("host{index}:1"), kinds);
        let region = if index.is_multiple_of(2) { "eu" } else { "us" };
        agent.labels = [("region".to_owned(), region.to_owned())].into();
        if self.settings.has_singleton() {
            agent.offers.push(names::singleton());
        }
        agent
    }

    fn run(&mut self) {
        self.start_coordinator();
        for peer in 0..self.peers.len() {
            let at = self.random.between(1, 200_000);
            self.at(at, Event::Connect { peer, life: 0, place: Place::Coordinator });
            self.at(at, Event::Tick { peer });
        }
        self.at(1, Event::CoordinatorTick);
        let mut end = 0;
        let times: Vec<u64> = self.steps.iter().map(|step| step.at).collect();
        for (index, at) in times.into_iter().enumerate() {
            end = end.max(at);
            self.at(at, Event::Step(index));
        }
        self.until(end + 1);
        self.heal();
        self.until(end + 30_000_000);
        self.get_everything();
        self.until(end + 35_000_000);
        self.use_everything();
        self.until(end + 45_000_000);
        self.tell_everything();
        self.until(end + 50_000_000);
        self.check_held();
        self.check_connected();
        self.drop_everything();
        self.until(end + 85_000_000);
        self.check_empty();
        self.check_disconnected();
    }

    fn until(&mut self, end: u64) {
        while self.failure.is_none() {
            match self.queue.peek() {
                Some(Reverse(entry)) if entry.key.0 <= end => {}
                _ => break,
            }
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            self.now = self.now.max(entry.key.0);
            if let Some(at) = self.paused(&entry.event) {
                self.push(at, entry.key.1, entry.event);
                continue;
            }
            self.events += 1;
            self.dispatch(entry.event);
            self.check();
        }
        self.now = self.now.max(end);
    }

    /// Who is stopped hears later, in the same order.
    fn paused(&self, event: &Event) -> Option<u64> {
        let peer = |peer: usize| self.peers[peer].paused;
        let until = match event {
            Event::Up { connection, .. } | Event::BrokenUp(connection) => {
                match self.connections.get(connection).map(|c| c.place) {
                    Some(Place::Agent(agent)) => peer(agent),
                    _ => self.coordinator.as_ref().map_or(0, |node| node.paused),
                }
            }
            Event::CoordinatorWakes(_) | Event::CoordinatorTick | Event::OrderFailed(_) => {
                self.coordinator.as_ref().map_or(0, |node| node.paused)
            }
            Event::Down { connection, .. } | Event::BrokenDown(connection) => {
                self.connections.get(connection).map_or(0, |c| peer(c.peer))
            }
            Event::Tick { peer: p }
            | Event::Connect { peer: p, .. }
            | Event::AgentCallLate { peer: p, .. }
            | Event::Started { peer: p, .. }
            | Event::Ended { peer: p, .. }
            | Event::Job { peer: p, .. }
            | Event::JobAnswered { peer: p, .. }
            | Event::ClientWakes { peer: p, .. }
            | Event::DirectAnswer { peer: p, .. }
            | Event::Accepted { peer: p, .. }
            | Event::Worked { peer: p, .. }
            | Event::Follow { peer: p, .. }
            | Event::FollowLate { peer: p, .. }
            | Event::RequestAgain { peer: p, .. } => peer(*p),
            Event::Direct { address, .. } => {
                self.at_address(address).map_or(0, |index| self.peers[index].paused)
            }
            Event::Step(_) | Event::CoordinatorStarts | Event::Revive { .. } => 0,
        };
        (until > self.now).then_some(until)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn at(&mut self, at: u64, event: Event) {
        let class = match event {
            Event::Up { .. } | Event::Down { .. } | Event::Direct { .. } => 0,
            Event::BrokenUp(_) | Event::BrokenDown(_) | Event::OrderFailed(_) => 1,
            _ => 2,
        };
        self.push(at, class, event);
    }

    fn push(&mut self, at: u64, class: u8, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Entry { key: (at, class, self.order), event }));
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let line = line();
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(history) = &mut self.history {
            let now = self.now;
            let _always = writeln!(history, "{:>9.3} ms  {line}", now as f64 / 1000.0);
        }
    }

    pub(crate) fn fail(&mut self, check: &'static str, what: String) {
        if self.failure.is_none() {
            self.note(|| format!("FAILED {check}: {what}"));
            self.failure = Some(Failure { check, what, at: self.now });
        }
    }

    pub(crate) fn alive(&self, peer: usize, life: u64) -> bool {
        self.peers[peer].alive && self.peers[peer].life == life
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Step(index) => {
                let Some(what) = self.steps.get(index).map(|step| step.what.clone()) else {
                    return;
                };
                self.note(|| format!("step {what:?}"));
                self.step(what);
            }
            Event::Up { connection, message } => self.server_hears(connection, message),
            Event::Down { connection, message } => self.peer_hears(connection, message),
            Event::BrokenUp(connection) => self.server_disconnected(connection),
            Event::BrokenDown(connection) => self.peer_disconnected(connection),
            Event::Tick { peer } => {
                self.at(self.now + 250_000, Event::Tick { peer });
                if self.peers[peer].alive {
                    self.peer_ticks(peer);
                }
            }
            Event::Connect { peer, life, place } if self.alive(peer, life) => {
                let line = self.peers[peer].lines.get(&place);
                if place == Place::Coordinator && line.is_none()
                    || line.is_some_and(|line| line.connection.is_none())
                {
                    self.connect(peer, place);
                }
            }
            Event::CoordinatorTick => {
                self.at(self.now + 250_000, Event::CoordinatorTick);
                self.coordinator_ticks();
            }
            Event::CoordinatorWakes(server)
                if self.coordinator.as_ref().is_some_and(|node| node.server == server) =>
            {
                self.coordinator_wakes();
            }
            Event::CoordinatorStarts => self.start_coordinator(),
            Event::OrderFailed(number) => self.order_failed(number),
            Event::Revive { peer, same_name } => self.revive(peer, same_name),
            Event::AgentCallLate { peer, life, id } => {
                if self.alive(peer, life)
                    && let Some((_, pending)) =
                        self.peers[peer].line(Place::Coordinator).calls.remove(&id)
                {
                    let error = NetworkError::maybe_processed(ErrorKind::DeadlineExceeded, "late");
                    self.agent_answered(peer, pending, Err(error));
                }
            }
            Event::Started { peer, life, container } if self.alive(peer, life) => {
                self.container_started(peer, container);
            }
            Event::Ended { peer, life, container } if self.alive(peer, life) => {
                self.gone(peer, container);
            }
            Event::Job { peer, life, job } if self.alive(peer, life) => self.job_due(peer, job),
            Event::JobAnswered { peer, life, job, result } if self.alive(peer, life) => {
                self.job_answered(peer, job, *result);
            }
            Event::ClientWakes { peer, life } if self.alive(peer, life) => self.client_wakes(peer),
            Event::Direct { asker, address, target, proxied } => {
                let agent = if proxied { self.proxied(&target) } else { self.at_address(&address) };
                self.serve(asker, agent, target);
            }
            Event::Worked { peer, life, asker, id, epoch } => {
                let alive = self.alive(peer, life);
                self.worked(peer, alive, asker, &id, epoch);
            }
            Event::DirectAnswer { peer, life, number, result } if self.alive(peer, life) => {
                self.request_answered(peer, number, result);
            }
            Event::RequestAgain { peer, life, number, locate } if self.alive(peer, life) => {
                self.request_again(peer, number, locate);
            }
            Event::Accepted { peer, life, number } if self.alive(peer, life) => {
                self.accepted(peer, number);
            }
            Event::Follow { peer, life, number } if self.alive(peer, life) => {
                self.follow_due(peer, number);
            }
            Event::FollowLate { peer, life, number, call } if self.alive(peer, life) => {
                self.follow_late(peer, number, call);
            }
            _ => {}
        }
    }

    /// Whose address it is, whether it lives or not.
    pub(crate) fn host(&self, address: &str) -> Option<usize> {
        self.peers.iter().position(|peer| match &peer.role {
            Role::Agent(agent) => agent.address == address,
            Role::Client(_) => false,
        })
    }

    pub(crate) fn address(&self, agent: usize) -> Option<String> {
        match &self.peers.get(agent)?.role {
            Role::Agent(agent) => Some(agent.address.clone()),
            Role::Client(_) => None,
        }
    }

    pub(crate) fn at_address(&self, address: &str) -> Option<usize> {
        self.host(address).filter(|index| self.peers[*index].alive)
    }

    pub(crate) fn start_coordinator(&mut self) {
        if self.coordinator.is_none() {
            self.servers += 1;
            let rate = self.random.between(920, 1081);
            let clock = Clock::new(self.base, rate);
            self.coordinator =
                Some(Coordinator::new(self.now, self.servers, clock, self.settings.placement()));
            self.coordinator_wakes();
        }
    }
}

/// The plan of the settings, run.
#[must_use]
pub fn run_seed(settings: &Settings, record: bool) -> Outcome {
    run(settings, &plan::plan(settings), record)
}
