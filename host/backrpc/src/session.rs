//! The rules of a server towards one peer.
//!
//! A state machine without IO or clock. It lives as long as the peer's
//! session, or as its connection when that lasts longer: a peer that was
//! silent for too long loses its session and may revive it on the same
//! connection. The driver knows who has a session and over which connection;
//! it carries out the [`Turn`]s in order.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use hulynet_protocol::ClientId;
use serde::Deserialize;

use crate::codec::{Message, Operation, Text};

/// Requests of one peer in progress; a further one is sent away for a while.
pub const IN_PROGRESS: usize = 26;

/// How many bytes of answers wait for a peer without connection. There are at
/// most as many answers as requests in progress.
const UNSENT_BYTES: usize = 4 << 20;

/// How long a peer may be silent that does not say how long.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Names one execution of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The peer's name for it.
    pub id: Text,
    /// Tells a later request of the same name from it.
    serial: u64,
}

/// Who a peer says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Its id.
    pub client: ClientId,
    /// How long it may be silent.
    pub alive_timeout: Duration,
}

/// What the driver does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn<A> {
    /// Send this to the peer.
    Send(Message),
    /// Begin the peer's session or go on with it, then call
    /// [`Session::greeted`]; when that is refused, call [`Session::left`] and
    /// put the requests of the same message off.
    Greet(Greeting),
    /// The peer is alive.
    Alive,
    /// Hand this request over and [`Session::answer`] it.
    Request(Ticket, Bytes),
    /// Who asked the peer gets its answer: the JSON of the result, or of the
    /// error.
    Answer(A, Result<Bytes, Bytes>),
    /// End the peer's session, then call [`Session::left`].
    Leave,
    /// The message was out of place: count it.
    Ignore,
}

/// What became of a greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeted {
    /// A session began or went on as before.
    Welcome,
    /// The peer lost what it believes to have: its connection was another one
    /// before, or its session had ended. It is asked for hello once more,
    /// because only then it makes everything anew and sends again what was
    /// lost.
    Returned,
}

#[derive(Debug)]
struct Serving<W> {
    serial: u64,
    interest: Option<W>,
}

/// See the module. `W` is dropped when nobody waits for a request any more,
/// `A` gets the answer to a request of ours.
#[derive(Debug)]
pub struct Session<W, A> {
    server: Text,
    greeting: Option<Greeting>,
    is_live: bool,
    /// The peer was asked for hello and did not say it since.
    asked: bool,
    serving: HashMap<Text, Serving<W>>,
    serial: u64,
    /// In progress when the peer said hello because it was asked: it sends
    /// each of them once more, even when it is answered meanwhile.
    repeated: HashSet<Text>,
    asking: HashMap<u64, A>,
    /// Answers that found no connection.
    unsent: Vec<Message>,
}

impl<W, A> Session<W, A> {
    /// With a peer that did not say hello yet; `server` names this run of the
    /// server.
    #[must_use]
    pub fn new(server: Text) -> Self {
        Self {
            server,
            greeting: None,
            is_live: false,
            asked: false,
            serving: HashMap::new(),
            serial: 0,
            repeated: HashSet::new(),
            asking: HashMap::new(),
            unsent: Vec::new(),
        }
    }

    /// Whether the peer has a session.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Who the peer said that it is, even when its session ended since.
    #[must_use]
    pub fn client(&self) -> Option<&ClientId> {
        self.greeting.as_ref().map(|greeting| &greeting.client)
    }

