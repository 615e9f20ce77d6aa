//! The thin driver of an agent's table and membership.

use std::{collections::BTreeMap, time::Duration};

use hulynet_agent_table::{Ask, Brought, Decision, Membership, Table};
use hulynet_protocol::{
    Activation, AgentId, Call, ClientId, ConnectionId, ContainerId, Endpoint, ErrorKind, Kind,
    Labels, NetworkError, Registration, Reply, StartContainer,
};

use crate::{
    audience::{Asker, Connecting, Subscriber},
    link::{Message, Pending, Place, Role},
    names,
    sessions::Sessions,
    world::{Event, World},
};

/// One process of an agent.
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) address: String,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) labels: Labels,
    pub(crate) offers: Vec<ContainerId>,
    pub(crate) table: Table<u64>,
    membership: Membership,
    pub(crate) containers: BTreeMap<u64, Container>,
    /// Clients that talk to it directly.
    pub(crate) sessions: Sessions,
    /// Attempts to connect that containers were asked to accept.
    pub(crate) connecting: BTreeMap<u64, Connecting>,
    /// The coordinator that it joined last.
    pub(crate) coordinator: Option<ClientId>,
    beaten: u64,
    /// How starts fail, and until when.
    pub(crate) fails: (u64, u64),
    pub(crate) slow: u64,
    pub(crate) not_yet: u64,
}

/// A container that starts, runs or ends.
pub(crate) struct Container {
    pub(crate) activation: Activation,
    pub(crate) started: bool,
    ending: bool,
    /// Requests that wait for its start, and for its end.
    starts: Vec<(u64, u64)>,
    ends: Vec<(u64, u64)>,
    /// Orders that wait for its end.
    after: Vec<(StartContainer, u64, u64)>,
    /// Who hears what it broadcasts.
    pub(crate) subscribers: BTreeMap<ConnectionId, Subscriber>,
}

impl Agent {
    pub(crate) fn new(name: &str, address: String, kinds: Vec<Kind>) -> Self {
        Self {
            id: names::agent(name),
            address,
            kinds,
            labels: Labels::new(),
            offers: Vec::new(),
            table: Table::new(1000),
            membership: Membership::default(),
            containers: BTreeMap::new(),
            sessions: Sessions::default(),
            connecting: BTreeMap::new(),
            coordinator: None,
            beaten: 0,
            fails: (0, 0),
            slow: 0,
            not_yet: 0,
        }
    }

    pub(crate) fn lost(&mut self) {
        self.membership.lost();
    }
}

impl World {
    pub(crate) fn agent_joined(&mut self, peer: usize, server: u64, resumed: bool) {
        if !resumed {
            // Whoever was connected through the coordinator is forgotten there.
            self.leave_coordinator(peer);
        }
        let Some(agent) = self.agent(peer) else { return };
        agent.coordinator = Some(names::coordinator(server));
        agent.membership.joined(resumed);
    }

    pub(crate) fn agent(&mut self, peer: usize) -> Option<&mut Agent> {
        match &mut self.peers[peer].role {
            Role::Agent(agent) => Some(&mut **agent),
            Role::Client(_) => None,
        }
    }

    /// Renews and asks, as the agent's link does.
    pub(crate) fn agent_ticks(&mut self, peer: usize) {
        let now = self.now;
        let local = self.peers[peer].clock.instant(now);
        self.agents_clients_end(peer);
        let Some(agent) = self.agent(peer) else { return };
        if now >= agent.beaten + 1_000_000 {
            agent.beaten = now;
            agent.membership.beat();
            if agent.membership.serves_until().is_some_and(|until| until <= local) {
                agent.membership.changed();
            }
        }
        let Some(ask) = agent.membership.ask(local) else { return };
        let (call, pending) = match ask {
            Ask::Register { doubtful } => {
                let address = Some(agent.address.clone());
                let Brought { certain, doubtful } = agent.table.bring(doubtful);
                let call = Call::Register(Registration {
                    endpoint: Endpoint { agent: agent.id.clone(), address },
                    kinds: agent.kinds.clone(),
                    labels: agent.labels.clone(),
                    containers: certain,
                    doubtful,
                    load: agent.table.load(),
                    offers: agent.offers.clone(),
                });
                (call, Pending::Register(local))
            }
            Ask::Report(containers) => {
                let (agent, load) = (agent.id.clone(), agent.table.load());
                let call = Call::Ended { agent, containers, load };
                (call, Pending::Report(local))
            }
        };
        let life = self.peers[peer].life;
        let id = self.call(peer, Place::Coordinator, call, pending);
        self.at(now + 3_000_000, Event::AgentCallLate { peer, life, id });
    }

    pub(crate) fn agent_answered(
        &mut self,
        peer: usize,
        pending: Pending,
        result: Result<Reply, NetworkError>,
    ) {
        let local = self.peers[peer].clock.instant(self.now);
        let Some(agent) = self.agent(peer) else { return };
        let mut ended = Vec::new();
        match (pending, result) {
            (Pending::Register(sent), Ok(Reply::Registered(registered))) => {
                let lease = Duration::from_millis(registered.lease_ms.into());
                let doubt = Duration::from_millis(registered.doubt_ms.into());
                agent.membership.registered(local, sent, lease, doubt);
                ended = agent.table.retire(&registered.terminate);
                agent.table.doubt(agent.membership.is_doubtful());
                if doubt.is_zero() {
                    agent.table.settle();
                }
                agent.table.serve_until(agent.membership.serves_until());
            }
            (Pending::Report(sent), Ok(_)) => {
                agent.membership.reported(local, sent);
                agent.table.serve_until(agent.membership.serves_until());
            }
            (_, _) => agent.membership.failed(),
        }
        for container in ended {
            self.end_later(peer, container);
        }
    }

