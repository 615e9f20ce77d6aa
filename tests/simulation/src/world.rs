//! Virtual time, and who hears what when.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fmt::Write,
    time::Instant,
};

use hulynet_coordinator::registry::Input;
use hulynet_protocol::{AgentId, ContainerId, Epoch, ErrorKind, NetworkError, Reply, Target};

use crate::{
    agent::Agent,
    client::Client,
    coordinator::Coordinator,
    link::{Clock, Connection, Message, Peer, Peers, Role},
    names,
    plan::{self, Settings, Step},
    random::Random,
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
    Connect { peer: usize, life: u64 },
    CoordinatorTick,
    CoordinatorWakes(u64),
    CoordinatorStarts,
    OrderFailed(u64),
    Revive { peer: usize, same_name: bool },
    AgentCallLate { peer: usize, life: u64, id: u64 },
    Started { peer: usize, life: u64, container: u64 },
    Ended { peer: usize, life: u64, container: u64 },
    Job { peer: usize, life: u64, job: u64 },
    JobAnswered { peer: usize, life: u64, job: u64, result: Box<Result<Reply, NetworkError>> },
    ClientWakes { peer: usize, life: u64 },
    Direct { peer: usize, life: u64, number: u64, address: String, target: Target, proxied: bool },
    DirectAnswer { peer: usize, life: u64, number: u64, result: Result<(), NetworkError> },
    RequestAgain { peer: usize, life: u64, number: u64, locate: bool },
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

pub(crate) type Late =
    BTreeMap<u64, (AgentId, ContainerId, Epoch, bool, Box<Result<Reply, NetworkError>>)>;

/// Everything there is.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) now: u64,
    pub(crate) random: Random,
    base: Instant,
    pub(crate) queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    numbers: u64,
    /// The number of the last call.
    pub(crate) last: u64,
    pub(crate) peers: Peers,
    pub(crate) coordinator: Option<Coordinator>,
    servers: u64,
    /// What the registry is to be told next.
    pub(crate) inputs: VecDeque<Input>,
    /// Its actions are being carried out.
    pub(crate) acting: bool,
    pub(crate) connections: BTreeMap<u64, Connection>,
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
            last: 0,
            peers: Peers::default(),
            coordinator: None,
            servers: 0,
            inputs: VecDeque::new(),
            acting: false,
            connections: BTreeMap::new(),
            late: BTreeMap::new(),
            grants: BTreeMap::new(),
            labelled: (0, Vec::new()),
            quiet: false,
            failure: None,
            events: 0,
            served: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            history: record.then(String::new),
            steps,
        };
        for index in 0..settings.agents + settings.clients {
            let rate = world.random.between(920, 1081);
            let role = if index < settings.agents {
                Role::Agent(world.new_agent(index, 0))
            } else {
                Role::Client(Client::new())
            };
            world.peers.push(Peer {
                id: names::peer(index, 0),
                role,
                clock: Clock::new(world.base, rate),
                alive: true,
                life: 0,
                connection: None,
                joined: false,
                heard: 0,
                pinged: 0,
                server: 0,
                cut_up: 0,
                cut_down: 0,
                paused: 0,
                slow: 0,
                given_up: Vec::new(),
                calls: BTreeMap::new(),
            });
        }
        world
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
            self.at(at, Event::Connect { peer, life: 0 });
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
        self.until(end + 50_000_000);
        self.check_held();
        self.drop_everything();
        self.until(end + 85_000_000);
        self.check_empty();
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
            Event::Up { .. }
            | Event::CoordinatorWakes(_)
            | Event::CoordinatorTick
            | Event::BrokenUp(_)
            | Event::OrderFailed(_) => self.coordinator.as_ref().map_or(0, |node| node.paused),
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
            Event::Up { connection, message } if self.connections.contains_key(&connection) => {
                self.coordinator_hears(connection, message);
            }
            Event::Down { connection, message } => self.peer_hears(connection, message),
            Event::BrokenUp(connection) => self.coordinator_disconnected(connection),
            Event::BrokenDown(connection) => {
                if let Some(found) = self.connections.get(&connection).cloned()
                    && self.alive(found.peer, found.life)
                    && self.peers[found.peer].connection == Some(connection)
                {
                    self.peer_lost(found.peer);
                }
            }
            Event::Tick { peer } => {
                self.at(self.now + 250_000, Event::Tick { peer });
                if self.peers[peer].alive {
                    self.peer_ticks(peer);
                }
            }
            Event::Connect { peer, life }
                if self.alive(peer, life) && self.peers[peer].connection.is_none() =>
            {
                self.connect(peer);
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
                    && let Some((_, pending)) = self.peers[peer].calls.remove(&id)
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
            Event::Direct { peer, life, number, address, target, proxied } => {
                let agent = if proxied { self.proxied(&target) } else { self.at_address(&address) };
                self.direct(peer, life, number, agent, &target);
            }
            Event::DirectAnswer { peer, life, number, result } if self.alive(peer, life) => {
                self.request_answered(peer, number, result);
            }
            Event::RequestAgain { peer, life, number, locate } if self.alive(peer, life) => {
                self.request_again(peer, number, locate);
            }
            _ => {}
        }
    }

    pub(crate) fn at_address(&self, address: &str) -> Option<usize> {
        self.peers.iter().position(|peer| match &peer.role {
            Role::Agent(agent) => peer.alive && agent.address == address,
            Role::Client(_) => false,
        })
    }

    /// Where the coordinator sends a request on.
    fn proxied(&self, target: &Target) -> Option<usize> {
        let route = self.coordinator.as_ref()?.registry.route(target).ok()?;
        self.peers.iter().position(|peer| match &peer.role {
            Role::Agent(agent) => peer.alive && peer.joined && agent.id == route.agent,
            Role::Client(_) => false,
        })
    }

    /// A client's request reaches an agent.
    fn direct(
        &mut self,
        peer: usize,
        life: u64,
        number: u64,
        agent: Option<usize>,
        target: &Target,
    ) {
        let time = self.random.between(100, 5_000);
        let served = match agent {
            Some(index) => self.serve(index, target),
            None => Err(NetworkError::not_processed(ErrorKind::Unavailable, "no such host")),
        };
        self.note(|| format!("request {number} of {peer} to {target:?}: {served:?}"));
        if let Ok(epoch) = served {
            if target.epoch != Some(epoch) {
                self.fail("stale", format!("{target:?} was served by {epoch}"));
            }
            let request = self.client(peer).and_then(|client| client.requests.get_mut(&number));
            if let Some(request) = request {
                request.executed += 1;
                if request.executed > 1 {
                    self.fail("twice", format!("request {number} ran twice"));
                }
            }
        }
        let result = served.map(|_| ());
        self.at(self.now + time, Event::DirectAnswer { peer, life, number, result });
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
