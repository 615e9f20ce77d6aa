//! Who listens to the containers of an agent: clients that ask it directly, and
//! those that its coordinator asks for. The agent's table decides; the rest is
//! as the agent's service and its containers do it.

use std::collections::{BTreeMap, VecDeque};

use hulynet_agent_table::{Attempt, Begun};
use hulynet_protocol::{Call, ClientId, ConnectionId, ErrorKind, NetworkError, Reply, Target};

use crate::{
    coordinator::LEASE,
    link::{Message, Pending, Place},
    sessions::{Answer, Taken},
    world::{Event, World},
};

/// Who asks an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A client, with a request of its session.
    Direct { client: ClientId, id: u64 },
    /// The coordinator, with an order over a connection.
    Coordinator { connection: u64, id: u64 },
}

/// An attempt to connect that a container was asked to accept.
pub(crate) struct Connecting {
    asker: Asker,
    container: u64,
    connection: ConnectionId,
    attempt: Attempt,
}

/// A connection, as its container has it.
pub(crate) struct Subscriber {
    way: Way,
    /// The client knows that it is connected; before, events wait.
    open: bool,
    queue: VecDeque<u64>,
}

/// How events leave.
#[derive(Clone, Debug)]
enum Way {
    Direct(ClientId),
    Coordinator,
}

impl World {
    /// A message from a client.
    pub(crate) fn agent_hears(&mut self, index: usize, connection: u64, message: Message) {
        let now = self.now;
        let Some(server) = self.server(Place::Agent(index)) else { return };
        let Some(agent) = self.agent(index) else { return };
        if let Message::Hello(client) = message {
            let (resumed, _) = agent.sessions.hello(now, connection, &client);
            return self.send_down(connection, Message::Welcome { server, resumed });
        }
        let Some(client) = agent.sessions.heard(now, connection) else {
            if let Message::Request { id, .. } = message {
                let error = NetworkError::not_processed(ErrorKind::Unavailable, "say hello");
                self.send_down(connection, Message::Response { id, result: Box::new(Err(error)) });
            }
            return self.send_down(connection, Message::AskHello);
        };
        match message {
            Message::Ping => self.send_down(connection, Message::Pong),
            Message::Goodbye => self.client_left(index, &client),
            Message::Cancel { id } if agent.sessions.cancel(&client, id).is_some() => {
                let cancelled = Asker::Direct { client, id };
                self.attach_cancelled(index, |asker| *asker == cancelled);
            }
            Message::Request { id, call } => match agent.sessions.take(&client, id) {
                Taken::New => {
                    agent.sessions.begin(&client, id, id);
                    self.agent_asked(index, Asker::Direct { client, id }, *call);
                }
                Taken::Ignored => {}
                Taken::Ran(result) => {
                    let response = Message::Response { id, result: Box::new(result) };
                    self.send_down(connection, response);
                }
            },
            _ => {}
        }
    }

    fn agent_asked(&mut self, index: usize, asker: Asker, call: Call) {
        match call {
            Call::Connect { target, connection, .. } => {
                self.attach(index, asker, &target, connection);
            }
            Call::Disconnect { connection } => self.detach(index, &asker, &connection),
            _ => {}
        }
    }

    fn agent_answers(&mut self, index: usize, asker: &Asker, result: Answer) {
        self.note(|| format!("agent {index} answers {asker:?}: {result:?}"));
        match asker {
            Asker::Coordinator { connection, id } => self.respond(*connection, *id, result),
            Asker::Direct { client, id } => {
                let Some(agent) = self.agent(index) else { return };
                if let Some(way) = agent.sessions.finish(client, *id, result.clone()) {
                    self.send_down(way, Message::Response { id: *id, result: Box::new(result) });
                }
            }
        }
    }

    /// Under which name the table knows who asks.
    fn peer_of(&mut self, index: usize, asker: &Asker) -> Option<ClientId> {
        match asker {
            Asker::Direct { client, .. } => Some(client.clone()),
            Asker::Coordinator { .. } => self.agent(index)?.coordinator.clone(),
        }
    }

