//! A recording, sorted and without what differs from run to run.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Spoken {
    pub operation: String,
    pub id: String,
    pub body: Value,
}

/// What a peer sent, and when.
#[derive(Debug)]
pub struct Sent {
    pub at: u64,
    pub connection: u64,
    pub frames: Vec<String>,
}

/// What servers said, by connection. Answers, questions and events are
/// compared apart: events go out sooner than they were recorded.
#[derive(Debug, Default)]
pub struct Recording {
    pub sent: Vec<Sent>,
    /// Hello, pong, answers, retries.
    pub answers: BTreeMap<u64, Vec<Spoken>>,
    /// Questions to agents; with the ids that were recorded.
    pub asked: BTreeMap<u64, Vec<Spoken>>,
    /// What was told, one by one.
    pub events: BTreeMap<u64, Vec<Value>>,
    /// The references in the records that were told.
    pub references: Vec<Value>,
    /// It goes on until everything was told.
    pub is_whole: bool,
    /// When the coordinator was started again.
    pub restart: Option<u64>,
}

impl Spoken {
    pub fn new(operation: &str, id: &str, body: &str) -> Self {
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
        Self { operation: operation.to_owned(), id: id.to_owned(), body }.normalised()
    }

    fn normalised(mut self) -> Self {
        if ["0", "6", "9"].contains(&self.operation.as_str()) {
            self.id = "SERVER".to_owned();
        }
        normalise(&mut self.body);
        self
    }
}

/// One thing that is told.
pub fn event(what: &str, name: &str, event: u8) -> Value {
    serde_json::json!([what, name, event])
}

/// Stacks are the original's own, and times are of the moment.
fn normalise(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("stack");
            for (name, member) in members {
                if name == "lastVisit" {
                    *member = Value::from("*");
                }
                normalise(member);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(normalise),
        _ => {}
    }
}

/// Whether this is what was recorded. The original's own records have no
/// references, and those that have been made better have one.
fn is_same(recorded: &Value, got: &Value) -> bool {
    match (recorded, got) {
        (Value::Object(recorded), Value::Object(got)) => {
            recorded.len() == got.len()
                && recorded.iter().zip(got).all(|((name, recorded), (other, got))| {
                    let is_made = name == "endpoint" && recorded == "" && is_reference(got);
                    name == other && (is_made || is_same(recorded, got))
                })
        }
        (Value::Array(recorded), Value::Array(got)) => {
            recorded.len() == got.len()
                && recorded.iter().zip(got).all(|(recorded, got)| is_same(recorded, got))
        }
        _ => recorded == got,
    }
}

fn is_reference(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with('{'))
}

/// Reads the traffic of one server from a recording; `None`, with a loud
/// message, when the recordings are not beside the checkout.
pub fn recording(name: &str, link: &str) -> Option<Recording> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/backrpc/transcripts");
    let Ok(text) = fs::read_to_string(beside.join(name).with_extension("jsonl")) else {
        eprintln!("SKIPPED: the recording {name} is not beside the checkout (../shared/backrpc)");
        return None;
    };
    Some(read(&text, link))
}

/// The same of one that was written for these tests, by hand.
pub fn fixture(name: &str, link: &str) -> Recording {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay/fixtures");
    let text = fs::read_to_string(own.join(name).with_extension("jsonl")).unwrap();
    Recording { is_whole: true, ..read(&text, link) }
}

fn read(text: &str, link: &str) -> Recording {
    let mut recording = Recording::default();
    let (mut server, mut heard) = (String::new(), 0);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["link"] != link {
            continue;
        }
        let (at, connection) = (line["t"].as_u64().unwrap(), line["conn"].as_u64().unwrap());
        let frames: Vec<String> = serde_json::from_value(line["frames"].clone()).unwrap();
        if line["dir"] == "c2s" {
            recording.sent.push(Sent { at, connection, frames });
            continue;
        }
        if ["0", "6", "9"].contains(&frames[0].as_str()) {
            if !server.is_empty() && server != frames[1] {
                // What was sent since then waited for the new one.
                recording.restart = Some(heard + 1);
            }
            server.clone_from(&frames[1]);
        }
        heard = at;
        recording.hear(connection, &frames);
    }
    recording
}

