//! The thin driver of the registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hulynet_bus::{Arrival, Window};
use hulynet_coordinator::registry::{
    Action, Input, Placement, Registry, RegistryConfig, Time, Token,
};
use hulynet_protocol::{
    AgentId, Call, Change, ClientId, ContainerId, Epoch, ErrorKind, NetworkError, Reply, Target,
};

use crate::{
    link::{Clock, Message},
    names,
    world::{Event, World},
};

pub(crate) const LEASE: Duration = Duration::from_secs(3);
pub(crate) const LEASE_US: u64 = 3_000_000;

/// One run of the coordinator.
pub(crate) struct Coordinator {
    pub(crate) registry: Registry,
    clock: Clock,
    pub(crate) began: u64,
    pub(crate) server: u64,
    pub(crate) paused: u64,
    sessions: BTreeMap<ClientId, Session>,
    owners: BTreeMap<u64, ClientId>,
    orders: BTreeMap<u64, Order>,
    /// The peer and the request that each token answers, and since when.
    pub(crate) tokens: BTreeMap<u64, (ClientId, u64, u64)>,
    /// The requests that it took in.
    taken: BTreeSet<(ClientId, u64)>,
    /// What it gave out last of each container.
    pub(crate) newest: BTreeMap<ContainerId, Epoch>,
    wake: u64,
}

struct Session {
    connection: Option<u64>,
    heard: u64,
    /// It was heard after its hello: the welcome arrived.
    known: bool,
    requests: Window<u64, Result<Reply, NetworkError>>,
}

/// An order to an agent in progress.
#[derive(Clone)]
struct Order {
    connection: u64,
    agent: AgentId,
    id: ContainerId,
    epoch: Epoch,
    start: bool,
    deadline: u64,
}

pub(crate) fn config(placement: Placement) -> RegistryConfig {
    RegistryConfig {
        placement,
        drain_deadline: Duration::from_secs(4),
        terminate_timeout: Duration::from_secs(2),
        start_timeout: Duration::from_secs(5),
        unused_timeout: Duration::from_secs(2),
        longest_restart_delay: Duration::from_secs(4),
        ..RegistryConfig::default()
    }
}

fn lost(what: &str) -> NetworkError {
    NetworkError::maybe_processed(ErrorKind::Unavailable, what)
}

impl Coordinator {
    pub(crate) fn new(now: u64, server: u64, clock: Clock, placement: Placement) -> Self {
        let mut made = 0;
        let uuids = move || {
            made += 1;
            names::uuid(&format!("made-{server}-{made}"))
        };
        Self {
            registry: Registry::new(config(placement), server, uuids),
            clock,
            began: now,
            server,
            paused: 0,
            sessions: BTreeMap::new(),
            owners: BTreeMap::new(),
            orders: BTreeMap::new(),
            tokens: BTreeMap::new(),
            taken: BTreeSet::new(),
            newest: BTreeMap::new(),
            wake: u64::MAX,
        }
    }

    fn time(&self, now: u64) -> Time {
        Time::after_start(self.clock.elapsed(now - self.began))
    }
}

impl World {
    /// A message from a peer.
    pub(crate) fn coordinator_hears(&mut self, connection: u64, message: Message) {
        let now = self.now;
        let Some(node) = &mut self.coordinator else { return };
        if let Message::Hello(client) = message {
            let session = node.sessions.get_mut(&client);
            let resumed = session.as_ref().is_some_and(|session| session.known);
            match session {
                Some(session) => {
                    session.heard = now;
                    if let Some(old) = session.connection.replace(connection)
                        && old != connection
                    {
                        node.owners.remove(&old);
                        self.coordinator_loses_orders(old);
                    }
                }
                None => {
                    let session = Session {
                        connection: Some(connection),
                        heard: now,
                        known: false,
                        requests: Window::default(),
                    };
                    node.sessions.insert(client.clone(), session);
                }
            }
            let Some(node) = &mut self.coordinator else { return };
            node.owners.insert(connection, client.clone());
            let server = node.server;
            self.send_down(connection, Message::Welcome { server, resumed });
            return self.input(Input::ClientJoined { client, alive_timeout: LEASE, resumed });
        }
        let Some(client) = node.owners.get(&connection).cloned() else {
            if let Message::Request { id, .. } = message {
                let error = NetworkError::not_processed(ErrorKind::Unavailable, "say hello");
                self.send_down(connection, Message::Response { id, result: Box::new(Err(error)) });
            }
            return self.send_down(connection, Message::AskHello);
        };
        if let Some(session) = node.sessions.get_mut(&client) {
            session.heard = now;
            session.known = true;
        }
        match message {
            Message::Ping => {
                self.send_down(connection, Message::Pong);
                self.input(Input::ClientAlive(client));
            }
            Message::Request { id, call } => {
                let Some(session) = node.sessions.get(&client) else { return };
                let ran = match session.requests.arrival(id) {
                    Arrival::New => None,
                    Arrival::Joined => return,
                    Arrival::Finished(answer) => Some(answer.clone()),
                    Arrival::Forgotten => Some(Err(lost("it may have been processed"))),
                };
                if let Some(result) = ran {
                    let response = Message::Response { id, result: Box::new(result) };
                    return self.send_down(connection, response);
                }
                let token = self.number();
                let Some(node) = &mut self.coordinator else { return };
                if let Some(session) = node.sessions.get_mut(&client) {
                    session.requests.begin(id, token);
                }
                node.tokens.insert(token, (client.clone(), id, now));
                if !node.taken.insert((client.clone(), id)) {
                    self.fail("twice", format!("the request {id} of {client} ran twice"));
                }
                self.expect_labelled(token, &call);
                self.input(Input::Request { client, token: Token(token), call: *call });
            }
            Message::Cancel { id } => {
                let token =
                    node.sessions.get_mut(&client).and_then(|session| session.requests.cancel(id));
                if let Some(token) = token {
                    node.tokens.remove(&token);
                    self.input(Input::Cancelled(Token(token)));
                }
            }
            Message::Response { id, result } => {
                if let Some(order) = node.orders.remove(&id) {
                    self.order_ended(order, *result);
                }
            }
            _ => {}
        }
    }