    pub(crate) fn attach(
        &mut self,
        index: usize,
        asker: Asker,
        target: &Target,
        connection: ConnectionId,
    ) {
        let local = self.peers[index].clock.instant(self.now);
        let number = self.number();
        let time = match self.random.below(10) {
            0 => self.random.between(5_000, 800_000),
            _ => self.random.between(100, 5_000),
        };
        let Some(peer) = self.peer_of(index, &asker) else { return };
        let life = self.peers[index].life;
        let Some(agent) = self.agent(index) else { return };
        let located = agent.table.reach(local, target).and_then(|located| {
            let begun = agent.table.attach(connection.clone(), target.id.uuid.clone(), peer)?;
            Ok((located.container, begun))
        });
        let (container, Begun { attempt, again }) = match located {
            Ok(located) => located,
            Err(error) => return self.agent_answers(index, &asker, Err(error)),
        };
        let Some(found) = agent.containers.get_mut(&container) else { return };
        if again {
            found.subscribers.remove(&connection);
        }
        let way = match &asker {
            Asker::Direct { client, .. } => Way::Direct(client.clone()),
            Asker::Coordinator { .. } => Way::Coordinator,
        };
        if found.subscribers.contains_key(&connection) {
            agent.table.attach_failed(&connection, attempt);
            let error = NetworkError::not_processed(ErrorKind::Busy, "it exists still");
            return self.agent_answers(index, &asker, Err(error));
        }
        let subscriber = Subscriber { way, open: false, queue: VecDeque::new() };
        found.subscribers.insert(connection.clone(), subscriber);
        agent.connecting.insert(number, Connecting { asker, container, connection, attempt });
        self.at(self.now + time, Event::Accepted { peer: index, life, number });
    }

    /// A container answers an attempt to connect.
    pub(crate) fn accepted(&mut self, index: usize, number: u64) {
        let refuses = self.random.chance(5);
        let Some(agent) = self.agent(index) else { return };
        let Some(attempt) = agent.connecting.remove(&number) else { return };
        if refuses {
            let error = NetworkError::not_processed(ErrorKind::Busy, "not now");
            return self.attach_failed(index, attempt, error);
        }
        let Connecting { asker, container, connection, .. } = attempt;
        self.agent_answers(index, &asker, Ok(Reply::Done));
        let Some(peer) = self.peer_of(index, &asker) else { return };
        let Some(agent) = self.agent(index) else { return };
        let attached = agent.table.is_attached(&connection, &peer);
        if let Some(found) = agent.containers.get_mut(&container) {
            match found.subscribers.get_mut(&connection) {
                Some(subscriber) if attached => subscriber.open = true,
                _ => _ = found.subscribers.remove(&connection),
            }
        }
        self.flush(index, container);
    }

    fn attach_failed(&mut self, index: usize, attempt: Connecting, error: NetworkError) {
        let Connecting { asker, container, connection, attempt } = attempt;
        let Some(agent) = self.agent(index) else { return };
        if agent.table.attach_failed(&connection, attempt)
            && let Some(found) = agent.containers.get_mut(&container)
        {
            found.subscribers.remove(&connection);
        }
        self.agent_answers(index, &asker, Err(error));
    }

    pub(crate) fn attach_cancelled(&mut self, index: usize, whose: impl Fn(&Asker) -> bool) {
        self.attempts_end(
            index,
            |attempt| whose(&attempt.asker),
            || NetworkError::maybe_processed(ErrorKind::DeadlineExceeded, "given up"),
        );
    }

