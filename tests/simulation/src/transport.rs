//! How messages travel: connections that break, peers that reconnect, crash and
//! come back.

use std::cmp::Reverse;

use hulynet_protocol::{Call, ErrorKind, NetworkError, Reply};

use crate::{
    coordinator::LEASE_US,
    link::{Connection, Message, Pending, Place, Role},
    names,
    world::{Event, World},
};

impl World {
    pub(crate) fn delay(&mut self) -> u64 {
        match self.random.below(100) {
            0..90 => self.random.between(50, 3_000),
            90..99 => self.random.between(3_000, 60_000),
            _ => self.random.between(60_000, 600_000),
        }
    }

    /// What a slow node takes on top.
    fn slowness(&mut self, peer: usize) -> u64 {
        if self.peers[peer].slow > self.now { self.random.between(20_000, 400_000) } else { 0 }
    }

    /// Until when nothing passes, to the server and from it.
    fn cut(&self, peer: usize, place: Place) -> (u64, u64) {
        let node = &self.peers[peer];
        match place {
            Place::Coordinator => (node.cut_up, node.cut_down),
            Place::Agent(agent) => {
                let (up, down) = self.cuts.get(&(peer, agent)).copied().unwrap_or_default();
                let both = node.alone.max(self.peers[agent].alone);
                (up.max(both), down.max(both))
            }
        }
    }

    pub(crate) fn send_up(&mut self, connection: u64, message: Message) {
        let Some(&Connection { peer, place, .. }) = self.connections.get(&connection) else {
            return;
        };
        let delay = self.delay();
        let at = self.now.max(self.cut(peer, place).0) + delay + self.slowness(peer);
        let Some(found) = self.connections.get_mut(&connection) else { return };
        found.last_up = at.max(found.last_up + 1);
        let at = found.last_up;
        self.at(at, Event::Up { connection, message });
    }

    pub(crate) fn send_down(&mut self, connection: u64, message: Message) {
        let Some(&Connection { peer, place, .. }) = self.connections.get(&connection) else {
            return;
        };
        let delay = self.delay() + self.slowness(peer);
        let at = self.now.max(self.cut(peer, place).1) + delay;
        let Some(found) = self.connections.get_mut(&connection) else { return };
        found.last_down = at.max(found.last_down + 1);
        let at = found.last_down;
        self.at(at, Event::Down { connection, message });
    }

    /// Begins a call, which is sent as soon as there is a connection; answers
    /// its number.
    pub(crate) fn call(&mut self, peer: usize, place: Place, call: Call, pending: Pending) -> u64 {
        let id = self.number();
        let line = self.peers[peer].line(place);
        line.calls.insert(id, (call.clone(), pending));
        if let Some(connection) = line.connection {
            self.send_up(connection, Message::Request { id, call: Box::new(call) });
        }
        id
    }

    /// The process that serves a place now.
    pub(crate) fn server(&self, place: Place) -> Option<u64> {
        match place {
            Place::Coordinator => self.coordinator.as_ref().map(|node| node.server),
            Place::Agent(agent) => {
                let node = self.peers.get(agent).filter(|node| node.alive)?;
                Some(1_000_000 * (agent as u64 + 1) + node.life)
            }
        }
    }

    pub(crate) fn connect(&mut self, peer: usize, place: Place) {
        let life = self.peers[peer].life;
        let Some(server) = self.server(place) else {
            let time = self.random.between(50_000, 400_000);
            return self.at(self.now + time, Event::Connect { peer, life, place });
        };
        let connection = self.number();
        let now = self.now;
        let id = self.peers[peer].id.clone();
        let line = self.peers[peer].line(place);
        line.connection = Some(connection);
        line.joined = false;
        line.heard = now;
        let found = Connection { peer, life, place, server, last_up: 0, last_down: 0 };
        self.connections.insert(connection, found);
        self.send_up(connection, Message::Hello(id));
    }

    pub(crate) fn server_hears(&mut self, connection: u64, message: Message) {
        let Some(found) = self.connections.get(&connection) else { return };
        let place = found.place;
        if self.server(place) != Some(found.server) {
            return;
        }
        match place {
            Place::Coordinator => self.coordinator_hears(connection, message),
            Place::Agent(agent) => self.agent_hears(agent, connection, message),
        }
    }

