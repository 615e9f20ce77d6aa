//! A coordinator without sockets and without a clock of its own: sessions, the
//! translation and the registry as they are shipped, with the recording's time.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use hulynet_backrpc::{
    Message, Text, back,
    session::{Greeted, Session, Ticket, Turn},
};
use hulynet_coordinator::{
    original::{Asked, Desk, Wish},
    registry::{Action, Input, Registry, RegistryConfig, Time, Token},
};
use hulynet_protocol::{AgentId, ClientId, ContainerId, Epoch, Uuid};

use crate::recording::{Recording, Sent};

/// Who asked an agent.
enum Asker {
    Start { agent: AgentId, id: ContainerId, epoch: Epoch },
    Terminate { agent: AgentId, id: ContainerId, epoch: Epoch },
    Send { connection: u64, ticket: Ticket },
}

struct House {
    now: Duration,
    registry: Registry,
    desk: Desk,
    talks: BTreeMap<u64, Session<(), Asker>>,
    /// Which connection each has.
    clients: BTreeMap<ClientId, u64>,
    waiting: BTreeMap<Token, (u64, Ticket, Wish)>,
    number: u64,
    heard: Recording,
    /// Our ids of questions by those that were recorded.
    ids: HashMap<String, String>,
    recorded: BTreeMap<u64, VecDeque<(String, serde_json::Value)>>,
}

/// Lets a recording's peers speak; gives what they hear.
pub fn play(recording: &Recording) -> Recording {
    let mut house = House::new(1, Recording::default(), recorded(recording));
    for sent in &recording.sent {
        if recording.restart.is_some_and(|restart| sent.at >= restart && house.number < 1_000_000) {
            house.run(Duration::from_millis(sent.at));
            let (heard, rest) = (house.heard, house.recorded);
            house = House::new(2, heard, rest);
            house.number = 1_000_000;
            house.now = Duration::from_millis(sent.at);
        }
        house.run(Duration::from_millis(sent.at));
        house.receive(sent);
    }
    let end = recording.sent.last().map_or(0, |sent| sent.at) + 100;
    house.run(Duration::from_millis(end));
    house.heard
}

fn recorded(recording: &Recording) -> BTreeMap<u64, VecDeque<(String, serde_json::Value)>> {
    let questions = |all: &Vec<crate::recording::Spoken>| {
        all.iter().map(|asked| (asked.id.clone(), asked.body.clone())).collect()
    };
    recording.asked.iter().map(|(number, all)| (*number, questions(all))).collect()
}

impl House {
    fn new(
        term: u64,
        heard: Recording,
        recorded: BTreeMap<u64, VecDeque<(String, serde_json::Value)>>,
    ) -> Self {
        let config =
            RegistryConfig { recovery_window: Duration::ZERO, ..RegistryConfig::default() };
        let mut registry = Registry::new(config, term, Uuid::random);
        let mut desk = Desk::default();
        desk.begin(Time::default(), registry.observe());
        Self {
            now: Duration::ZERO,
            registry,
            desk,
            talks: BTreeMap::new(),
            clients: BTreeMap::new(),
            waiting: BTreeMap::new(),
            number: 0,
            heard,
            ids: HashMap::new(),
            recorded,
        }
    }

    fn time(&self) -> Time {
        Time::after_start(self.now)
    }

    /// Does what is due until then.
    fn run(&mut self, until: Duration) {
        let timers = |house: &Self| [house.desk.due(), house.registry.next_timeout()];
        while let Some(next) = timers(self).into_iter().flatten().min()
            && next < Time::after_start(until)
        {
            self.now = self.now.max(next.since(Time::default()));
            if self.desk.due() == Some(next) {
                self.flush();
                continue;
            }
            self.registry.handle_timeout(self.time());
            self.act();
        }
        self.now = self.now.max(until);
    }

    fn forget(&mut self, client: &ClientId) {
        if let Some(connection) = self.clients.remove(client) {
            self.talks.get_mut(&connection).unwrap().left();
            self.desk.left(client);
        }
    }

    fn receive(&mut self, sent: &Sent) {
        let connection = sent.connection;
        let mut frames = sent.frames.clone();
        if let Some(id) = frames.get_mut(1)
            && let Some(ours) = self.ids.get(&format!("{connection} {id}"))
            && ["2", "3"].contains(&frames[0].as_str())
        {
            frames[1].clone_from(ours);
        }
        let Ok(message) = Message::read(frames.into_iter().map(Bytes::from)) else { return };
        let revived = message.operation != hulynet_backrpc::Operation::Hello;
        let mut turns = Vec::new();
        let talk = || Session::new(Text::new("SERVER"));
        self.talks.entry(connection).or_insert_with(talk).receive(message, &mut turns);
        for turn in turns {
            self.turn(connection, revived, turn);
        }
    }

