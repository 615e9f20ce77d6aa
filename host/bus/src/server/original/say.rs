//! What peers of the original are sent.

use bytes::Bytes;
use hulynet_backrpc::{Message, Operation, Text};
use hulynet_protocol::{ErrorKind, NetworkError};

use super::{Rules, Talk};
use crate::{
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

    /// One message for all, written once.
    fn broadcast_original(&mut self, body: Bytes) {
        let message = event(body);
        let mut all = Vec::new();
        for (number, talk) in &mut self.originals.talks {
            let Talk { rules, link: Some(link), missed, .. } = talk else { continue };
            // Also those that are silent; not those that left.
            if rules.client().is_none() {
                continue;
            }
            if link.account.takes_events() {
                all.push(*number);
            } else {
                *missed = true;
            }
        }
        for number in all {
            self.say(number, &message);
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

fn event(body: Bytes) -> Message {
    Message::new(Operation::Event, Text::new(""), body)
}