    pub(crate) fn server_disconnected(&mut self, connection: u64) {
        let Some(found) = self.connections.get(&connection) else { return };
        let place = found.place;
        if self.server(place) != Some(found.server) {
            return;
        }
        match place {
            Place::Coordinator => self.coordinator_disconnected(connection),
            Place::Agent(agent) => self.agent_disconnected(agent, connection),
        }
    }

    /// Who uses a connection, if that goes on.
    fn user_of(&self, connection: u64) -> Option<(usize, Place)> {
        let &Connection { peer, life, place, .. } = self.connections.get(&connection)?;
        let current = self.peers[peer].lines.get(&place)?.connection == Some(connection);
        (self.alive(peer, life) && current).then_some((peer, place))
    }

    pub(crate) fn peer_hears(&mut self, connection: u64, message: Message) {
        let Some((peer, place)) = self.user_of(connection) else { return };
        let now = self.now;
        let id = self.peers[peer].id.clone();
        let line = self.peers[peer].line(place);
        line.heard = now;
        match message {
            Message::Welcome { server, resumed } => {
                let resumed = resumed && server == line.server;
                line.server = server;
                // What is left was sent in a session that the server forgot.
                if !resumed {
                    self.end_calls(peer, place, false);
                }
                self.note(|| format!("peer {peer} joined {place:?}, resumed {resumed}"));
                self.peers[peer].line(place).joined = true;
                self.send_again(peer, place, connection);
                match (&self.peers[peer].role, place) {
                    (Role::Agent(_), _) => self.agent_joined(peer, server, resumed),
                    (Role::Client(_), Place::Coordinator) => self.client_joined(peer, resumed),
                    (Role::Client(_), Place::Agent(agent)) => {
                        self.link_joined(peer, agent, resumed);
                    }
                }
            }
            Message::AskHello if line.joined => {
                line.joined = false;
                self.send_up(connection, Message::Hello(id));
            }
            Message::Response { id, result } => {
                if let Some((_, pending)) = line.calls.remove(&id) {
                    self.answered(peer, pending, *result);
                }
            }
            Message::Request { id, call } => match *call {
                Call::Disconnected { connection: ended, .. } => {
                    self.connection_ended(peer, &ended);
                    let result = Box::new(Ok(Reply::Done));
                    self.send_up(connection, Message::Response { id, result });
                }
                call => self.agent_ordered(peer, connection, id, call),
            },
            Message::Cancel { id } => self.order_cancelled(peer, id),
            Message::Events(events) => self.client_told(peer, &events),
            Message::Broadcast { connection, epoch, number } => {
                self.client_reads(peer, place, &connection, epoch, number);
            }
            _ => {}
        }
    }

    fn answered(&mut self, peer: usize, pending: Pending, result: Result<Reply, NetworkError>) {
        match pending {
            // The tasks that wait for answers overtake one another.
            Pending::Job(job) if !self.is_watch(peer, job) => {
                let at = self.now + self.random.between(1, 400);
                let (life, result) = (self.peers[peer].life, Box::new(result));
                self.at(at, Event::JobAnswered { peer, life, job, result });
            }
            Pending::Job(job) => self.job_answered(peer, job, result),
            Pending::Connect(number) => self.connect_answered(peer, number, result),
            Pending::Leave(number) => self.leave_answered(peer, number, result),
            Pending::Nothing => {}
            pending => self.agent_answered(peer, pending, result),
        }
    }

    /// Calls in progress fail; the server is told when it `may_know` of them.
    pub(crate) fn end_calls(&mut self, peer: usize, place: Place, may_know: bool) {
        let line = self.peers[peer].line(place);
        let calls = std::mem::take(&mut line.calls);
        match may_know {
            true => line.given_up.extend(calls.keys()),
            false => line.given_up.clear(),
        }
        for (_, (_, pending)) in calls {
            let error = NetworkError::maybe_processed(ErrorKind::Unavailable, "lost");
            self.answered(peer, pending, Err(error));
        }
    }

    /// The session goes on: what was not answered is asked again in order, with
    /// the same numbers, before anything new.
    fn send_again(&mut self, peer: usize, place: Place, connection: u64) {
        let line = self.peers[peer].line(place);
        let given_up = std::mem::take(&mut line.given_up);
        let calls: Vec<(u64, Call)> =
            line.calls.iter().map(|(id, (call, _))| (*id, call.clone())).collect();
        for id in given_up {
            self.send_up(connection, Message::Cancel { id });
        }
        for (id, call) in calls {
            self.send_up(connection, Message::Request { id, call: Box::new(call) });
        }
    }

