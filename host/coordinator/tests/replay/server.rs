//! The other servers of a recording: an agent's own, and one of a container.
//! Sessions and calls are read as they are shipped; containers are played.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hulynet_backrpc::{
    Message, Operation, Text,
    calls::{NOT_FOUND, Send, ToAgent},
    records::{write_broadcast, write_error},
    session::{Greeted, Session, Turn},
};
use hulynet_protocol::Uuid;
use serde_json::{Value, json};

use crate::recording::Recording;

/// What a request comes to: first the events, then the answer.
#[derive(Default)]
struct Done {
    events: Vec<Bytes>,
    answer: Option<Result<Value, String>>,
}

impl Done {
    fn answer(answer: Result<Value, String>) -> Self {
        Self { events: Vec::new(), answer: Some(answer) }
    }
}

/// An agent with one container, or the container itself.
pub enum Server {
    Agent { container: Uuid, connected: BTreeSet<Uuid> },
    Container,
}

impl Server {
    pub fn agent(container: &str) -> Self {
        Self::Agent { container: Uuid::new(container).unwrap(), connected: BTreeSet::new() }
    }

    /// Lets a recording's peers speak; gives what they hear.
    pub fn play(mut self, recording: &Recording) -> Recording {
        let mut talks: BTreeMap<u64, Session<(), ()>> = BTreeMap::new();
        let mut heard = Recording::default();
        for sent in &recording.sent {
            let frames = sent.frames.iter().cloned().map(Bytes::from);
            let Ok(message) = Message::read(frames) else { continue };
            let talk = || Session::new(Text::new("SERVER"));
            let talk = talks.entry(sent.connection).or_insert_with(talk);
            let mut say = |message: &Message| {
                let text = |frame: Bytes| String::from_utf8(frame.to_vec()).unwrap();
                heard.hear(sent.connection, &message.frames().map(text));
            };
            let mut turns = Vec::new();
            talk.receive(message, &mut turns);
            while !turns.is_empty() {
                match turns.remove(0) {
                    Turn::Send(message) => say(&message),
                    Turn::Greet(_) => talk.greeted(Greeted::Welcome, false, &mut turns),
                    Turn::Request(ticket, body) => {
                        let name = talk.client().unwrap().to_string();
                        let Done { events, answer } = self.serve(&name, &body);
                        for event in events {
                            say(&Message::new(Operation::Event, Text::new(""), event));
                        }
                        let answer = answer.unwrap();
                        let answer = answer.map(|result| Bytes::from(result.to_string()));
                        let answer = answer.map_err(|why| write_error(&why));
                        say(&talk.answer(&ticket, answer).unwrap());
                    }
                    Turn::Leave => talk.left(),
                    Turn::Answer(..) | Turn::Alive | Turn::Ignore => {}
                }
            }
        }
        heard
    }

    fn serve(&mut self, client: &str, body: &Bytes) -> Done {
        let Self::Agent { container, connected } = self else { return contain(body) };
        match ToAgent::read(body) {
            Ok(ToAgent::Connect(uuids)) => {
                connected.extend(uuids);
                Done::answer(Ok(json!(0)))
            }
            Ok(ToAgent::Disconnect(uuid)) if connected.remove(&uuid) => {
                Done::answer(Ok(json!("ok")))
            }
            Ok(ToAgent::Send(send)) if send.container == *container => {
                let is_heard = connected.contains(&send.container);
                ask(client, &send, is_heard)
            }
            Ok(_) => Done::answer(Err(NOT_FOUND.to_owned())),
            Err(refusal) => Done::answer(Err(refusal.0)),
        }
    }
}

/// A container on an agent.
fn ask(client: &str, send: &Send, is_heard: bool) -> Done {
    let data: Value = serde_json::from_slice(&send.data).unwrap();
    match send.operation.as_str() {
        "echo" => Done::answer(Ok(data)),
        "clientId" => Done::answer(Ok(json!(client))),
        "fail" => Done::answer(Err(data["message"].as_str().unwrap().to_owned())),
        "broadcast" => {
            let event = is_heard.then(|| write_broadcast(&send.container, &send.data));
            let events: Vec<Bytes> = event.into_iter().collect();
            Done { answer: Some(Ok(json!(events.len()))), events }
        }
        other => panic!("{other} was not recorded"),
    }
}

/// A container with a server of its own.
fn contain(body: &Bytes) -> Done {
    let request: Value = serde_json::from_slice(body).unwrap();
    let (method, argument) = (request[0].clone(), request[1].clone());
    match method.as_str().unwrap() {
        "fail" => Done::answer(Err("direct boom".to_owned())),
        "event" => Done {
            events: vec![json!({ "evt": argument }).to_string().into()],
            answer: Some(Ok(json!({ "m": method, "p": argument }))),
        },
        _ => Done::answer(Ok(json!({ "m": method, "p": argument }))),
    }
}
