//! The rules of a visitor at a server of this language: it says hello, asks to
//! hear a container, and hears it.
//!
//! A state machine without IO or clock. A visit lasts as long as its
//! connection: one that is over is begun anew, under another name, by whoever
//! wanted it. So a server never has to tell two connections of one client
//! apart, which those of the original do not.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hulynet_protocol::{ClientId, Uuid};
use serde_json::{json, value::RawValue};

use crate::{
    back::failure,
    codec::{Message, Operation, Text},
    json::{self, Elements},
    records::{write, write_error},
};

/// How often a visitor proves that it lives.
const PING: Duration = Duration::from_secs(1);

/// A server that says nothing for so long is lost. Patient, because those of
/// the original do all their work on the thread that answers.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a server takes a visitor for alive that says nothing, in seconds.
const ALIVE: u64 = 10;

/// What a server calls a tick when it sends a request away.
const TICK: Duration = Duration::from_millis(50);

/// The most ticks that are waited for.
const TICKS: u32 = 20;

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A container that is asked through its agent: the agent is told which.
    Routed(Uuid),
    /// A container with a server of its own: its visitors hear it.
    Direct,
}

/// What a visitor learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The server will tell the events from here on.
    Joined,
    /// The container sent this.
    Event(Bytes),
}

/// Why a visit is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// It says nothing any more.
    #[error("it said nothing for {SILENCE:?}")]
    Silent,
    /// It does not know this visitor any more.
    #[error("it forgot this visitor")]
    Forgotten,
    /// It did what no server of this language does.
    #[error("{0}")]
    Wrong(&'static str),
    /// It refuses to tell the events.
    #[error("it refused: {0}")]
    Refused(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Hello was sent.
    Greeting,
    /// The request was sent, or is sent again then.
    Asking {
        again: Option<Instant>,
    },
    Joined,
}

/// See the module. Whoever drives it sends the messages that it leaves behind
/// after each step.
#[derive(Debug)]
pub struct Visit {
    name: ClientId,
    subject: Subject,
    stage: Stage,
    server: Option<Text>,
    heard: Instant,
    ping: Instant,
}

impl Visit {
    /// Begins on a new connection. Leaves hello to be sent.
    #[must_use]
    pub fn begin(now: Instant, name: ClientId, subject: Subject, send: &mut Vec<Message>) -> Self {
        let options = write(&json!({ "aliveTimeout": ALIVE }));
        send.push(Message::new(Operation::Hello, Text::new(name.as_str()), options));
        Self { name, subject, stage: Stage::Greeting, server: None, heard: now, ping: now + PING }
    }

    /// A message of the server.
    ///
    /// # Errors
    /// [`Over`]: nothing follows.
    pub fn receive(
        &mut self,
        now: Instant,
        message: Message,
        send: &mut Vec<Message>,
    ) -> Result<Option<Heard>, Over> {
        self.heard = now;
        let Message { operation, id, body } = message;
        match operation {
            Operation::Hello => return self.welcomed(id, send),
            Operation::Response if self.is_asked(&id) => {
                self.stage = Stage::Joined;
                return Ok(Some(Heard::Joined));
            }
            Operation::Error if self.is_asked(&id) => return Err(Over::Refused(failure(&body))),
            Operation::Retry if self.is_asked(&id) => {
                let ticks = std::str::from_utf8(&body).ok().and_then(|text| text.parse().ok());
                let ticks = ticks.unwrap_or(1).clamp(1, TICKS);
                self.stage = Stage::Asking { again: Some(now + TICK * ticks) };
            }
            // One may come before the answer that announces it.
            Operation::Event if self.stage != Stage::Greeting => {
                return Ok(self.event(&body)?.map(Heard::Event));
            }
            Operation::AskHello => return Err(Over::Forgotten),
            Operation::Request => {
                let refusal = write_error("a visitor is not asked anything");
                send.push(Message::new(Operation::Error, id, refusal));
            }
            // It lives, that is all.
            _ => {}
        }
        Ok(None)
    }

    fn welcomed(&mut self, server: Text, send: &mut Vec<Message>) -> Result<Option<Heard>, Over> {
        match &self.server {
            Some(known) if *known == server => return Ok(None),
            Some(_) => return Err(Over::Forgotten),
            None => self.server = Some(server),
        }
        if self.subject == Subject::Direct {
            self.stage = Stage::Joined;
            return Ok(Some(Heard::Joined));
        }
        self.ask(send);
        Ok(None)
    }

    fn ask(&mut self, send: &mut Vec<Message>) {
        let Subject::Routed(container) = &self.subject else { return };
        let body = write(&json!(["cc", { "uuid": container }]));
        send.push(Message::new(Operation::Request, self.number(), body));
        self.stage = Stage::Asking { again: None };
    }

    /// The only request of the visit.
    fn number(&self) -> Text {
        Text::new(&format!("{}-0", self.name))
    }

    fn is_asked(&self, id: &Text) -> bool {
        matches!(self.stage, Stage::Asking { .. }) && *id == self.number()
    }

    /// What the container sent; nothing when it is another one's. Copied, so
    /// that a short event does not keep all that came with it.
    fn event(&self, body: &Bytes) -> Result<Option<Bytes>, Over> {
        const WRONG: Over = Over::Wrong("it sent an event that is not JSON of this language");
        let text = json::text(body).map_err(|_| WRONG)?;
        let copied = |data: &RawValue| Bytes::copy_from_slice(data.get().as_bytes());
        let Subject::Routed(container) = &self.subject else {
            let data: &RawValue = serde_json::from_str(text).map_err(|_| WRONG)?;
            return Ok(Some(copied(data)));
        };
        // Events of the network itself are objects.
        if text.starts_with('{') {
            return Ok(None);
        }
        let Elements([uuid, data]) = serde_json::from_str(text).map_err(|_| WRONG)?;
        let uuid: String =
            uuid.and_then(|uuid| serde_json::from_str(uuid.get()).ok()).ok_or(WRONG)?;
        if uuid != container.as_str() {
            return Ok(None);
        }
        Ok(Some(data.map_or_else(|| Bytes::from_static(b"null"), copied)))
    }

    /// When [`Self::handle_timeout`] has to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Instant {
        let due = self.ping.min(self.heard + SILENCE);
        match self.stage {
            Stage::Asking { again: Some(again) } => due.min(again),
            _ => due,
        }
    }

    /// Time has passed.
    ///
    /// # Errors
    /// [`Over::Silent`].
    pub fn handle_timeout(&mut self, now: Instant, send: &mut Vec<Message>) -> Result<(), Over> {
        if self.heard + SILENCE <= now {
            return Err(Over::Silent);
        }
        if self.ping <= now {
            self.ping = now + PING;
            send.push(Message::new(Operation::Ping, Text::new(""), Bytes::new()));
        }
        if matches!(self.stage, Stage::Asking { again: Some(again) } if again <= now) {
            self.ask(send);
        }
        Ok(())
    }

    /// The goodbye.
    #[must_use]
    pub fn leave(self) -> Message {
        Message::new(Operation::Close, Text::new(""), Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(operation: Operation, id: &str, body: &'static str) -> Message {
        Message::new(operation, Text::new(id), body)
    }

    struct World {
        visit: Visit,
        now: Instant,
        sent: Vec<Message>,
    }

    impl World {
        fn new(subject: Subject) -> Self {
            let (now, mut sent) = (Instant::now(), Vec::new());
            let visit = Visit::begin(now, ClientId::new("v").unwrap(), subject, &mut sent);
            let world = Self { visit, now, sent };
            world.sends_and_forgets(&[(Operation::Hello, "v", r#"{"aliveTimeout":10}"#)])
        }

        /// Of one container on an agent, after the answer to hello.
        fn asked() -> Self {
            let mut world = Self::new(Subject::Routed(Uuid::new("c").unwrap()));
            assert_eq!(world.hears(Operation::Hello, "server", ""), Ok(None));
            world.sends_and_forgets(&[(Operation::Request, "v-0", r#"["cc",{"uuid":"c"}]"#)])
        }

        fn joined() -> Self {
            let mut world = Self::asked();
            assert_eq!(world.hears(Operation::Response, "v-0", "0"), Ok(Some(Heard::Joined)));
            world
        }

        fn hears(
            &mut self,
            operation: Operation,
            id: &str,
            body: &'static str,
        ) -> Result<Option<Heard>, Over> {
            self.visit.receive(self.now, message(operation, id, body), &mut self.sent)
        }

        fn event(&mut self, body: &'static str) -> Result<Option<String>, Over> {
            let heard = self.hears(Operation::Event, "", body)?;
            Ok(heard.map(|heard| match heard {
                Heard::Event(data) => String::from_utf8(data.to_vec()).unwrap(),
                Heard::Joined => panic!("it joined again"),
            }))
        }

        /// Lets time pass up to the next timeout.
        fn waits(&mut self) -> Result<Duration, Over> {
            let before = std::mem::replace(&mut self.now, self.visit.next_timeout());
            self.visit.handle_timeout(self.now, &mut self.sent)?;
            Ok(self.now - before)
        }

        #[track_caller]
        fn sends_and_forgets(mut self, expected: &[(Operation, &str, &'static str)]) -> Self {
            self.sends(expected);
            self
        }

        #[track_caller]
        fn sends(&mut self, expected: &[(Operation, &str, &'static str)]) {
            let expected: Vec<_> =
                expected.iter().map(|(what, id, body)| message(*what, id, body)).collect();
            assert_eq!(std::mem::take(&mut self.sent), expected);
        }
    }

    #[test]
    fn a_visitor_hears_its_container_and_no_other() {
        let mut world = World::joined();
        assert_eq!(world.event(r#"["c",{"a": 1.0}]"#), Ok(Some(r#"{"a": 1.0}"#.to_owned())));
        assert_eq!(world.event(r#"["d",1]"#), Ok(None));
        assert_eq!(world.event(r#"{"agents":[],"containers":[]}"#), Ok(None));
        // What a container sends that sends nothing.
        assert_eq!(world.event(r#"["c"]"#), Ok(Some("null".to_owned())));
    }

    #[test]
    fn a_container_with_a_server_of_its_own_tells_bare_events() {
        let mut world = World::new(Subject::Direct);
        assert_eq!(world.hears(Operation::Hello, "server", ""), Ok(Some(Heard::Joined)));
        world.sends(&[]);
        for event in [r#"{"evt":1}"#, r#"["c",1]"#, "null"] {
            assert_eq!(world.event(event), Ok(Some(event.to_owned())));
        }
    }

    #[test]
    fn an_event_may_overtake_the_answer_that_announces_it() {
        let mut world = World::asked();
        assert_eq!(world.event(r#"["c",1]"#), Ok(Some("1".to_owned())));
        assert_eq!(world.hears(Operation::Response, "v-0", "0"), Ok(Some(Heard::Joined)));
    }

    #[test]
    fn a_request_that_is_sent_away_is_sent_again_when_it_may() {
        let mut world = World::asked();
        assert_eq!(world.hears(Operation::Retry, "v-0", "4"), Ok(None));
        assert_eq!(world.waits(), Ok(4 * TICK));
        world.sends(&[(Operation::Request, "v-0", r#"["cc",{"uuid":"c"}]"#)]);
        // However long it may want to wait.
        assert_eq!(world.hears(Operation::Retry, "v-0", "99999999999"), Ok(None));
        assert_eq!(world.waits(), Ok(TICK));
        assert_eq!(world.hears(Operation::Retry, "v-0", "4000000000"), Ok(None));
        assert_eq!(world.waits(), Ok(TICKS * TICK - TICK * 5));
    }

    #[test]
    fn a_visitor_pings_and_notices_silence() {
        let mut world = World::joined();
        for _ in 0..3 {
            assert_eq!(world.waits(), Ok(PING));
            world.sends(&[(Operation::Ping, "", "")]);
        }
        assert_eq!(world.hears(Operation::Pong, "server", ""), Ok(None));
        let heard = world.now;
        let over = std::iter::from_fn(|| world.waits().err().map_or(Some(None), |e| Some(Some(e))));
        assert_eq!(over.flatten().next(), Some(Over::Silent));
        assert_eq!(world.now - heard, SILENCE);
    }

    #[test]
    fn a_server_that_forgot_or_restarted_ends_the_visit() {
        assert_eq!(World::joined().hears(Operation::AskHello, "server", ""), Err(Over::Forgotten));
        let mut world = World::joined();
        assert_eq!(world.hears(Operation::Hello, "server", ""), Ok(None));
        assert_eq!(world.hears(Operation::Hello, "another", ""), Err(Over::Forgotten));
    }

    #[test]
    fn a_refusal_is_told_with_its_cause() {
        let refused = World::asked().hears(Operation::Error, "v-0", r#"{"message":"no"}"#);
        assert_eq!(refused, Err(Over::Refused("no".to_owned())));
    }

    #[test]
    fn what_is_no_event_of_this_language_ends_the_visit() {
        for wrong in ["", "x", "[", "[1,2]", "[]", "7", r#"["c",]"#] {
            let over = World::joined().event(wrong);
            assert!(matches!(over, Err(Over::Wrong(_))), "{wrong}: {over:?}");
        }
        let deep = Bytes::from(vec![b'['; 1_000_000]);
        let deep = Message::new(Operation::Event, Text::new(""), deep);
        let mut world = World::joined();
        let over = world.visit.receive(world.now, deep, &mut world.sent);
        assert!(matches!(over, Err(Over::Wrong(_))), "{over:?}");
    }

    #[test]
    fn nothing_out_of_place_is_taken_for_an_answer() {
        let mut world = World::new(Subject::Routed(Uuid::new("c").unwrap()));
        assert_eq!(world.event(r#"["c",1]"#), Ok(None), "before the answer to hello");
        assert_eq!(world.hears(Operation::Response, "v-0", "0"), Ok(None));
        let mut world = World::asked();
        assert_eq!(world.hears(Operation::Response, "v-1", "0"), Ok(None));
        assert_eq!(world.hears(Operation::Request, "r", "[]"), Ok(None));
        let refusal = r#"{"message":"a visitor is not asked anything","stack":""}"#;
        world.sends(&[(Operation::Error, "r", refusal)]);
    }
}