    fn turn(&mut self, connection: u64, revived: bool, turn: Turn<Asker>) {
        let client = self.talks[&connection].client().cloned();
        match turn {
            Turn::Send(message) => self.say(connection, &message),
            Turn::Greet(greeting) => {
                let (client, alive_timeout) = (greeting.client, greeting.alive_timeout);
                let resumed = self.clients.insert(client.clone(), connection).is_some();
                let mut turns = Vec::new();
                let talk = self.talks.get_mut(&connection).unwrap();
                talk.greeted(Greeted::Welcome, revived, &mut turns);
                self.desk.joined(client.clone());
                self.input(Input::ClientJoined { client, alive_timeout, resumed });
                for turn in turns {
                    self.turn(connection, revived, turn);
                }
            }
            Turn::Alive => self.input(Input::ClientAlive(client.unwrap())),
            Turn::Leave => {
                let mut clients = self.clients.iter();
                let (client, _) = clients.find(|(_, number)| **number == connection).unwrap();
                let client = client.clone();
                self.forget(&client);
                self.input(Input::ClientLeft(client));
            }
            Turn::Request(ticket, body) => self.request(connection, client.unwrap(), ticket, &body),
            Turn::Answer(asker, answer) => self.answered(asker, answer),
            Turn::Ignore => {}
        }
    }

    fn request(&mut self, connection: u64, client: ClientId, ticket: Ticket, body: &Bytes) {
        let answer = match self.desk.ask(&self.registry, body) {
            Asked::Registry(call, wish) => {
                self.number += 1;
                let token = Token(self.number);
                self.waiting.insert(token, (connection, ticket, wish));
                return self.input(Input::Request { client, token, call });
            }
            Asked::Send(sending) => {
                let (agent, uuid) = (&sending.route.agent, &sending.id.uuid);
                let body = back::send(agent, uuid, &sending.operation, &sending.data).unwrap();
                let asker = Asker::Send { connection, ticket };
                return self.ask(&sending.route.peer.clone(), body, asker);
            }
            Asked::Later => panic!("nothing recorded comes too early"),
            Asked::Answer(result) => Ok(result),
            Asked::Refuse(why) => Err(why),
        };
        self.answer(connection, &ticket, answer);
    }

    fn answered(&mut self, asker: Asker, answer: Result<Bytes, Bytes>) {
        match asker {
            Asker::Send { connection, ticket } => {
                let answer = back::result(answer).map_err(|error| error.message);
                self.answer(connection, &ticket, answer);
            }
            Asker::Start { agent, id, epoch } => {
                let input = self.desk.started(agent, id, epoch, Ok(answer));
                self.input(input);
            }
            Asker::Terminate { agent, id, epoch } => {
                let result = back::result(answer).map(|_| true);
                self.input(Input::Terminated { agent, id, epoch, result });
            }
        }
    }

    fn input(&mut self, input: Input) {
        if let Input::Started { result, .. } = &input {
            self.desk.failing(result.as_ref().err());
        }
        self.registry.handle(self.time(), input);
        self.act();
        self.desk.failing(None);
    }

    fn act(&mut self) {
        while let Some(action) = self.registry.poll_action() {
            match action {
                Action::Answer { token, result } => {
                    let Some((connection, ticket, wish)) = self.waiting.remove(&token) else {
                        continue;
                    };
                    let answer = self.desk.answer(&self.registry, &wish, result);
                    self.answer(connection, &ticket, answer);
                }
                Action::Start { peer, agent, container } => {
                    let body = Desk::start(&self.registry, &agent, &container).unwrap();
                    let (id, epoch) = (container.id, container.epoch);
                    self.ask(&peer, body, Asker::Start { agent, id, epoch });
                }
                Action::Terminate { peer, agent, id, epoch, .. } => {
                    let body = self.desk.terminate(&agent, &id);
                    self.ask(&peer, body, Asker::Terminate { agent, id, epoch });
                }
                Action::Notify { events, .. } => {
                    self.desk.observe(self.time(), &self.registry, &events);
                    self.flush();
                }
                Action::Forget(client) => self.forget(&client),
                Action::Drain { .. } => panic!("agents of the original do not drain"),
            }
        }
        self.desk.collect(self.time());
    }

    fn ask(&mut self, peer: &ClientId, body: Bytes, asker: Asker) {
        let Some(connection) = self.clients.get(peer).copied() else { return };
        self.number += 1;
        let message =
            self.talks.get_mut(&connection).unwrap().ask(self.number, body.clone(), asker);
        let asked: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let questions = self.recorded.entry(connection).or_default();
        if let Some(place) = questions.iter().position(|(_, question)| *question == asked) {
            let (id, _) = questions.remove(place).unwrap();
            self.ids.insert(format!("{connection} {id}"), message.id.as_str().to_owned());
        }
        self.say(connection, &message);
    }

    fn answer(&mut self, connection: u64, ticket: &Ticket, answer: Result<Bytes, String>) {
        let answer = answer.map_err(|why| hulynet_backrpc::records::write_error(&why));
        let talk = self.talks.get_mut(&connection).unwrap();
        if let Some(message) = talk.answer(ticket, answer) {
            self.say(connection, &message);
        }
    }

    fn flush(&mut self) {
        let Some(body) = self.desk.flush() else { return };
        let event = Message::new(hulynet_backrpc::Operation::Event, Text::new(""), body);
        let all: Vec<u64> = self.clients.values().copied().collect();
        for connection in all {
            self.say(connection, &event);
        }
    }

    fn say(&mut self, connection: u64, message: &Message) {
        let frames = message.frames().map(|frame| String::from_utf8(frame.to_vec()).unwrap());
        self.heard.hear(connection, &frames);
    }
}