    /// Nobody waits for a call any more.
    pub(crate) fn give_up(&mut self, peer: usize, place: Place, id: u64) {
        let line = self.peers[peer].line(place);
        line.calls.remove(&id);
        match line.connection {
            Some(connection) => self.send_up(connection, Message::Cancel { id }),
            None => line.given_up.push(id),
        }
    }

    pub(crate) fn peer_disconnected(&mut self, connection: u64) {
        if let Some((peer, place)) = self.user_of(connection) {
            self.peer_lost(peer, place);
        }
    }

    fn peer_lost(&mut self, peer: usize, place: Place) {
        self.note(|| format!("peer {peer} lost its connection to {place:?}"));
        let now = self.now;
        let life = self.peers[peer].life;
        let line = self.peers[peer].line(place);
        line.connection = None;
        line.joined = false;
        line.lost = now;
        let time = self.random.between(20_000, 400_000);
        self.at(now + time, Event::Connect { peer, life, place });
        match (&mut self.peers[peer].role, place) {
            (Role::Agent(agent), _) => agent.lost(),
            (Role::Client(_), Place::Agent(agent)) => self.link_lost(peer, agent),
            (Role::Client(_), Place::Coordinator) => {}
        }
    }

    pub(crate) fn peer_ticks(&mut self, peer: usize) {
        let places: Vec<Place> = self.peers[peer].lines.keys().copied().collect();
        for place in places {
            let now = self.now;
            let line = self.peers[peer].line(place);
            match line.connection {
                Some(_) if now - line.heard >= LEASE_US => self.peer_lost(peer, place),
                Some(connection) if line.joined && now - line.pinged >= 1_000_000 => {
                    line.pinged = now;
                    self.send_up(connection, Message::Ping);
                }
                Some(_) => {}
                // Calls wait for a session to go on no longer than it does.
                None if now - line.lost >= LEASE_US => self.end_calls(peer, place, true),
                None => {}
            }
            self.close_unused(peer, place);
        }
        match self.peers[peer].role {
            Role::Agent(_) => self.agent_ticks(peer),
            Role::Client(_) => self.client_ticks(peer),
        }
    }

    /// A connection breaks; both sides hear of it unless they are cut off.
    pub(crate) fn reset(&mut self, peer: usize, place: Place) {
        let line = self.peers[peer].lines.get(&place);
        let Some(connection) = line.and_then(|line| line.connection) else { return };
        let (up, down) = (self.delay(), self.delay());
        let (cut_up, cut_down) = self.cut(peer, place);
        // What is in flight is lost: both ends know only of the break.
        self.queue = std::mem::take(&mut self.queue)
            .into_iter()
            .filter(|Reverse(entry)| {
                !matches!(&entry.event, Event::Up { connection: c, .. } | Event::Down { connection: c, .. } if *c == connection)
            })
            .collect();
        let (at_up, at_down) = (self.now.max(cut_up) + up, self.now.max(cut_down) + down);
        self.at(at_up, Event::BrokenUp(connection));
        self.at(at_down, Event::BrokenDown(connection));
    }

    /// Every connection to or from an agent or a client breaks.
    fn reset_all(&mut self, peer: usize) {
        for other in 0..self.peers.len() {
            let places: Vec<Place> = self.peers[other].lines.keys().copied().collect();
            for place in places {
                if other == peer || place == Place::Agent(peer) {
                    self.reset(other, place);
                }
            }
        }
    }

    pub(crate) fn crash(&mut self, peer: usize, down: u64, same_name: bool) {
        if !self.peers[peer].alive {
            return;
        }
        self.reset_all(peer);
        let node = &mut self.peers[peer];
        node.alive = false;
        node.lines.clear();
        self.at(self.now + down, Event::Revive { peer, same_name });
    }

    pub(crate) fn revive(&mut self, peer: usize, same_name: bool) {
        if self.peers[peer].alive {
            return;
        }
        let life = self.peers[peer].life + 1;
        let role = match &self.peers[peer].role {
            Role::Agent(old) => {
                let mut agent = self.new_agent(peer, life);
                if same_name {
                    agent.id = old.id.clone();
                }
                Role::Agent(Box::new(agent))
            }
            Role::Client(_) => Role::Client(Box::new(self.new_client(peer))),
        };
        let node = &mut self.peers[peer];
        node.id = names::peer(peer, life);
        node.life = life;
        node.role = role;
        node.alive = true;
        self.connect(peer, Place::Coordinator);
    }
}
