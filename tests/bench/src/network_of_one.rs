//! A network in one process: the registry, and agents that start at once
//! whatever they are asked to.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use clap::Args;
use hulynet_coordinator::registry::{Action, Input, Registry, RegistryConfig, Time, Token};
use hulynet_protocol::{
    AgentId, Call, ClientId, ContainerId, Endpoint, GetOptions, Kind, Labels, Load, Registration,
    Uuid,
};

/// Operations of each timed round; the fastest of [`ROUNDS`] counts.
const TIMED: u64 = 10_000;
const ROUNDS: u64 = 5;

/// How large a network is.
#[derive(Args, Clone, Copy)]
pub(crate) struct Size {
    /// Agents
    #[arg(long)]
    pub(crate) agents: u64,
    /// Clients
    #[arg(long)]
    pub(crate) clients: u64,
    /// Containers, each held by one client
    #[arg(long)]
    pub(crate) containers: u64,
    /// Each container has a label that all have and one of its own
    #[arg(long)]
    pub(crate) labels: bool,
}

/// See the module's documentation.
pub(crate) struct Network {
    size: Size,
    registry: Registry,
    now: Time,
    tokens: u64,
    kind: Kind,
    memory: f64,
}

impl Network {
    pub(crate) fn new(size: Size) -> Self {
        let config = RegistryConfig::default();
        let now = Time::after_start(config.recovery_window + Duration::from_secs(1));
        let registry = Registry::new(config, 1, Uuid::random);
        let kind = name(Kind::new("echo"));
        let mut network = Self { size, registry, now, tokens: 0, kind, memory: 0.0 };
        network.registry.handle_timeout(now);
        for number in 0..size.clients {
            network.join("c", number);
        }
        for number in 0..size.agents {
            network.join("a", number);
            let endpoint = Endpoint {
                agent: name(AgentId::new(format!("agent-{number}"))),
                address: Some(format!("10.0.0.1:{}", 1000 + number)),
            };
            let registration = Registration {
                endpoint,
                kinds: vec![network.kind.clone()],
                labels: Labels::new(),
                containers: Vec::new(),
                load: Load::default(),
                offers: Vec::new(),
                doubtful: Vec::new(),
            };
            let register = network.request(peer("a", number), Call::Register(registration));
            network.step(register);
        }
        let before = resident();
        for number in 0..size.containers {
            let get = network.get(number % size.clients, number);
            network.step(get);
        }
        network.memory = (resident() - before) / size.containers as f64;
        network
    }

    /// Bytes that a container takes with everything that belongs to it.
    pub(crate) fn memory(&self) -> f64 {
        self.memory
    }

    /// Nanoseconds of one lookup among as many names as there are containers.
    pub(crate) fn lookups(&self) -> f64 {
        let all = 0..self.size.containers;
        let map: HashMap<String, u64> = all.map(|number| (uuid(number), number)).collect();
        let round = |round: u64| {
            let names: Vec<String> = (0..TIMED).map(|n| uuid(self.some(round, n))).collect();
            let began = Instant::now();
            let sum: u64 = names.iter().filter_map(|name| map.get(name)).sum();
            std::hint::black_box(sum);
            began.elapsed()
        };
        best((0..ROUNDS).map(round).collect())
    }

    /// Nanoseconds of each operation, in the order of the table.
    pub(crate) fn times(&mut self) -> [f64; 6] {
        let Size { clients, containers, .. } = self.size;
        let mut times: [Vec<Duration>; 6] = Default::default();
        for round in 0..ROUNDS {
            let second = |number: u64| (number * 7 + 3) % clients;
            let made = containers + round * TIMED;
            let chosen: Vec<u64> = (0..TIMED).map(|number| self.some(round, number)).collect();
            let mut inputs: [Vec<Input>; 6] = Default::default();
            for (number, chosen) in (0..).zip(chosen) {
                let release = Call::Release(self.id(chosen));
                let last = Call::Release(self.id(made + number));
                let all = [
                    self.get(second(number), chosen),
                    self.request(peer("c", second(number)), release),
                    self.get(number % clients, made + number),
                    self.get_by_label(second(number), chosen),
                    self.request(peer("c", number % clients), last),
                    Input::ClientAlive(peer("c", number % clients)),
                ];
                for (inputs, input) in inputs.iter_mut().zip(all) {
                    inputs.push(input);
                }
            }
            for (times, inputs) in times.iter_mut().zip(inputs) {
                let began = Instant::now();
                inputs.into_iter().for_each(|input| self.step(input));
                times.push(began.elapsed());
            }
        }
        times.map(best)
    }