    fn attempts_end(
        &mut self,
        index: usize,
        which: impl Fn(&Connecting) -> bool,
        error: impl Fn() -> NetworkError,
    ) {
        let Some(agent) = self.agent(index) else { return };
        let ended: Vec<u64> = agent
            .connecting
            .iter()
            .filter(|(_, attempt)| which(attempt))
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            let attempt = self.agent(index).and_then(|agent| agent.connecting.remove(&number));
            if let Some(attempt) = attempt {
                self.attach_failed(index, attempt, error());
            }
        }
    }

    pub(crate) fn detach(&mut self, index: usize, asker: &Asker, connection: &ConnectionId) {
        self.note(|| format!("agent {index} detaches {connection} for {asker:?}"));
        let Some(peer) = self.peer_of(index, asker) else { return };
        let Some(agent) = self.agent(index) else { return };
        if let Some(container) = agent.table.detach(connection, &peer)
            && let Some(found) = agent.containers.get_mut(&container)
        {
            found.subscribers.remove(connection);
        }
        self.agent_answers(index, asker, Ok(Reply::Done));
    }

    pub(crate) fn agent_disconnected(&mut self, index: usize, connection: u64) {
        if let Some(agent) = self.agent(index) {
            agent.sessions.disconnected(connection);
        }
    }

    /// Sessions that were silent for too long end.
    pub(crate) fn agents_clients_end(&mut self, index: usize) {
        let (now, clock) = (self.now, self.peers[index].clock);
        let Some(agent) = self.agent(index) else { return };
        for client in agent.sessions.silent(now, &clock, LEASE) {
            self.client_left(index, &client);
        }
        let Some(agent) = self.agent(index) else { return };
        let all: Vec<u64> = agent.containers.keys().copied().collect();
        for container in all {
            self.flush(index, container);
        }
    }

    fn client_left(&mut self, index: usize, client: &ClientId) {
        let Some(agent) = self.agent(index) else { return };
        agent.sessions.forget(client);
        self.peer_left(index, client);
        self.attach_cancelled(
            index,
            |asker| matches!(asker, Asker::Direct { client: of, .. } if of == client),
        );
    }

    pub(crate) fn leave_coordinator(&mut self, index: usize) {
        let Some(agent) = self.agent(index) else { return };
        if let Some(coordinator) = agent.coordinator.take() {
            self.peer_left(index, &coordinator);
        }
        self.attach_cancelled(index, |asker| matches!(asker, Asker::Coordinator { .. }));
    }

    /// A client is gone, and its connections with it.
    fn peer_left(&mut self, index: usize, peer: &ClientId) {
        let Some(agent) = self.agent(index) else { return };
        for (connection, container) in agent.table.detach_all(peer) {
            if let Some(found) = agent.containers.get_mut(&container) {
                found.subscribers.remove(&connection);
            }
        }
    }

    /// A container sends something to all its connections; answers its number.
    pub(crate) fn broadcast(&mut self, index: usize, container: u64) -> u64 {
        let number = self.number();
        let found = self.agent(index).and_then(|agent| agent.containers.get_mut(&container));
        if let Some(found) = found.filter(|found| found.started) {
            for subscriber in found.subscribers.values_mut() {
                subscriber.queue.push_back(number);
            }
            self.flush(index, container);
        }
        number
    }

    /// Sends what waits, as far as it may leave.
    fn flush(&mut self, index: usize, container: u64) {
        let local = self.peers[index].clock.instant(self.now);
        let Some(agent) = self.agent(index) else { return };
        let Some(found) = agent.containers.get_mut(&container) else { return };
        let (id, epoch) = (found.activation.id.clone(), found.activation.epoch);
        if agent.table.release(local, &id, epoch).is_err() {
            return;
        }
        let waiting: Vec<(ConnectionId, Way, Vec<u64>)> = found
            .subscribers
            .iter_mut()
            .filter(|(_, subscriber)| subscriber.open && !subscriber.queue.is_empty())
            .map(|(on, s)| (on.clone(), s.way.clone(), s.queue.drain(..).collect()))
            .collect();
        if !waiting.is_empty() {
            self.check_told(index, &id, epoch);
        }
        for (connection, way, numbers) in waiting {
            for number in numbers {
                let event = Message::Broadcast { connection: connection.clone(), epoch, number };
                if !self.deliver(index, &way, event) {
                    self.hang_up(index, container, &connection);
                    break;
                }
            }
        }
    }

    /// Hands an event to the bus; not when the client is reconnecting.
    fn deliver(&mut self, index: usize, way: &Way, event: Message) -> bool {
        match way {
            Way::Direct(client) => {
                let found = self.agent(index).and_then(|agent| agent.sessions.connection(client));
                let Some(connection) = found else { return false };
                self.send_down(connection, event);
            }
            Way::Coordinator => {
                let line = self.peers[index].line(Place::Coordinator);
                let Some(connection) = line.connection.filter(|_| line.joined) else {
                    return false;
                };
                self.send_up(connection, event);
            }
        }
        true
    }

    /// A client that cannot be sent to loses its connection.
    fn hang_up(&mut self, index: usize, container: u64, connection: &ConnectionId) {
        let found = self.agent(index).and_then(|agent| agent.containers.get_mut(&container));
        if let Some(subscriber) = found.and_then(|found| found.subscribers.remove(connection)) {
            self.tell_closed(index, &subscriber.way, connection);
        }
    }

    /// The container ended: all that are connected are told.
    pub(crate) fn audience_ends(
        &mut self,
        index: usize,
        container: u64,
        subscribers: BTreeMap<ConnectionId, Subscriber>,
    ) {
        self.attempts_end(
            index,
            |attempt| attempt.container == container,
            || NetworkError::maybe_processed(ErrorKind::ContainerEnded, "ended"),
        );
        for (connection, subscriber) in subscribers {
            self.tell_closed(index, &subscriber.way, &connection);
        }
    }

    fn tell_closed(&mut self, index: usize, way: &Way, connection: &ConnectionId) {
        self.note(|| format!("agent {index} closes {connection}"));
        let call = Call::Disconnected { connection: connection.clone(), error: None };
        match way {
            Way::Direct(client) => {
                let id = self.number();
                let found = self.agent(index).and_then(|agent| agent.sessions.connection(client));
                if let Some(way) = found {
                    self.send_down(way, Message::Request { id, call: Box::new(call) });
                }
            }
            Way::Coordinator => {
                self.call(index, Place::Coordinator, call, Pending::Nothing);
            }
        }
    }
}
