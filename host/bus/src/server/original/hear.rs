//! What peers of the original send.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use hulynet_backrpc::{
    Message, Operation, Text,
    session::{Greeted as Welcomed, Greeting, IN_PROGRESS, Session, Ticket, Turn},
};
use hulynet_protocol::{ClientId, Role};
use tokio::time::Instant;

use super::{BEAT, Bound, EARLY, Talk, fail};
use crate::{
    door::Link,
    exchange::{ALL_PAYLOADS, PAYLOADS},
    original::{Hold, OriginalAsker, OriginalRequest, OriginalResponder},
    server::{
        Incoming, Language,
        frames::clamp,
        service::State,
        sessions::{self, Greeted},
    },
    zmtp::LEFT_OUT,
};

impl State {
    /// A message from a connection that the door let in.
    pub(in crate::server) fn original(&mut self, now: Instant, number: u64, message: Message) {
        let Some(link) = self.door.links().get(number) else { return };
        if !link.is_greeted() && !self.door.config().admits_original(link.from.ip()) {
            // What its language has for a refusal it takes for an answer, or
            // says hello again at once.
            return link.kick(
                "it speaks the language of the original network, in which nobody proves to have \
                 the secret, and the setting 'accept-original' names no network that its address \
                 is in; add one if it is to be let in",
            );
        }
        let is_live = self.sessions.heard(now, number).is_some();
        let server = || Text::new(self.config.id.as_str());
        let talk = self.originals.talks.entry(number).or_insert_with(|| Talk {
            rules: Session::new(server()),
            link: Some(Arc::clone(&link)),
            beat: BEAT,
            told: now,
            early: 0,
        });
        if talk.rules.is_live() && !is_live {
            talk.rules.left();
        }
        let mut turns = std::mem::take(&mut self.originals.turns);
        let operation = message.operation;
        if operation != Operation::Hello && !link.is_greeted() {
            talk.early += 1;
            if talk.early > EARLY {
                link.strike(now);
            }
        }
        if operation == Operation::Request && message.body == LEFT_OUT[..] {
            talk.rules.left_out(message.id, &mut turns);
        } else {
            talk.rules.receive(message, &mut turns);
        }
        if talk.rules.is_live() && link.account.takes_events() && link.account.take_missed() {
            talk.rules.missed(&mut turns);
        }
        self.take_turns(now, &link, operation, &mut turns);
        turns.clear();
        self.originals.turns = turns;
    }

    /// Does what the rules say.
    fn take_turns(
        &mut self,
        now: Instant,
        link: &Arc<Link>,
        operation: Operation,
        turns: &mut Vec<Turn<OriginalAsker>>,
    ) {
        let number = link.number;
        let is_hello = operation == Operation::Hello;
        let mut is_refused = false;
        for turn in turns.drain(..) {
            match turn {
                Turn::Send(message) => self.say(number, &message),
                Turn::Greet(greeting) => {
                    is_refused = !self.greet(now, link, greeting, !is_hello);
                    if is_refused {
                        self.originals.with(number, Session::left);
                        self.misplaced(now, number);
                    }
                }
                Turn::Request(ticket, _) if is_refused => {
                    self.end_request(number, |rules| rules.put_off(&ticket, IN_PROGRESS));
                }
                Turn::Alive => self.original_alive(now, number, true),
                Turn::Request(ticket, body) => {
                    self.original_alive(now, number, false);
                    self.original_request(now, number, ticket, body);
                }
                // Who asked may have given up.
                Turn::Answer(asker, answer) => {
                    self.original_alive(now, number, false);
                    drop(asker.send(Ok(answer)));
                }
                Turn::Leave => {
                    if let Some(session) = self.sessions.heard(now, number) {
                        self.leave(session, false);
                    }
                }
                Turn::Ignore => self.misplaced(now, number),
            }
        }
    }

    fn misplaced(&self, now: Instant, number: u64) {
        self.counters.misplaced();
        self.strike(now, number);
    }