    /// Milliseconds until the containers of a lost agent run elsewhere.
    pub(crate) fn agent_lost(&mut self) -> f64 {
        let began = Instant::now();
        self.step(Input::ClientLeft(peer("a", 1)));
        began.elapsed().as_secs_f64() * 1e3
    }

    /// Some container, another one for every number of a round.
    fn some(&self, round: u64, number: u64) -> u64 {
        (round * 31 + number * 7919) % self.size.containers
    }

    fn join(&mut self, prefix: &str, number: u64) {
        let alive_timeout = Duration::from_secs(60);
        let client = peer(prefix, number);
        self.step(Input::ClientJoined { client, alive_timeout, resumed: false });
    }

    fn id(&self, number: u64) -> ContainerId {
        ContainerId { kind: self.kind.clone(), uuid: name(Uuid::new(uuid(number))) }
    }

    fn get(&mut self, client: u64, number: u64) -> Input {
        let ContainerId { kind, uuid } = self.id(number);
        let labels = if self.size.labels {
            let mut labels = own_label(number);
            labels.insert("tier".to_owned(), "standard".to_owned());
            labels
        } else {
            Labels::new()
        };
        let options = GetOptions { uuid: Some(uuid), labels, ..GetOptions::default() };
        self.request(peer("c", client), Call::Get { kind, options })
    }

    /// By uuid again where containers have no labels.
    fn get_by_label(&mut self, client: u64, number: u64) -> Input {
        if !self.size.labels {
            return self.get(client, number);
        }
        let options = GetOptions { labels: own_label(number), ..GetOptions::default() };
        self.request(peer("c", client), Call::Get { kind: self.kind.clone(), options })
    }

    fn request(&mut self, client: ClientId, call: Call) -> Input {
        self.tokens += 1;
        Input::Request { client, token: Token(self.tokens), call }
    }

    /// Agents answer each start in its turn.
    fn step(&mut self, input: Input) {
        let mut waiting = VecDeque::from([input]);
        while let Some(input) = waiting.pop_front() {
            self.registry.handle(self.now, input);
            while let Some(action) = self.registry.poll_action() {
                if let Action::Start { agent, container, .. } = action {
                    let (id, epoch) = (container.id, container.epoch);
                    waiting.push_back(Input::Started { agent, id, epoch, result: Ok(()) });
                }
            }
        }
    }
}

/// As long as the coordinator's own names.
fn uuid(number: u64) -> String {
    format!("{:08x}-0000-4000-8000-{number:012x}", number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff)
}

fn own_label(number: u64) -> Labels {
    Labels::from([("workspace".to_owned(), format!("ws-{number}"))])
}

fn peer(prefix: &str, number: u64) -> ClientId {
    name(ClientId::new(format!("{prefix}-{number}")))
}

/// Names of this benchmark are valid; one that is not ends it.
fn name<T, E: std::fmt::Display>(made: Result<T, E>) -> T {
    made.unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1)
    })
}

/// Nanoseconds for each operation of the fastest round.
fn best(rounds: Vec<Duration>) -> f64 {
    let fastest = rounds.into_iter().min().unwrap_or_default();
    fastest.as_secs_f64() * 1e9 / TIMED as f64
}

/// Bytes of this process that are in memory.
fn resident() -> f64 {
    crate::measure::resident("self").unwrap_or(f64::NAN)
}
