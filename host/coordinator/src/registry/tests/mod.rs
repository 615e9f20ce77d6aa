//! A registry with agents and clients at its fingertips. Every step checks the
//! invariants.

mod drains;
mod endings;
mod events;
mod explain;
mod failures;
mod faults_of_the_original;
mod gets;
mod given;
mod leases;
mod placement;
mod recovery;
mod registration;
mod selectors;
mod singletons;
mod starts;
mod strays;

use std::collections::BTreeSet;

use hulynet_protocol::{
    Activation, ContainerRecord, Endpoint, ErrorKind, GetOptions, Intake, Kind, Labels, Load,
    Registered, Registration, Retry, Selector, Target,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn client(name: &str) -> ClientId {
    ClientId::new(name).unwrap()
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

fn kind(name: &str) -> Kind {
    Kind::new(name).unwrap()
}

fn echo(uuid: &str) -> ContainerId {
    ContainerId { kind: kind("echo"), uuid: Uuid::new(uuid).unwrap() }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn by_uuid(uuid: &str) -> GetOptions {
    GetOptions { uuid: Some(Uuid::new(uuid).unwrap()), ..GetOptions::default() }
}

fn by_labels(pairs: &[(&str, &str)]) -> GetOptions {
    GetOptions { labels: labels(pairs), ..GetOptions::default() }
}

fn activation(uuid: &str, term: u64, counter: u64) -> Activation {
    Activation { id: echo(uuid), epoch: Epoch { term, counter }, labels: Labels::new() }
}

/// What an agent was asked and did not answer yet.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    agent: AgentId,
    id: ContainerId,
    epoch: Epoch,
    force: bool,
    start: bool,
}

struct Network {
    registry: Registry,
    now: Time,
    tokens: u64,
    alive: BTreeSet<ClientId>,
    asked: Vec<Asked>,
    answers: BTreeMap<Token, Result<Reply, NetworkError>>,
    events: Vec<(Vec<ClientId>, Vec<NetworkEvent>)>,
    forgotten: Vec<ClientId>,
    last_start: Option<StartContainer>,
    /// Wishes to drain that agents did not answer yet.
    drains: Vec<(Token, AgentId, bool)>,
}

impl Network {
    /// After the recovery window, in term 7.
    fn new() -> Self {
        let mut network = Self::young();
        network.advance(3 * SECOND);
        network
    }

    /// At the coordinator's start.
    fn young() -> Self {
        let mut made = 0;
        let uuids = move || {
            made += 1;
            Uuid::new(format!("made-{made}")).unwrap()
        };
        Self {
            registry: Registry::new(RegistryConfig::default(), 7, uuids),
            now: Time::default(),
            tokens: 0,
            alive: BTreeSet::new(),
            asked: Vec::new(),
            answers: BTreeMap::new(),
            events: Vec::new(),
            forgotten: Vec::new(),
            last_start: None,
            drains: Vec::new(),
        }
    }

    fn step(&mut self, input: Input) {
        self.registry.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.registry.poll_action() {
            match action {
                Action::Answer { token, result } => {
                    assert!(self.answers.insert(token, result).is_none(), "answered twice");
                }
                Action::Start { agent, container, .. } => {
                    let (id, epoch) = (container.id.clone(), container.epoch);
                    self.asked.push(Asked { agent, id, epoch, force: false, start: true });
                    self.last_start = Some(container);
                }
                Action::Terminate { agent, id, epoch, force, .. } => {
                    self.asked.push(Asked { agent, id, epoch, force, start: false });
                }
                Action::Drain { token, agent, drain, .. } => {
                    self.drains.push((token, agent, drain));
                }
                Action::Notify { clients, events } => self.events.push((clients, events)),
                Action::Forget(client) => self.forgotten.push(client),
            }
        }
        self.registry.check_invariants().unwrap();
    }

    /// Lets time pass while the living peers ping.
    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = (self.now + SECOND / 2).min(end);
            for client in self.alive.clone() {
                self.step(Input::ClientAlive(client));
            }
            self.registry.handle_timeout(self.now);
            self.drain();
        }
    }

    fn join(&mut self, name: &str) {
        self.alive.insert(client(name));
        self.step(Input::ClientJoined {
            client: client(name),
            alive_timeout: 3 * SECOND,
            resumed: false,
        });
    }

    fn leave(&mut self, name: &str) {
        self.alive.remove(&client(name));
        self.step(Input::ClientLeft(client(name)));
    }

    fn ask(&mut self, name: &str, call: Call) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.step(Input::Request { client: client(name), token, call });
        token
    }

    fn answer(&self, token: Token) -> &Result<Reply, NetworkError> {
        self.answers.get(&token).expect("not answered yet")
    }

    fn waits(&self, token: Token) -> bool {
        !self.answers.contains_key(&token)
    }

    fn error(&self, token: Token) -> &NetworkError {
        self.answer(token).as_ref().unwrap_err()
    }

    fn record(&self, token: Token) -> &ContainerRecord {
        match self.answer(token) {
            Ok(Reply::Container(record)) => record,
            other => panic!("{other:?}"),
        }
    }

    /// An agent whose peer has its name joins with these kinds.
    fn agent(&mut self, name: &str, kinds: &[&str]) {
        self.join(name);
        assert_eq!(self.register(name, kinds, vec![]).terminate, []);
    }

    fn register(&mut self, name: &str, kinds: &[&str], containers: Vec<Activation>) -> Registered {
        let token = self.ask(name, registration(name, kinds, containers));
        match self.answer(token) {
            Ok(Reply::Registered(registered)) => registered.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// An agent joins with what `change` makes of its registration.
    fn agent_as(&mut self, name: &str, change: impl FnOnce(&mut Registration)) {
        self.join(name);
        let Call::Register(mut sent) = registration(name, &["echo"], vec![]) else { panic!() };
        change(&mut sent);
        let token = self.ask(name, Call::Register(sent));
        assert!(matches!(self.answer(token), Ok(Reply::Registered(_))), "{:?}", self.answer(token));
    }

    /// An agent renews its lease and tells how busy it is.
    fn report(&mut self, name: &str, used: u32, intake: Intake) {
        let load = Load { used, intake };
        let token = self.ask(name, Call::Ended { agent: agent(name), containers: vec![], load });
        assert_eq!(*self.answer(token), Ok(Reply::Done));
    }

    /// The only agent that was asked to start something, which succeeds.
    fn placed(&mut self) -> AgentId {
        let asked = self.take_asked();
        assert!(asked.start);
        self.started(&asked, Ok(()));
        asked.agent
    }

    fn get(&mut self, name: &str, options: GetOptions) -> Token {
        self.ask(name, Call::Get { kind: kind("echo"), options })
    }

    fn reclaim(&mut self, name: &str, uuid: &str) -> Token {
        self.ask(
            name,
            Call::Reclaim {
                id: echo(uuid),
                epoch: Epoch::default(),
                options: GetOptions::default(),
            },
        )
    }

    fn release(&mut self, name: &str, uuid: &str) {
        let token = self.ask(name, Call::Release(echo(uuid)));
        assert_eq!(*self.answer(token), Ok(Reply::Done));
    }

    fn terminate(&mut self, name: &str, uuid: &str, force: bool) -> Token {
        let target = Target { id: echo(uuid), epoch: None };
        self.ask(name, Call::Terminate { target, force })
    }

    /// The only thing that agents were asked since the last time.
    fn take_asked(&mut self) -> Asked {
        assert_eq!(self.asked.len(), 1, "{:?}", self.asked);
        self.asked.remove(0)
    }

    fn started(&mut self, asked: &Asked, result: Result<(), NetworkError>) {
        let Asked { agent, id, epoch, .. } = asked.clone();
        self.step(Input::Started { agent, id, epoch, result });
    }

    fn terminated(&mut self, asked: &Asked, result: Result<bool, NetworkError>) {
        let Asked { agent, id, epoch, .. } = asked.clone();
        self.step(Input::Terminated { agent, id, epoch, result });
    }

    fn ended(&mut self, asked: &Asked) -> Token {
        let Asked { agent, id, epoch, .. } = asked.clone();
        let peer = agent.as_str().to_owned();
        let load = Load::default();
        self.ask(&peer, Call::Ended { agent, containers: vec![(id, epoch)], load })
    }

    /// Gets a container and has its agent start it.
    fn run(&mut self, name: &str, uuid: &str) -> Asked {
        let token = self.get(name, by_uuid(uuid));
        let asked = self.take_asked();
        self.started(&asked, Ok(()));
        assert_eq!(self.record(token).epoch, asked.epoch);
        asked
    }

    fn list(&mut self, name: &str) -> Vec<ContainerRecord> {
        let token = self.ask(name, Call::List { kind: None, select: Selector::default() });
        match self.answer(token) {
            Ok(Reply::Containers(records)) => records.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn holders(&mut self, uuid: &str) -> u64 {
        let container = self.registry.containers.get(&Uuid::new(uuid).unwrap());
        container.map_or(0, |container| container.holders.len() as u64)
    }

    fn exists(&self, uuid: &str) -> bool {
        self.registry.containers.get(&Uuid::new(uuid).unwrap()).is_some()
    }

    /// What watchers were told, with the batch that is due next.
    fn take_changes(&mut self) -> Vec<String> {
        self.now = self.now + super::events::BATCH;
        self.registry.handle_timeout(self.now);
        self.drain();
        std::mem::take(&mut self.events)
            .into_iter()
            .flat_map(|(_, events)| events)
            .map(|event| describe(&event))
            .collect()
    }
}

fn registration(name: &str, kinds: &[&str], containers: Vec<Activation>) -> Call {
    Call::Register(Registration {
        endpoint: Endpoint { agent: agent(name), address: Some(format!("{name}:3738")) },
        kinds: kinds.iter().map(|name| kind(name)).collect(),
        labels: Labels::new(),
        containers,
        load: Load::default(),
        offers: vec![],
        doubtful: Vec::new(),
    })
}

fn describe(event: &NetworkEvent) -> String {
    use hulynet_protocol::Change::*;
    let revision = event.revision;
    match &event.change {
        AgentAdded(record) => format!("{revision} agent added {}", record.endpoint.agent),
        AgentUpdated(record) => format!("{revision} agent updated {}", record.endpoint.agent),
        AgentRemoved(id) => format!("{revision} agent removed {id}"),
        ContainerAdded(record) => {
            format!("{revision} added {} {}", record.id.uuid, record.endpoint.agent)
        }
        ContainerUpdated(record) => {
            format!("{revision} updated {} {}", record.id.uuid, record.endpoint.agent)
        }
        ContainerRemoved { id, .. } => format!("{revision} removed {}", id.uuid),
    }
}

fn failure(retry: Retry) -> NetworkError {
    NetworkError::new(ErrorKind::StartFailed, retry, "start trapped")
}