    /// Whether the peer waits for answers: then it is not silent.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.serving.is_empty()
    }

    /// A message of the peer.
    pub fn receive(&mut self, message: Message, turns: &mut Vec<Turn<A>>) {
        let Message { operation, id, body } = message;
        match operation {
            Operation::Hello => self.hello(&id, &body, turns),
            Operation::Ping => {
                turns.push(Turn::Send(self.about_us(Operation::Pong)));
                if self.is_live {
                    turns.push(Turn::Alive);
                } else {
                    self.ask_hello(turns);
                }
            }
            Operation::Request => self.request(id, body, turns),
            Operation::Response => self.answered(&id, Ok(body), turns),
            Operation::Error => self.answered(&id, Err(body), turns),
            Operation::Close => {
                if self.is_live {
                    turns.push(Turn::Leave);
                }
                self.greeting = None;
            }
            // Servers of this language take no events.
            Operation::Event => {}
            Operation::Pong | Operation::Retry | Operation::AskHello => turns.push(Turn::Ignore),
        }
    }

    fn hello(&mut self, id: &Text, body: &[u8], turns: &mut Vec<Turn<A>>) {
        let Ok(client) = ClientId::new(id.as_str()) else { return turns.push(Turn::Ignore) };
        if self.is_live && self.client() != Some(&client) {
            turns.push(Turn::Leave);
        }
        let greeting = Greeting { client, alive_timeout: alive_timeout(body) };
        self.greeting = Some(greeting.clone());
        turns.push(Turn::Greet(greeting));
    }

    /// The session of the peer goes on from here.
    pub fn greeted(&mut self, greeted: Greeted, revived: bool, turns: &mut Vec<Turn<A>>) {
        self.is_live = true;
        if revived {
            return self.ask_hello_once(turns);
        }
        turns.push(Turn::Send(self.about_us(Operation::Hello)));
        turns.extend(self.unsent.drain(..).map(Turn::Send));
        if std::mem::take(&mut self.asked) {
            self.repeated = self.serving.keys().cloned().collect();
        } else if greeted == Greeted::Returned {
            self.ask_hello(turns);
        }
    }

    /// The session of the peer ended: by goodbye, by silence, or because it
    /// was forgotten. Requests in progress are still answered while its
    /// connection lasts.
    pub fn left(&mut self) {
        self.is_live = false;
        self.asked = false;
    }

    fn request(&mut self, id: Text, body: Bytes, turns: &mut Vec<Turn<A>>) {
        if !self.is_live {
            let Some(greeting) = self.greeting.clone() else {
                turns.push(Turn::Send(retry(id, 1)));
                return self.ask_hello_once(turns);
            };
            turns.push(Turn::Greet(greeting));
        }
        if self.serving.contains_key(&id) || self.repeated.remove(&id) {
            return;
        }
        if self.serving.len() >= IN_PROGRESS {
            return turns.push(Turn::Send(retry(id, self.serving.len())));
        }
        self.serial += 1;
        let ticket = Ticket { id: id.clone(), serial: self.serial };
        self.serving.insert(id, Serving { serial: self.serial, interest: None });
        turns.push(Turn::Request(ticket, body));
    }

    /// A request arrived without its payload, which came too early: the peer
    /// sends it again.
    pub fn left_out(&mut self, id: Text, turns: &mut Vec<Turn<A>>) {
        turns.push(Turn::Send(retry(id, 1)));
        if !self.is_live {
            self.ask_hello_once(turns);
        }
    }

    /// The peer missed something that was told: it is asked for hello, because
    /// then it makes everything anew.
    pub fn missed(&mut self, turns: &mut Vec<Turn<A>>) {
        self.ask_hello_once(turns);
    }

    /// Keeps what is dropped when nobody waits for the request any more.
    pub fn watch(&mut self, ticket: &Ticket, interest: W) {
        if let Some(serving) = self.serving.get_mut(&ticket.id)
            && serving.serial == ticket.serial
        {
            serving.interest = Some(interest);
        }
    }

    /// The answer to a request: the JSON of its result, or of its error. Gives
    /// the message to send, unless it was answered already.
    pub fn answer(&mut self, ticket: &Ticket, result: Result<Bytes, Bytes>) -> Option<Message> {
        self.serving.get(&ticket.id).filter(|serving| serving.serial == ticket.serial)?;
        self.serving.remove(&ticket.id);
        let (operation, body) = match result {
            Ok(body) => (Operation::Response, body),
            Err(body) => (Operation::Error, body),
        };
        Some(Message::new(operation, ticket.id.clone(), body))
    }

    /// Sends a request away: the peer sends it again after so many ticks of
    /// its own, which are 50 ms or half a second long. Gives the message to
    /// send.
    pub fn put_off(&mut self, ticket: &Ticket, ticks: usize) -> Option<Message> {
        self.serving.get(&ticket.id).filter(|serving| serving.serial == ticket.serial)?;
        self.serving.remove(&ticket.id);
        Some(retry(ticket.id.clone(), ticks))
    }

    /// Keeps an answer for the peer's next connection, if there is room: the
    /// peer asks again for what it does not get.
    pub fn keep(&mut self, message: Message) {
        let kept: usize = self.unsent.iter().map(|message| message.body.len()).sum();
        if kept + message.body.len() <= UNSENT_BYTES {
            self.unsent.push(message);
        }
    }

    /// Asks the peer; `number` is used once in a run of the server.
    pub fn ask(&mut self, number: u64, body: Bytes, asker: A) -> Message {
        self.asking.insert(number, asker);
        Message::new(Operation::Request, self.name(number), body)
    }

    /// Nobody waits for the answer any more.
    pub fn give_up(&mut self, number: u64) {
        self.asking.remove(&number);
    }

    /// All who asked the peer and will get no answer.
    pub fn unanswered(&mut self) -> impl Iterator<Item = A> + use<'_, W, A> {
        self.asking.drain().map(|(_, asker)| asker)
    }

    /// What is kept of the requests in progress.
    pub fn holds(&self) -> impl Iterator<Item = &W> {
        self.serving.values().filter_map(|serving| serving.interest.as_ref())
    }

    /// The same peer on a new connection: its requests go on here.
    pub fn take_over(&mut self, former: Self) {
        self.serial = former.serial.max(self.serial);
        self.serving.extend(former.serving);
        self.asking.extend(former.asking);
        self.unsent.extend(former.unsent);
    }

    /// Names carry this run of the server, so that answers to a former one
    /// reach nobody.
    fn name(&self, number: u64) -> Text {
        Text::new(&format!("{}-{number}", self.server.as_str()))
    }

    fn answered(&mut self, id: &Text, result: Result<Bytes, Bytes>, turns: &mut Vec<Turn<A>>) {
        let number = id.as_str().strip_prefix(self.server.as_str());
        let number = number.and_then(|rest| rest.strip_prefix('-')?.parse().ok());
        // What came too late, or from a former time, is not wrong.
        if let Some(asker) = number.and_then(|number| self.asking.remove(&number)) {
            turns.push(Turn::Answer(asker, result));
        }
    }

    fn about_us(&self, operation: Operation) -> Message {
        Message::new(operation, self.server.clone(), Bytes::new())
    }

    fn ask_hello(&mut self, turns: &mut Vec<Turn<A>>) {
        self.asked = true;
        turns.push(Turn::Send(self.about_us(Operation::AskHello)));
    }

    /// A peer repeats everything for each time that it is asked.
    fn ask_hello_once(&mut self, turns: &mut Vec<Turn<A>>) {
        if !self.asked {
            self.ask_hello(turns);
        }
    }
}

fn retry(id: Text, ticks: usize) -> Message {
    Message::new(Operation::Retry, id, ticks.to_string())
}

fn alive_timeout(body: &[u8]) -> Duration {
    #[derive(Deserialize)]
    struct Options {
        #[serde(rename = "aliveTimeout")]
        alive_timeout: f64,
    }
    serde_json::from_slice::<Options>(body)
        .ok()
        .filter(|options| options.alive_timeout > 0.0)
        .and_then(|options| Duration::try_from_secs_f64(options.alive_timeout).ok())
        .unwrap_or(ALIVE_TIMEOUT)
}

#[cfg(test)]
mod tests;
