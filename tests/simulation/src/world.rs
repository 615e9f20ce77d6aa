//! Virtual time, and who hears what when.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fmt::Write,
    time::Instant,
};

use hulynet_coordinator::registry::Input;
use hulynet_protocol::{
    AgentId, Call, ClientId, ContainerId, Epoch, ErrorKind, GetOptions, Kind, NetworkError, Reply,
    Target, Uuid,
};

use crate::{
    agent::Agent,
    client::Client,
    coordinator::{Coordinator, LEASE_US},
    link::{Clock, Connection, Message, Peer, Pending, Role},
    plan::{self, Settings, Step, UUIDS, What},
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
    ClientWakes { peer: usize, life: u64 },
    Direct { peer: usize, life: u64, number: u64, address: String, agent: AgentId, target: Target },
    DirectAnswer { peer: usize, life: u64, number: u64, result: Result<(), NetworkError> },
    RequestAgain { peer: usize, life: u64, number: u64, locate: bool },
}

struct Entry {
    /// Time, then class (messages before timers), then order.
    key: (u64, u8, u64),
    event: Event,
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
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    numbers: u64,
    /// The number of the last call.
    pub(crate) last: u64,
    pub(crate) peers: Vec<Peer>,
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
    pub(crate) restarts: u64,
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

pub(crate) fn container(uuid: u64) -> ContainerId {
    let kind = if uuid.is_multiple_of(2) { "alpha" } else { "beta" };
    ContainerId {
        kind: Kind::new(kind).unwrap(),
        uuid: Uuid::new(format!("c{}", uuid % UUIDS)).unwrap(),
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
            peers: Vec::new(),
            coordinator: None,
            servers: 0,
            inputs: VecDeque::new(),
            acting: false,
            connections: BTreeMap::new(),
            late: BTreeMap::new(),
            grants: BTreeMap::new(),
            restarts: 0,
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
                id: ClientId::new(format!("p{index}-0")).unwrap(),
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
                calls: BTreeMap::new(),
            });
        }
        world
    }

    fn new_agent(&self, index: usize, name: u64) -> Agent {
        // Every agent serves alpha, every other one beta.
        let kinds = if index.is_multiple_of(2) { &["alpha", "beta"][..] } else { &["alpha"] };
        let kinds = kinds.iter().map(|kind| Kind::new(kind).unwrap()).collect();
        Agent::new(&format!("agent{index}-{name}"), format!("host{index}:1"), kinds)
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
        for index in 0..self.steps.len() {
            let at = self.steps[index].at;
            end = end.max(at);
            self.at(at, Event::Step(index));
        }
        self.until(end + 1);
        self.heal();
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

    fn alive(&self, peer: usize, life: u64) -> bool {
        self.peers[peer].alive && self.peers[peer].life == life
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Step(index) => {
                let what = self.steps[index].what.clone();
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
                    && let Some(pending) = self.peers[peer].calls.remove(&id)
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
            Event::ClientWakes { peer, life } if self.alive(peer, life) => self.client_wakes(peer),
            Event::Direct { peer, life, number, address, agent, target } => {
                self.direct(peer, life, number, &address, &agent, &target);
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

    fn at_address(&self, address: &str) -> Option<usize> {
        self.peers.iter().position(|peer| match &peer.role {
            Role::Agent(agent) => peer.alive && agent.address == address,
            Role::Client(_) => false,
        })
    }

    /// A client's request reaches an agent.
    fn direct(
        &mut self,
        peer: usize,
        life: u64,
        number: u64,
        address: &str,
        _agent: &AgentId,
        target: &Target,
    ) {
        let time = self.random.between(100, 5_000);
        let served = match self.at_address(address) {
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

    fn start_coordinator(&mut self) {
        if self.coordinator.is_none() {
            self.servers += 1;
            let rate = self.random.between(920, 1081);
            let clock = Clock::new(self.base, rate);
            self.coordinator = Some(Coordinator::new(self.now, self.servers, clock));
            self.coordinator_wakes();
        }
    }

    fn delay(&mut self) -> u64 {
        match self.random.below(100) {
            0..90 => self.random.between(50, 3_000),
            90..99 => self.random.between(3_000, 60_000),
            _ => self.random.between(60_000, 600_000),
        }
    }

    pub(crate) fn send_up(&mut self, peer: usize, connection: u64, message: Message) {
        let delay = self.delay();
        let at = self.now.max(self.peers[peer].cut_up) + delay;
        let Some(found) = self.connections.get_mut(&connection) else { return };
        found.last_up = at.max(found.last_up + 1);
        let at = found.last_up;
        self.at(at, Event::Up { connection, message });
    }

    pub(crate) fn send_down(&mut self, connection: u64, message: Message) {
        let delay = self.delay();
        let Some(found) = self.connections.get_mut(&connection) else { return };
        let at = self.now.max(self.peers[found.peer].cut_down) + delay;
        found.last_down = at.max(found.last_down + 1);
        let at = found.last_down;
        self.at(at, Event::Down { connection, message });
    }

    pub(crate) fn call(&mut self, peer: usize, call: Call, pending: Pending) {
        let id = self.number();
        self.last = id;
        let Some(connection) = self.peers[peer].connection else { return };
        self.peers[peer].calls.insert(id, pending);
        self.send_up(peer, connection, Message::Request { id, call: Box::new(call) });
    }

    fn connect(&mut self, peer: usize) {
        if self.coordinator.is_none() {
            let life = self.peers[peer].life;
            let time = self.random.between(50_000, 400_000);
            return self.at(self.now + time, Event::Connect { peer, life });
        }
        let connection = self.number();
        let now = self.now;
        let node = &mut self.peers[peer];
        let life = node.life;
        let id = node.id.clone();
        node.connection = Some(connection);
        node.joined = false;
        node.heard = now;
        let found = Connection { peer, life, last_up: 0, last_down: 0 };
        self.connections.insert(connection, found);
        self.send_up(peer, connection, Message::Hello(id));
    }

    fn peer_hears(&mut self, connection: u64, message: Message) {
        let Some(found) = self.connections.get(&connection).cloned() else { return };
        let peer = found.peer;
        if !self.alive(peer, found.life) || self.peers[peer].connection != Some(connection) {
            return;
        }
        self.peers[peer].heard = self.now;
        match message {
            Message::Welcome { server, resumed } => {
                // What is left was sent in a session that the server forgot.
                if !resumed || server != self.peers[peer].server {
                    self.end_calls(peer);
                }
                let resumed = resumed && server == self.peers[peer].server;
                self.note(|| format!("peer {peer} joined, resumed {resumed}"));
                let node = &mut self.peers[peer];
                node.server = server;
                node.joined = true;
                match &mut node.role {
                    Role::Agent(agent) => agent.joined(resumed),
                    Role::Client(_) => self.client_joined(peer, resumed),
                }
            }
            Message::AskHello if self.peers[peer].joined => {
                self.peers[peer].joined = false;
                let id = self.peers[peer].id.clone();
                self.send_up(peer, connection, Message::Hello(id));
            }
            Message::Response { id, result } => {
                if let Some(pending) = self.peers[peer].calls.remove(&id) {
                    self.answered(peer, pending, *result);
                }
            }
            Message::Request { id, call } => self.agent_ordered(peer, connection, id, *call),
            Message::Events(events) => self.client_told(peer, &events),
            _ => {}
        }
    }

    fn answered(&mut self, peer: usize, pending: Pending, result: Result<Reply, NetworkError>) {
        match pending {
            Pending::Job(job) => self.job_answered(peer, job, result),
            pending => self.agent_answered(peer, pending, result),
        }
    }

    fn end_calls(&mut self, peer: usize) {
        for (_, pending) in std::mem::take(&mut self.peers[peer].calls) {
            let error = NetworkError::maybe_processed(ErrorKind::Unavailable, "lost");
            self.answered(peer, pending, Err(error));
        }
    }

    fn peer_lost(&mut self, peer: usize) {
        self.note(|| format!("peer {peer} lost its connection"));
        let node = &mut self.peers[peer];
        node.connection = None;
        node.joined = false;
        let life = node.life;
        if let Role::Agent(agent) = &mut node.role {
            agent.lost();
        }
        self.end_calls(peer);
        let time = self.random.between(20_000, 400_000);
        self.at(self.now + time, Event::Connect { peer, life });
    }

    fn peer_ticks(&mut self, peer: usize) {
        let node = &mut self.peers[peer];
        if let Some(connection) = node.connection {
            if self.now - node.heard >= LEASE_US {
                self.peer_lost(peer);
            } else if node.joined && self.now - node.pinged >= 1_000_000 {
                node.pinged = self.now;
                self.send_up(peer, connection, Message::Ping);
            }
        }
        match self.peers[peer].role {
            Role::Agent(_) => self.agent_ticks(peer),
            Role::Client(_) => self.client_ticks(peer),
        }
    }

    /// A connection breaks; both sides hear of it unless they are cut off.
    fn reset(&mut self, peer: usize) {
        let Some(connection) = self.peers[peer].connection else { return };
        let (up, down) = (self.delay(), self.delay());
        let (cut_up, cut_down) = (self.peers[peer].cut_up, self.peers[peer].cut_down);
        // What is in flight is lost: both ends know only of the break.
        self.queue = std::mem::take(&mut self.queue)
            .into_iter()
            .filter(|Reverse(entry)| {
                !matches!(&entry.event, Event::Up { connection: c, .. } | Event::Down { connection: c, .. } if *c == connection)
            })
            .collect();
        let (at_up, at_down) = (self.now.max(cut_up) + up, self.now.max(cut_down) + down);
        self.at(at_up, Event::BrokenUp(connection));
        self.at(at_down, Event::BrokenDown(connection));
    }

    fn crash(&mut self, peer: usize, down: u64, same_name: bool) {
        if !self.peers[peer].alive {
            return;
        }
        self.reset(peer);
        let node = &mut self.peers[peer];
        node.alive = false;
        node.connection = None;
        node.joined = false;
        node.calls.clear();
        self.at(self.now + down, Event::Revive { peer, same_name });
    }

    fn revive(&mut self, peer: usize, same_name: bool) {
        if self.peers[peer].alive {
            return;
        }
        let life = self.peers[peer].life + 1;
        let role = match &self.peers[peer].role {
            Role::Agent(old) => {
                let mut agent = self.new_agent(peer, life);
                if same_name {
                    agent.id = old.id.clone();
                }
                Role::Agent(agent)
            }
            Role::Client(_) => Role::Client(Client::new()),
        };
        let node = &mut self.peers[peer];
        node.id = ClientId::new(format!("p{peer}-{life}")).unwrap();
        node.life = life;
        node.role = role;
        node.alive = true;
        node.server = 0;
        node.heard = self.now;
        self.connect(peer);
    }

    fn step(&mut self, what: What) {
        let agents = self.settings.agents;
        let total = self.peers.len();
        let client = |client: usize| agents + client % (total - agents);
        match what {
            What::Get { client: c, uuid } => {
                let ContainerId { kind, uuid } = container(uuid);
                let options = GetOptions { uuid: Some(uuid), ..GetOptions::default() };
                self.user(client(c), |world, peer| world.get(peer, kind, options));
            }
            What::GetWrongKind { client: c, uuid } => {
                let ContainerId { uuid, .. } = container(uuid);
                let kind = container(u64::from(container(0).uuid == uuid) + 2).kind;
                let options = GetOptions { uuid: Some(uuid), ..GetOptions::default() };
                self.user(client(c), |world, peer| world.get(peer, kind, options));
            }
            What::GetLabel { client: c, label } => {
                let labels = [("l".to_owned(), label.to_string())].into();
                let options = GetOptions { labels, ..GetOptions::default() };
                self.user(client(c), |world, peer| world.get(peer, container(0).kind, options));
            }
            What::GetAny { client: c } => {
                let options = GetOptions::default();
                self.user(client(c), |world, peer| world.get(peer, container(0).kind, options));
            }
            What::Drop { client: c, which } => {
                self.user(client(c), |world, peer| world.drop_one(peer, which));
            }
            What::Request { client: c, which } => self.user(client(c), |world, peer| {
                let Some(client) = world.client(peer) else { return };
                if client.handles.is_empty() {
                    return;
                }
                let id = client.handles[(which % client.handles.len() as u64) as usize].clone();
                world.request(peer, id);
            }),
            What::Terminate { client: c, uuid, force } => {
                let target = Target { id: container(uuid), epoch: None };
                let call = Call::Terminate { target, force };
                self.user(client(c), |world, peer| {
                    world.job(peer, crate::client::What::Once, call, false);
                });
            }
            What::Watch { client: c } => self.user(client(c), |world, peer| {
                if let Some(client) = world.client(peer)
                    && !client.watching
                {
                    client.watching = true;
                    world.job(peer, crate::client::What::Watch, Call::Watch, false);
                }
            }),
            What::CrashAgent { agent, down, same_name } => {
                self.crash(agent % agents, down, same_name);
            }
            What::CrashClient { client: c, down } => self.crash(client(c), down, false),
            What::RestartCoordinator { down } => {
                if self.coordinator.take().is_some() {
                    self.restarts += 1;
                    for peer in 0..total {
                        self.reset(peer);
                    }
                    self.at(self.now + down, Event::CoordinatorStarts);
                }
            }
            What::Cut { peer, up, down, time } => {
                let until = self.now + time;
                let node = &mut self.peers[peer % total];
                if up {
                    node.cut_up = node.cut_up.max(until);
                }
                if down {
                    node.cut_down = node.cut_down.max(until);
                }
            }
            What::Reset { peer } => self.reset(peer % total),
            What::Pause { peer, time } => self.peers[peer % total].paused = self.now + time,
            What::PauseCoordinator { time } => {
                let until = self.now + time;
                if let Some(node) = &mut self.coordinator {
                    node.paused = until;
                }
            }
            What::FailStarts { agent, how, time } => {
                let until = self.now + time;
                if let Some(agent) = self.agent(agent % agents) {
                    agent.fails = (how, until);
                }
            }
            What::SlowStarts { agent, time } => {
                let until = self.now + time;
                if let Some(agent) = self.agent(agent % agents) {
                    agent.slow = until;
                }
            }
            What::NotYet { agent, time } => {
                let until = self.now + time;
                if let Some(agent) = self.agent(agent % agents) {
                    agent.not_yet = until;
                }
            }
            What::EndContainer { agent, which } => {
                let peer = agent % agents;
                let Some(agent) = self.agent(peer) else { return };
                let all: Vec<u64> = agent.containers.keys().copied().collect();
                if !all.is_empty() {
                    self.end_later(peer, all[(which % all.len() as u64) as usize]);
                }
            }
        }
    }

    fn user(&mut self, peer: usize, act: impl FnOnce(&mut Self, usize)) {
        if self.peers[peer].alive && self.peers[peer].paused <= self.now {
            act(self, peer);
        }
    }

    /// Misfortune is over.
    fn heal(&mut self) {
        self.start_coordinator();
        for peer in 0..self.peers.len() {
            let now = self.now;
            let node = &mut self.peers[peer];
            node.cut_up = node.cut_up.min(now);
            node.cut_down = node.cut_down.min(now);
            node.paused = 0;
            if let Role::Agent(agent) = &mut node.role {
                agent.slow = 0;
                agent.fails = (0, 0);
                agent.not_yet = 0;
            }
            if !node.alive {
                self.revive(peer, false);
            }
        }
    }
}

/// The plan of the settings, run.
#[must_use]
pub fn run_seed(settings: &Settings, record: bool) -> Outcome {
    run(settings, &plan::plan(settings), record)
}