    /// Begins a session or goes on with it; `false` when that is refused.
    fn greet(&mut self, now: Instant, link: &Arc<Link>, greeting: Greeting, revived: bool) -> bool {
        let Greeting { client, alive_timeout } = greeting;
        let (number, alive_timeout) = (link.number, clamp(alive_timeout));
        let hello =
            sessions::Greeting { connection: number, client: &client, run: None, alive_timeout };
        let greeted = self.sessions.hello(now, hello);
        let (session, welcomed) = match greeted {
            Greeted::Taken => return false,
            Greeted::Full => {
                // It comes again by itself.
                link.kick("there are too many sessions");
                return false;
            }
            Greeted::Repeated(session) => {
                link.strike(now);
                (session, Welcomed::Welcome)
            }
            Greeted::Moved(session) => {
                self.take_over(number, session, &client);
                (session, Welcomed::Returned)
            }
            Greeted::New(session) if self.originals.returned(&client) => {
                (session, Welcomed::Returned)
            }
            Greeted::New(session) => (session, Welcomed::Welcome),
            Greeted::Replaced { session, ended } => {
                // It spoke the native language before: nothing of that goes on.
                self.end_member(ended, "its client came back in another language");
                (session, Welcomed::Welcome)
            }
        };
        self.door.links().greet(link);
        link.rest();
        let beat = BEAT.min(alive_timeout / 3);
        self.originals.bound.insert(session, Bound { client: client.clone(), talk: number });
        // Renewals passed it over while it was away.
        self.originals.renew_by(now + beat);
        let mut turns = Vec::new();
        if let Some(talk) = self.originals.talks.get_mut(&number) {
            (talk.beat, talk.told) = (beat, now);
            talk.rules.greeted(welcomed, revived, &mut turns);
        }
        for turn in turns {
            if let Turn::Send(message) = turn {
                self.say(number, &message);
            }
        }
        self.originals.directory.lock().insert(client.clone(), Arc::clone(link));
        let (role, language) = (Role::Client, Language::Original);
        let resumed = !matches!(greeted, Greeted::New(_));
        let joined = Incoming::Joined { peer: client, role, language, alive_timeout, resumed };
        if matches!(greeted, Greeted::Repeated(_)) {
            // It may have another alive timeout; an owner that is too slow
            // keeps the former.
            let _full = self.outbox.offer(joined);
        } else {
            self.outbox.deliver(joined);
        }
        true
    }

    /// The session of a client goes on over a new connection.
    fn take_over(&mut self, number: u64, session: u64, client: &ClientId) {
        let before = self.originals.bound.get(&session).map(|bound| bound.talk);
        let before = before.filter(|before| *before != number);
        let former = before.and_then(|before| self.originals.talks.remove(&before));
        let Some(mut former) = former else { return };
        fail(&mut former.rules, client, "it came back on a new connection");
        if let Some(link) = former.link {
            link.kick("its client came back on another one");
        }
        former.rules.holds().for_each(|hold| hold.moved(number));
        self.originals.with(number, |rules| rules.take_over(former.rules));
    }

    /// A peer was heard; its owner hears of it now, or often enough.
    fn original_alive(&mut self, now: Instant, number: u64, at_once: bool) {
        let Some(talk) = self.originals.talks.get_mut(&number) else { return };
        if !at_once && now.saturating_duration_since(talk.told) < talk.beat {
            return;
        }
        if let Some(client) = talk.rules.client().filter(|_| talk.rules.is_live()) {
            talk.told = now;
            // An owner that is too slow hears the next one.
            let _full = self.outbox.offer(Incoming::Alive(client.clone()));
        }
    }

    fn original_request(&mut self, now: Instant, number: u64, ticket: Ticket, body: Bytes) {
        let Some(talk) = self.originals.talks.get_mut(&number) else { return };
        let Some(peer) = talk.rules.client().cloned() else { return };
        let own: usize = talk.rules.holds().map(Hold::length).sum();
        let all = self.totals.payloads.load(Ordering::Relaxed);
        let has_room = own + body.len() <= PAYLOADS && all + body.len() <= ALL_PAYLOADS;
        // What is taken from who does not read its answers would only add to
        // them.
        let reads = talk.link.as_ref().is_some_and(|link| link.account.takes_events());
        // A server that closes is followed by another one, perhaps.
        if !has_room || !reads || self.closing.is_some() {
            return self.end_request(number, |rules| rules.put_off(&ticket, IN_PROGRESS));
        }
        let lane = self.lane.clone();
        let (responder, hold) =
            OriginalResponder::new(lane, number, ticket.clone(), body.len(), &self.totals.payloads);
        talk.rules.watch(&ticket, hold);
        let due = now + talk.beat;
        self.originals.renew_by(due);
        let request = Incoming::Original(OriginalRequest { peer, body, responder });
        if let Err(Incoming::Original(request)) = self.outbox.offer(request) {
            request.responder.put_off(IN_PROGRESS);
        }
    }
}
