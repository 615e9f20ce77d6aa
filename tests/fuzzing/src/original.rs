//! The language of the original network, from frames to requests.

use std::time::Instant;

use bytes::Bytes;
use hulynet_backrpc::{
    Message, Text, back,
    calls::{ToAgent, ToCoordinator},
    endpoints, json,
    records::{write, write_broadcast, write_error},
    session::{Greeted, IN_PROGRESS, Session, Turn},
    visit::{Heard, Subject, Visit},
};
use hulynet_protocol::{ClientId, Uuid};

/// Between messages, and between the frames of one: characters that JSON has
/// only in an escaped form.
pub const MESSAGE: u8 = 0x1e;
/// See [`MESSAGE`].
pub const FRAME: u8 = 0x1f;

/// Some messages of one peer, as a server takes them: what is read survives its
/// codec, what is sent has three frames, and no more is kept than allowed. And
/// the same messages as a visitor takes them from a server.
pub fn original(bytes: &[u8]) {
    if let Ok(uuid) = Uuid::new("c") {
        visit(bytes, Subject::Routed(uuid));
    }
    visit(bytes, Subject::Direct);
    let mut session: Session<(), ()> = Session::new(Text::new("server"));
    let mut running = Vec::new();
    for message in bytes.split(|byte| *byte == MESSAGE) {
        let frames = message.split(|byte| *byte == FRAME).map(Bytes::copy_from_slice);
        let Ok(message) = Message::read(frames) else { continue };
        let again = Message::read(message.frames().into_iter());
        if again.as_ref() != Ok(&message) {
            panic!("{message:?} became {again:?}");
        }
        let mut turns = Vec::new();
        session.receive(message, &mut turns);
        while !turns.is_empty() {
            match turns.remove(0) {
                Turn::Greet(_) => session.greeted(Greeted::Returned, false, &mut turns),
                Turn::Leave => session.left(),
                Turn::Request(ticket, body) => {
                    let answer = request(&body);
                    running.push(ticket);
                    if running.len() > IN_PROGRESS {
                        panic!("{} requests are in progress", running.len());
                    }
                    // Every third one ends.
                    if running.len() % 3 == 0
                        && let Some(ticket) = running.pop()
                    {
                        // One that came again is answered once.
                        let _answered = session.answer(&ticket, answer);
                    }
                }
                Turn::Send(_) | Turn::Answer(..) | Turn::Alive | Turn::Ignore => {}
            }
        }
    }
}

/// What a visitor hears is JSON, and what it sends can be read.
fn visit(bytes: &[u8], subject: Subject) {
    let (now, mut sent) = (Instant::now(), Vec::new());
    let mut visit = Visit::begin(now, ClientId::random(), subject, &mut sent);
    for message in bytes.split(|byte| *byte == MESSAGE) {
        let frames = message.split(|byte| *byte == FRAME).map(Bytes::copy_from_slice);
        let Ok(message) = Message::read(frames) else { continue };
        match visit.receive(now, message, &mut sent) {
            Ok(Some(Heard::Event(event))) => readable(&event),
            Ok(_) => {}
            Err(_over) => break,
        }
    }
    for message in sent {
        if Message::read(message.frames().into_iter()).as_ref() != Ok(&message) {
            panic!("{message:?} is not read as it was sent");
        }
    }
}

/// Reads a request in every way; what is written of it can be read.
fn request(body: &Bytes) -> Result<Bytes, Bytes> {
    if let Ok(ToCoordinator::Register(register)) = ToCoordinator::read(body) {
        for container in register.containers {
            let written = write(&container);
            match serde_json::from_slice(&written) {
                Ok(again) if container == again => {}
                other => panic!("{container:?} became {other:?}"),
            }
        }
        register.endpoint.iter().for_each(|endpoint| drop(endpoints::read(endpoint)));
    }
    if let Ok(ToAgent::Send(send)) = ToAgent::read(body) {
        readable(&write_broadcast(&send.container, &send.data));
    }
    // The answers of agents are read like requests.
    let (given, failed) = (back::given(Ok(body.clone())), back::given(Err(body.clone())));
    if let (Err(error), _) | (_, Err(error)) = (given, failed) {
        readable(&write_error(&error.message));
    }
    let answer = json::payload(body);
    let lines = json::lines(body);
    for passed in [&answer, &lines].into_iter().flatten() {
        readable(passed);
    }
    if let Ok(data) = &answer
        && let Ok(uuid) = Uuid::new("c")
    {
        readable(&write_broadcast(&uuid, data));
    }
    answer.map_err(|refusal| write_error(&refusal.0))
}

/// What leaves is JSON.
fn readable(written: &Bytes) {
    let mut reader = serde_json::Deserializer::from_slice(written);
    let read = <serde::de::IgnoredAny as serde::Deserialize>::deserialize(&mut reader);
    if let Err(error) = read.and_then(|_| reader.end()) {
        panic!("{written:?} is no JSON: {error}");
    }
}
