//! The thin driver of the registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hulynet_coordinator::{
    connections::Connections,
    registry::{Action, Input, Placement, Registry, RegistryConfig, Time, Token},
};
use hulynet_protocol::{
    Call, Change, ClientId, ContainerId, Epoch, ErrorKind, NetworkError, Reply, Target,
};

use crate::{
    link::{Clock, Message},
    names,
    orders::{Order, Ordered},
    sessions::{Answer, Sessions, Taken},
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
    pub(crate) sessions: Sessions,
    pub(crate) orders: BTreeMap<u64, Order>,
    pub(crate) proxied: Connections,
    /// The peer and the request that each token answers, and since when.
    pub(crate) tokens: BTreeMap<u64, (ClientId, u64, u64)>,
    /// The requests that it took in.
    taken: BTreeSet<(ClientId, u64)>,
    /// What it gave out last of each container.
    pub(crate) newest: BTreeMap<ContainerId, Epoch>,
    wake: u64,
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
            sessions: Sessions::default(),
            orders: BTreeMap::new(),
            proxied: Connections::default(),
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
            let (resumed, before) = node.sessions.hello(now, connection, &client);
            let server = node.server;
            if let Some(before) = before {
                self.coordinator_loses_orders(before);
            }
            self.send_down(connection, Message::Welcome { server, resumed });
            self.settle(&client);
            return self.input(Input::ClientJoined { client, alive_timeout: LEASE, resumed });
        }
        let Some(client) = node.sessions.heard(now, connection) else {
            if let Message::Request { id, .. } = message {
                let error = NetworkError::not_processed(ErrorKind::Unavailable, "say hello");
                self.send_down(connection, Message::Response { id, result: Box::new(Err(error)) });
            }
            return self.send_down(connection, Message::AskHello);
        };
        match message {
            Message::Ping => {
                self.send_down(connection, Message::Pong);
                self.settle(&client);
                self.input(Input::ClientAlive(client));
            }
            Message::Request { id, call } => match node.sessions.take(&client, id) {
                Taken::New => self.coordinator_asked(client, id, *call),
                Taken::Ignored => {}
                Taken::Ran(result) => {
                    let response = Message::Response { id, result: Box::new(result) };
                    self.send_down(connection, response);
                }
            },
            Message::Cancel { id } => {
                if let Some(token) = node.sessions.cancel(&client, id) {
                    self.cancelled(token);
                }
            }
            Message::Response { id, result } => {
                if let Some(order) = node.orders.remove(&id) {
                    self.order_ended(order.what, *result);
                }
            }
            Message::Broadcast { connection: on, epoch, number } => {
                self.proxy_event(&client, &on, epoch, number);
            }
            _ => {}
        }
    }

    fn coordinator_asked(&mut self, client: ClientId, id: u64, call: Call) {
        let now = self.now;
        let token = self.number();
        let Some(node) = &mut self.coordinator else { return };
        node.sessions.begin(&client, id, token);
        node.tokens.insert(token, (client.clone(), id, now));
        if !node.taken.insert((client.clone(), id)) {
            self.fail("twice", format!("the request {id} of {client} ran twice"));
        }
        match call {
            Call::Connect { target, connection, .. } => {
                self.proxy_connect(&client, token, target, connection);
            }
            Call::Disconnect { connection } => self.proxy_disconnect(&client, token, connection),
            Call::Disconnected { connection, .. } => {
                self.proxy_disconnected(&client, token, &connection);
            }
            call => {
                self.expect_labelled(token, &call);
                self.input(Input::Request { client, token: Token(token), call });
            }
        }
    }

    /// Answers a request of a client.
    pub(crate) fn coordinator_answers(&mut self, token: u64, result: Answer) {
        let Some(node) = &mut self.coordinator else { return };
        let Some((client, id, _)) = node.tokens.remove(&token) else { return };
        if let Some(connection) = node.sessions.finish(&client, id, result.clone()) {
            self.send_down(connection, Message::Response { id, result: Box::new(result) });
        }
    }

    /// A request was given up.
    fn cancelled(&mut self, token: u64) {
        if let Some(node) = &mut self.coordinator {
            node.tokens.remove(&token);
        }
        self.proxy_cancelled(token);
        self.input(Input::Cancelled(Token(token)));
    }

    /// The socket tells that a connection ended.
    pub(crate) fn coordinator_disconnected(&mut self, connection: u64) {
        let Some(node) = &mut self.coordinator else { return };
        node.sessions.disconnected(connection);
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
        self.late_orders_end();
        let now = self.now;
        let Some(node) = &mut self.coordinator else { return };
        for client in node.sessions.silent(now, &node.clock, LEASE) {
            self.forget_session(&client);
            self.input(Input::ClientLeft(client));
        }
    }

    fn forget_session(&mut self, client: &ClientId) {
        let Some(node) = &mut self.coordinator else { return };
        let connection = node.sessions.forget(client);
        let cancelled: Vec<u64> =
            node.tokens.iter().filter(|(_, t)| t.0 == *client).map(|(t, _)| *t).collect();
        for token in cancelled {
            self.cancelled(token);
        }
        if let Some(connection) = connection {
            self.coordinator_loses_orders(connection);
        }
        self.proxy_loses(client);
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
                self.coordinator_answers(token.0, result);
            }
            Action::Start { peer, agent, container } => {
                let (id, epoch) = (container.id.clone(), container.epoch);
                let what = Ordered::Start { agent, id, epoch };
                self.order(&peer, what, Call::Start(container));
            }
            Action::Terminate { peer, agent, id, epoch, force } => {
                let target = Target { id: id.clone(), epoch: Some(epoch) };
                let what = Ordered::Terminate { agent, id, epoch };
                self.order(&peer, what, Call::Terminate { target, force });
            }
            // The operators of this world drain nothing.
            Action::Drain { .. } => {}
            Action::Notify { clients, events } => {
                let connections: Vec<u64> =
                    clients.iter().filter_map(|client| node.sessions.connection(client)).collect();
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
}