    fn order_ended(&mut self, order: Order, result: Result<Reply, NetworkError>) {
        let Order { agent, id, epoch, start, .. } = order;
        let input = if start {
            Input::Started { agent, id, epoch, result: result.map(|_| ()) }
        } else {
            let result = result.map(|reply| reply == Reply::Terminated(true));
            Input::Terminated { agent, id, epoch, result }
        };
        self.input(input);
    }

    /// Orders belong to one connection.
    fn coordinator_loses_orders(&mut self, connection: u64) {
        let Some(node) = &mut self.coordinator else { return };
        let lost_ids: Vec<u64> = node
            .orders
            .iter()
            .filter(|(_, order)| order.connection == connection)
            .map(|(id, _)| *id)
            .collect();
        for id in lost_ids {
            let order = self.coordinator.as_mut().and_then(|node| node.orders.remove(&id));
            if let Some(order) = order {
                self.order_ended(order, Err(lost("the connection was lost")));
            }
        }
    }

    /// The socket tells that a connection ended.
    pub(crate) fn coordinator_disconnected(&mut self, connection: u64) {
        let Some(node) = &mut self.coordinator else { return };
        if let Some(client) = node.owners.remove(&connection)
            && let Some(session) = node.sessions.get_mut(&client)
        {
            session.connection = None;
        }
        self.coordinator_loses_orders(connection);
    }

    /// What happens while actions are carried out happens after them.
    pub(crate) fn input(&mut self, input: Input) {
        self.inputs.push_back(input);
        if self.acting {
            return;
        }
        while let Some(input) = self.inputs.pop_front() {
            self.note(|| format!("registry < {input:?}"));
            let now = self.now;
            let Some(node) = &mut self.coordinator else { continue };
            let time = node.time(now);
            node.registry.handle(time, input);
            self.coordinator_acts();
        }
    }

    pub(crate) fn coordinator_wakes(&mut self) {
        let now = self.now;
        let Some(node) = &mut self.coordinator else { return };
        node.wake = u64::MAX;
        let time = node.time(now);
        if node.registry.next_timeout().is_some_and(|due| due <= time) {
            node.registry.handle_timeout(time);
        }
        self.coordinator_acts();
        if let Some(input) = self.inputs.pop_front() {
            self.input(input);
        }
    }

    /// What the bus does by itself: silent sessions and late orders end.
    pub(crate) fn coordinator_ticks(&mut self) {
        let now = self.now;
        let Some(node) = &mut self.coordinator else { return };
        let silent: Vec<ClientId> = node
            .sessions
            .iter()
            .filter(|(_, session)| node.clock.elapsed(now - session.heard) >= LEASE)
            .map(|(client, _)| client.clone())
            .collect();
        let late: Vec<u64> = node
            .orders
            .iter()
            .filter(|(_, order)| order.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let order = self.coordinator.as_mut().and_then(|node| node.orders.remove(&id));
            if let Some(order) = order {
                let error = NetworkError::maybe_processed(ErrorKind::DeadlineExceeded, "late");
                self.order_ended(order, Err(error));
            }
        }
        for client in silent {
            self.forget_session(&client);
            self.input(Input::ClientLeft(client));
        }
    }

