//! What peers of the original are sent.

use std::sync::Arc;

use bytes::Bytes;
use hulynet_backrpc::{Message, Operation, Text};
use hulynet_protocol::{ErrorKind, NetworkError};
use zeromq::ZmqMessage;

use super::{Originals, Rules, Talk};
use crate::{
    door::Link,
    original::OriginalCommand,
    server::service::State,
    wire::{original_cost, original_message},
};

impl State {
    pub(in crate::server) fn original_command(&mut self, command: OriginalCommand) {
        match command {
            OriginalCommand::Ask { connection, number, body, asker, waiting } => {
                let talk = self.originals.talks.get_mut(&connection);
                match talk.filter(|talk| talk.rules.is_live() && talk.link.is_some()) {
                    Some(talk) => {
                        let message = talk.rules.ask(number, body, asker);
                        self.say(connection, &message);
                    }
                    None => {
                        let error = "the connection was lost before the request was sent";
                        let error = NetworkError::not_processed(ErrorKind::Unavailable, error);
                        // Who asked may have left.
                        let _gone = asker.send(Err(error));
                    }
                }
                drop(waiting);
            }
            OriginalCommand::GiveUp { connection, number } => {
                self.originals.with(connection, |rules| rules.give_up(number));
            }
            OriginalCommand::Answer { connection, ticket, result } => {
                self.end_request(connection, |rules| rules.answer(&ticket, result));
            }
            OriginalCommand::PutOff { connection, ticket, ticks } => {
                self.end_request(connection, |rules| rules.put_off(&ticket, ticks));
            }
            OriginalCommand::Event { connection, body, waiting } => {
                self.say(connection, &event(body));
                drop(waiting);
            }
            OriginalCommand::Broadcast(body) => self.broadcast_original(body),
        }
    }

    fn broadcast_original(&mut self, body: Bytes) {
        for (link, message) in self.originals.broadcast(body) {
            self.push(&link, message);
        }
    }

    /// Sends the answer to a request, now or over the peer's next connection.
    pub(super) fn end_request(
        &mut self,
        connection: u64,
        end: impl FnOnce(&mut Rules) -> Option<Message>,
    ) {
        let Some(talk) = self.originals.talks.get_mut(&connection) else { return };
        let Some(message) = end(&mut talk.rules) else { return };
        match talk.link {
            Some(_) => self.say(connection, &message),
            None => talk.rules.keep(message),
        }
    }

    pub(super) fn say(&mut self, number: u64, message: &Message) {
        let Some(link) = self.door.links().get(number) else { return };
        link.account.add(original_cost(message));
        self.push(&link, original_message(message, link.route.clone()));
    }
}

impl Originals {
    /// The message for each who hears it, with its cost counted: all on the
    /// bytes of `body`, which was written once. Who has too much waiting misses
    /// it.
    fn broadcast(&self, body: Bytes) -> Vec<(Arc<Link>, ZmqMessage)> {
        let message = event(body);
        let cost = original_cost(&message);
        let mut all = Vec::new();
        for Talk { rules, link, .. } in self.talks.values() {
            // Also those that are silent; not those that left.
            let Some(link) = link.as_ref().filter(|_| rules.client().is_some()) else { continue };
            if link.account.takes_events() {
                link.account.add(cost);
                all.push((Arc::clone(link), original_message(&message, link.route.clone())));
            } else {
                link.account.misses();
            }
        }
        all
    }
}

fn event(body: Bytes) -> Message {
    Message::new(Operation::Event, Text::new(""), body)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::{account::DISCONNECT, server::original::BEAT};

    /// Peers with a connection each, of which the first said no hello and the
    /// last does not read.
    fn peers(count: u64) -> Originals {
        let mut originals = Originals::new(Arc::default());
        for number in 0..count {
            let link = Arc::new(Link::new(number, "127.0.0.1:1".parse().unwrap()));
            let mut rules = Rules::new(Text::new("server"));
            if number > 0 {
                let hello = Message::new(Operation::Hello, Text::new("ann"), "{}");
                rules.receive(hello, &mut Vec::new());
            }
            if number == count - 1 {
                link.account.add(DISCONNECT);
            }
            let (link, told) = (Some(link), Instant::now());
            let talk = Talk { rules, link, beat: BEAT, told, early: 0 };
            originals.talks.insert(number, talk);
        }
        originals
    }

    #[test]
    fn what_all_are_told_is_written_once_and_never_copied() {
        let originals = peers(52);
        let body = Bytes::from(vec![b'x'; 4096]);
        let told = originals.broadcast(body.clone());
        let mut routes: Vec<_> = told.iter().map(|(link, _)| link.number).collect();
        routes.sort_unstable();
        assert_eq!(routes, (1..51).collect::<Vec<_>>());
        for (link, message) in told {
            let frames = message.into_vecdeque();
            assert_eq!(frames.front(), Some(&link.route));
            let payload = frames.back().unwrap();
            assert_eq!((payload.as_ptr(), payload.len()), (body.as_ptr(), body.len()));
            assert!(!link.account.is_empty());
        }
        let links = originals.talks.values().filter_map(|talk| talk.link.as_ref());
        let missed = links.filter(|link| link.account.take_missed());
        assert_eq!(missed.map(|link| link.number).collect::<Vec<_>>(), [51]);
    }
}
