//! What the handles of a server want.

use std::{ops::ControlFlow, sync::Arc};

use hulynet_protocol::{ErrorKind, Frame, NetworkError};
use tokio::time::Instant;

use super::service::{Closing, Member, State};
use crate::{door::Link, exchange::Pending, lane::Command, wire::Outgoing};

impl State {
    /// Breaks when the server ends at once.
    pub(super) fn command(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Call { to, session, id, message, asker } => match self.attached(session) {
                Some((member, link)) if link.number == to => {
                    let pending = Pending { asker, message: message.clone() };
                    member.exchange.expect(id, pending);
                    self.post(&link, message);
                }
                _ => {
                    self.unsent(to, &message);
                    let error = "the connection was lost before the request was sent";
                    let error = NetworkError::not_processed(ErrorKind::Unavailable, error);
                    // The caller may have left.
                    let _gone = asker.send(Err(error));
                }
            },
            Command::Expire { session, id, time } => {
                let member = self.members.get_mut(&session);
                let frame = member.and_then(|member| member.exchange.expire(id, time));
                self.reply_in(session, frame);
            }
            Command::Cancel { session, id } => {
                let member = self.members.get_mut(&session);
                let frame = member.and_then(|member| member.exchange.cancel(id));
                self.reply_in(session, frame);
            }
            Command::Credit { session, id, chunks } => {
                let member = self.members.get_mut(&session);
                let frame = member.and_then(|member| member.exchange.consumed(id, chunks));
                self.reply_in(session, frame);
            }
            Command::Answer { session, id, message, streams } => {
                if let Some(member) = self.members.get_mut(&session)
                    && let Some(message) = member.exchange.answer(id, message, streams)
                    && let Some(link) = member.link.clone()
                {
                    self.send(&link, message);
                }
            }
            Command::Chunk { session, id, message, last } => {
                // Streams end with their connection, so this one is its own.
                if let Some((member, link)) = self.attached(session)
                    && member.exchange.answer_chunk(id, last)
                {
                    self.send(&link, message);
                }
            }
            Command::Event { connection, message } => self.event(connection, message),
            Command::Forget(client) => {
                if let Some(session) = self.sessions.of(&client) {
                    self.sessions.remove(session);
                    self.originals.lose(session);
                    self.end_member(session, "the server forgot it");
                }
            }
            Command::Original(command) => self.original_command(command),
            Command::Close { deadline, done } => {
                self.door.stop();
                let deadline = Instant::now() + deadline;
                let closing =
                    self.closing.get_or_insert_with(|| Closing { deadline, done: Vec::new() });
                closing.done.push(done);
            }
            Command::End => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// A session that has a connection now.
    fn attached(&mut self, session: u64) -> Option<(&mut Member, Arc<Link>)> {
        let member = self.members.get_mut(&session)?;
        let link = member.link.clone()?;
        Some((member, link))
    }

    fn reply_in(&mut self, session: u64, frame: Option<Frame>) {
        if let Some(frame) = frame
            && let Some((_, link)) = self.attached(session)
        {
            self.reply_on(&link, &frame);
        }
    }

    fn event(&mut self, connection: u64, message: Outgoing) {
        match self.door.links().get(connection) {
            Some(link) if self.sessions.is_attached(connection) => self.post(&link, message),
            _ => self.unsent(connection, &message),
        }
    }

    /// Gives back the cost of a message that its session did not outlive: the
    /// connection may have another session yet.
    fn unsent(&self, connection: u64, message: &Outgoing) {
        if let Some(link) = self.door.links().get(connection) {
            link.account.sub(message.cost());
        }
    }
}
