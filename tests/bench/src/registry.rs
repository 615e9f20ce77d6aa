//! What the registry alone costs, and how that grows with the network.

use std::time::{Duration, Instant};

use hulynet_coordinator::registry::{Action, Input, Registry, RegistryConfig, Time, Token};
use hulynet_protocol::{
    AgentId, Call, ClientId, ContainerId, Endpoint, GetOptions, Kind, Labels, Registration, Uuid,
};

use crate::measure::Measure;

/// The name of this benchmark.
pub(crate) const NAME: &str = "registry";

/// The most bytes that a container may take.
const AIM_BYTES: f64 = 400.0;

/// Operations of each timed measure.
const TIMED: u64 = 50_000;

struct Network {
    registry: Registry,
    now: Time,
    tokens: u64,
    kind: Kind,
}

/// Measures a small network and one a hundred times as large: 1,000 agents,
/// 10,000 clients, 1,000,000 containers. The small one is the floor.
pub(crate) fn run() -> Vec<Measure> {
    let small = measure(10, 100, 10_000);
    let large = measure(1_000, 10_000, 1_000_000);
    let names = [
        ("memory per container", "bytes"),
        ("get of an existing container", "ns"),
        ("get that starts one", "ns"),
        ("release", "ns"),
        ("ping", "ns"),
        ("agent lost with 1,000 containers", "ms"),
    ];
    names
        .iter()
        .zip(large.into_iter().zip(small))
        .map(|((name, unit), (value, floor))| Measure {
            name: format!("{NAME}.{name}"),
            value,
            unit,
            floor: Some(floor),
            aim: (*unit == "bytes").then_some(AIM_BYTES),
            higher_is_better: false,
        })
        .collect()
}

fn measure(agents: u64, clients: u64, containers: u64) -> [f64; 6] {
    let mut network = Network::new(agents, clients);
    let before = resident();
    for number in 0..containers {
        network.get(number % clients, number);
    }
    let memory = (resident() - before) / containers as f64;

    let existing = timed(|number| network.get(number * 7 % clients, number * 7919 % containers));
    let starting = timed(|number| network.get(number % clients, containers + number));
    let release = timed(|number| {
        let id = network.id(containers + number);
        network.ask(number % clients, Call::Release(id));
    });
    let ping = timed(|number| network.step(Input::ClientAlive(peer("c", number % clients))));
    let began = Instant::now();
    network.step(Input::ClientLeft(peer("a", 1)));
    let lost = began.elapsed().as_secs_f64() * 1e3;
    [memory, existing, starting, release, ping, lost]
}

fn timed(mut operation: impl FnMut(u64)) -> f64 {
    let began = Instant::now();
    (0..TIMED).for_each(&mut operation);
    began.elapsed().as_secs_f64() * 1e9 / TIMED as f64
}

impl Network {
    fn new(agents: u64, clients: u64) -> Self {
        let config = RegistryConfig::default();
        let now = Time::after_start(config.recovery_window + Duration::from_secs(1));
        let registry = Registry::new(config, 1, Uuid::random);
        let mut network = Self { registry, now, tokens: 0, kind: name(Kind::new("echo")) };
        network.registry.handle_timeout(now);
        for number in 0..clients {
            network.join("c", number);
        }
        for number in 0..agents {
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
                load: hulynet_protocol::Load::default(),
                offers: Vec::new(),
            };
            network.ask_as(peer("a", number), Call::Register(registration));
        }
        network
    }

    fn join(&mut self, prefix: &str, number: u64) {
        let alive_timeout = Duration::from_secs(60);
        let client = peer(prefix, number);
        self.step(Input::ClientJoined { client, alive_timeout, resumed: false });
    }

    fn id(&self, number: u64) -> ContainerId {
        ContainerId { kind: self.kind.clone(), uuid: name(Uuid::new(format!("echo:{number}"))) }
    }

    fn get(&mut self, client: u64, number: u64) {
        let ContainerId { kind, uuid } = self.id(number);
        let options = GetOptions { uuid: Some(uuid), ..GetOptions::default() };
        self.ask(client, Call::Get { kind, options });
    }

    fn ask(&mut self, client: u64, call: Call) {
        self.ask_as(peer("c", client), call);
    }

    fn ask_as(&mut self, client: ClientId, call: Call) {
        self.tokens += 1;
        self.step(Input::Request { client, token: Token(self.tokens), call });
    }

    /// Agents start at once whatever they are asked to.
    fn step(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            self.registry.handle(self.now, input);
            while let Some(action) = self.registry.poll_action() {
                if let Action::Start { agent, container, .. } = action {
                    let (id, epoch) = (container.id, container.epoch);
                    next = Some(Input::Started { agent, id, epoch, result: Ok(()) });
                }
            }
        }
    }
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

/// Bytes of this process that are in memory.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| {
        text.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok())
    });
    pages.unwrap_or(f64::NAN) * 4096.0
}