impl Recording {
    /// A server said this.
    pub fn hear(&mut self, connection: u64, frames: &[String]) {
        let spoken = Spoken::new(&frames[0], &frames[1], &frames[2]);
        self.answers.entry(connection).or_default();
        self.asked.entry(connection).or_default();
        let events = self.events.entry(connection).or_default();
        match spoken.operation.as_str() {
            "1" => self.asked.get_mut(&connection).unwrap().push(spoken),
            "4" if spoken.body["agents"].is_null() => {
                events.push(serde_json::json!(["broadcast", spoken.body]));
            }
            "4" => {
                for agent in spoken.body["agents"].as_array().unwrap() {
                    events.push(serde_json::json!(["agent", agent["id"], agent["event"]]));
                }
                for told in spoken.body["containers"].as_array().unwrap() {
                    let uuid = &told["container"]["uuid"];
                    events.push(serde_json::json!(["container", uuid, told["event"]]));
                    self.references.push(told["container"]["endpoint"].clone());
                }
            }
            _ => self.answers.get_mut(&connection).unwrap().push(spoken),
        }
    }

    pub fn answer(&mut self, connection: u64, id: &str) -> &mut Spoken {
        let answers = self.answers.get_mut(&connection).unwrap();
        answers.iter_mut().find(|message| message.id == id).unwrap()
    }

    pub fn insert_answer(&mut self, connection: u64, place: usize, op: &str, id: &str, body: &str) {
        let answers = self.answers.get_mut(&connection).unwrap();
        answers.insert(place, Spoken::new(op, id, body));
    }

    /// A peer that said hello after something happened: the original told of
    /// it up to three seconds later, where we tell at once.
    pub fn came_later(&mut self, connection: u64, event: &Value) {
        let events = self.events.get_mut(&connection).unwrap();
        let place = events.iter().position(|told| told == event).unwrap();
        events.remove(place);
    }

    /// Compares with what was heard; what is told about agents and containers
    /// each in its order, because the original sorts them into one message.
    pub fn compare(&self, heard: &Self) {
        for (connection, expected) in &self.answers {
            let none = Vec::new();
            let got = heard.answers.get(connection).unwrap_or(&none);
            for (place, (expected, got)) in expected.iter().zip(got).enumerate() {
                let same = expected.operation == got.operation
                    && expected.id == got.id
                    && (expected.body == "*" || is_same(&expected.body, &got.body));
                assert!(
                    same,
                    "connection {connection}, message {place}: {expected:?}, not {got:?}"
                );
            }
            assert_eq!(expected.len(), got.len(), "connection {connection}: {got:?}");
        }
        for (connection, expected) in &self.asked {
            let bodies = |all: &[Spoken]| all.iter().map(|m| m.body.clone()).collect::<Vec<_>>();
            let got = heard.asked.get(connection).map(|all| bodies(all)).unwrap_or_default();
            assert_eq!(got, bodies(expected), "questions on connection {connection}");
        }
        assert!(heard.references.iter().all(is_reference), "{:?}", heard.references);
        for (connection, expected) in &self.events {
            for what in ["agent", "container", "broadcast"] {
                let about = |events: &[Value]| -> Vec<Value> {
                    events.iter().filter(|told| told[0] == what).cloned().collect()
                };
                let got = heard.events.get(connection).map(|all| about(all)).unwrap_or_default();
                let expected = about(expected);
                // A recording that ends within 3 s of a change lacks its event.
                let same = got.starts_with(&expected) && (!self.is_whole || got == expected);
                assert!(same, "events on connection {connection}: {expected:?}, not {got:?}");
            }
        }
    }
}