    fn forget_session(&mut self, client: &ClientId) {
        let Some(node) = &mut self.coordinator else { return };
        let connection = node.sessions.remove(client).and_then(|session| session.connection);
        let cancelled: Vec<u64> =
            node.tokens.iter().filter(|(_, t)| t.0 == *client).map(|(t, _)| *t).collect();
        for token in cancelled {
            if let Some(node) = &mut self.coordinator {
                node.tokens.remove(&token);
            }
            self.input(Input::Cancelled(Token(token)));
        }
        let Some(node) = &mut self.coordinator else { return };
        if let Some(connection) = connection {
            node.owners.remove(&connection);
            self.coordinator_loses_orders(connection);
        }
    }

    fn coordinator_acts(&mut self) {
        self.acting = true;
        loop {
            let action = self.coordinator.as_mut().and_then(|node| node.registry.poll_action());
            let Some(action) = action else { break };
            self.note(|| format!("registry > {action:?}"));
            self.act(action);
        }
        self.acting = false;
        let Some(node) = &mut self.coordinator else { return };
        if let Err(what) = node.registry.check_invariants() {
            return self.fail("registry", what);
        }
        if let Some(due) = node.registry.next_timeout() {
            let at = node.began + node.clock.when(due.since(Time::default()));
            if at < node.wake {
                node.wake = at;
                let server = node.server;
                self.at(at.max(self.now), Event::CoordinatorWakes(server));
            }
        }
    }

    fn act(&mut self, action: Action) {
        let Some(node) = &mut self.coordinator else { return };
        match action {
            Action::Answer { token, result } => {
                if let Ok(Reply::Container(record)) = &result {
                    let record = record.clone();
                    self.granted(&record);
                    self.check_labelled(token.0, &record.id);
                }
                let Some(node) = &mut self.coordinator else { return };
                let Some((client, id, _)) = node.tokens.remove(&token.0) else { return };
                let Some(session) = node.sessions.get_mut(&client) else { return };
                session.requests.finish(id, result.clone(), 100);
                if let Some(connection) = session.connection {
                    self.send_down(connection, Message::Response { id, result: Box::new(result) });
                }
            }
            Action::Start { peer, agent, container } => {
                let (id, epoch) = (container.id.clone(), container.epoch);
                self.order(&peer, agent, id, epoch, true, Call::Start(container));
            }
            Action::Terminate { peer, agent, id, epoch, force } => {
                let target = Target { id: id.clone(), epoch: Some(epoch) };
                self.order(&peer, agent, id, epoch, false, Call::Terminate { target, force });
            }
            // The operators of this world drain nothing.
            Action::Drain { .. } => {}
            Action::Notify { clients, events } => {
                let connections: Vec<u64> = clients
                    .iter()
                    .filter_map(|client| node.sessions.get(client)?.connection)
                    .collect();
                for event in &events {
                    if let Change::ContainerAdded(record) | Change::ContainerUpdated(record) =
                        &event.change
                    {
                        self.granted(record);
                    }
                }
                for connection in connections {
                    self.send_down(connection, Message::Events(events.clone()));
                }
            }
            Action::Forget(client) => self.forget_session(&client),
        }
    }

    fn order(
        &mut self,
        peer: &ClientId,
        agent: AgentId,
        id: ContainerId,
        epoch: Epoch,
        start: bool,
        call: Call,
    ) {
        let number = self.number();
        let deadline = self.now + if start { 5_000_000 } else { 2_000_000 };
        let double = self.random.chance(5);
        let Some(node) = &mut self.coordinator else { return };
        let connection = node.sessions.get(peer).and_then(|session| session.connection);
        let Some(connection) = connection else {
            let error = NetworkError::not_processed(ErrorKind::Unavailable, "no connection");
            let order = Order { connection: 0, agent, id, epoch, start, deadline };
            let result = Box::new(Err(error));
            self.late.insert(number, (order.agent, order.id, order.epoch, start, result));
            return self.at(self.now + 1, Event::OrderFailed(number));
        };
        node.orders.insert(number, Order { connection, agent, id, epoch, start, deadline });
        for _ in 0..=u8::from(double) {
            let message = Message::Request { id: number, call: Box::new(call.clone()) };
            self.send_down(connection, message);
        }
    }

    pub(crate) fn order_failed(&mut self, number: u64) {
        if let Some((agent, id, epoch, start, result)) = self.late.remove(&number) {
            let order = Order { connection: 0, agent, id, epoch, start, deadline: 0 };
            self.order_ended(order, *result);
        }
    }
}