    pub(crate) fn agent_ordered(&mut self, peer: usize, connection: u64, id: u64, call: Call) {
        match call {
            Call::Start(order) => self.start(peer, order, connection, id),
            Call::Terminate { target, force } => {
                let now = self.now;
                let Some(agent) = self.agent(peer) else { return };
                let refuses = now < agent.not_yet && !force;
                match agent.table.find(&target) {
                    None => self.respond(connection, id, Ok(Reply::Terminated(true))),
                    Some(_) if refuses => {
                        self.respond(connection, id, Ok(Reply::Terminated(false)));
                    }
                    Some(container) => {
                        if let Some(c) = agent.containers.get_mut(&container) {
                            c.ends.push((connection, id));
                        }
                        self.end_later(peer, container);
                    }
                }
            }
            Call::Connect { target, connection: on, .. } => {
                let asker = Asker::Coordinator { connection, id };
                self.attach(peer, asker, &target, on);
            }
            Call::Disconnect { connection: on } => {
                let asker = Asker::Coordinator { connection, id };
                self.detach(peer, &asker, &on);
            }
            _ => {}
        }
    }

    /// The coordinator does not wait for an order any more.
    pub(crate) fn order_cancelled(&mut self, peer: usize, order: u64) {
        self.attach_cancelled(
            peer,
            |asker| matches!(asker, Asker::Coordinator { id, .. } if *id == order),
        );
    }

    fn start(&mut self, peer: usize, order: StartContainer, connection: u64, id: u64) {
        let local = self.peers[peer].clock.instant(self.now);
        let Some(agent) = self.agent(peer) else { return };
        match agent.table.decide(local, &order.id, order.epoch) {
            Err(error) => self.respond(connection, id, Err(error)),
            Ok(Decision::Running(container)) => {
                let Some(c) = agent.containers.get_mut(&container) else { return };
                if c.started {
                    self.respond(connection, id, Ok(Reply::Done));
                } else {
                    c.starts.push((connection, id));
                }
            }
            Ok(Decision::Replace(container)) => {
                if let Some(c) = agent.containers.get_mut(&container) {
                    c.after.push((order, connection, id));
                }
                self.end_later(peer, container);
            }
            Ok(Decision::Start) => {
                let number = self.number();
                let slow = self.agent(peer).is_some_and(|agent| agent.slow > 0);
                let time = if slow {
                    self.random.between(500_000, 7_000_000)
                } else {
                    self.random.between(500, 40_000)
                };
                let Some(agent) = self.agent(peer) else { return };
                let StartContainer { id: name, epoch, labels, .. } = order;
                let activation = Activation { id: name, epoch, labels };
                agent.table.insert(activation.clone(), number);
                let starts = vec![(connection, id)];
                let container = Container {
                    activation,
                    started: false,
                    ending: false,
                    starts,
                    ends: Vec::new(),
                    after: Vec::new(),
                    subscribers: BTreeMap::new(),
                };
                agent.containers.insert(number, container);
                let life = self.peers[peer].life;
                self.at(self.now + time, Event::Started { peer, life, container: number });
            }
        }
    }

    pub(crate) fn container_started(&mut self, peer: usize, number: u64) {
        let now = self.now;
        let Some(agent) = self.agent(peer) else { return };
        let fails = agent.fails;
        let Some(container) = agent.containers.get_mut(&number) else { return };
        let starts = std::mem::take(&mut container.starts);
        if now >= fails.1 {
            container.started = true;
            for (connection, id) in starts {
                self.respond(connection, id, Ok(Reply::Done));
            }
            return;
        }
        let error = match fails.0 {
            0 => NetworkError::refused(ErrorKind::StartFailed, "trap"),
            1 => NetworkError::not_processed(ErrorKind::Busy, "full"),
            _ => NetworkError::not_processed(ErrorKind::StartFailed, "flaky"),
        };
        for (connection, id) in starts {
            self.respond(connection, id, Err(error.clone()));
        }
        self.gone(peer, number);
    }

    pub(crate) fn end_later(&mut self, peer: usize, number: u64) {
        let time = match self.random.below(10) {
            0 => self.random.between(100_000, 900_000),
            _ => self.random.between(200, 20_000),
        };
        let life = self.peers[peer].life;
        let Some(agent) = self.agent(peer) else { return };
        let Some(container) = agent.containers.get_mut(&number) else { return };
        if !std::mem::replace(&mut container.ending, true) {
            self.at(self.now + time, Event::Ended { peer, life, container: number });
        }
    }

    /// A container is over.
    pub(crate) fn gone(&mut self, peer: usize, number: u64) {
        let Some(agent) = self.agent(peer) else { return };
        let Some(container) = agent.containers.remove(&number) else { return };
        let Activation { id, epoch, .. } = container.activation;
        agent.table.remove(&id, epoch);
        agent.membership.ended(id, epoch);
        self.audience_ends(peer, number, container.subscribers);
        for (connection, request) in container.starts {
            let error = NetworkError::not_processed(ErrorKind::ContainerEnded, "ended");
            self.respond(connection, request, Err(error));
        }
        for (connection, request) in container.ends {
            self.respond(connection, request, Ok(Reply::Terminated(true)));
        }
        for (order, connection, request) in container.after {
            self.start(peer, order, connection, request);
        }
    }

    pub(crate) fn respond(
        &mut self,
        connection: u64,
        id: u64,
        result: Result<Reply, NetworkError>,
    ) {
        self.send_up(connection, Message::Response { id, result: Box::new(result) });
    }
}
