//! How messages travel: connections that break, peers that reconnect, crash and
//! come back.

use std::cmp::Reverse;

use hulynet_protocol::{Call, ErrorKind, NetworkError, Reply};

use crate::{
    client::Client,
    coordinator::LEASE_US,
    link::{Connection, Message, Pending, Role},
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

    pub(crate) fn send_up(&mut self, peer: usize, connection: u64, message: Message) {
        let delay = self.delay();
        let at = self.now.max(self.peers[peer].cut_up) + delay + self.slowness(peer);
        let Some(found) = self.connections.get_mut(&connection) else { return };
        found.last_up = at.max(found.last_up + 1);
        let at = found.last_up;
        self.at(at, Event::Up { connection, message });
    }

    pub(crate) fn send_down(&mut self, connection: u64, message: Message) {
        let Some(peer) = self.connections.get(&connection).map(|found| found.peer) else { return };
        let delay = self.delay() + self.slowness(peer);
        let Some(found) = self.connections.get_mut(&connection) else { return };
        let at = self.now.max(self.peers[peer].cut_down) + delay;
        found.last_down = at.max(found.last_down + 1);
        let at = found.last_down;
        self.at(at, Event::Down { connection, message });
    }

    pub(crate) fn call(&mut self, peer: usize, call: Call, pending: Pending) {
        let id = self.number();
        self.last = id;
        let Some(connection) = self.peers[peer].connection else { return };
        self.peers[peer].calls.insert(id, (call.clone(), pending));
        self.send_up(peer, connection, Message::Request { id, call: Box::new(call) });
    }

    pub(crate) fn connect(&mut self, peer: usize) {
        if self.coordinator.is_none() {
            let life = self.peers[peer].life;
            let time = self.random.between(50_000, 400_000);
            return self.at(self.now + time, Event::Connect { peer, life });
        }
        let connection = self.number();
        let now = self.now;
        let node = &mut self.peers[peer];
        let life = node.life;
        let id = node.id.clone();
        node.connection = Some(connection);
        node.joined = false;
        node.heard = now;
        let found = Connection { peer, life, last_up: 0, last_down: 0 };
        self.connections.insert(connection, found);
        self.send_up(peer, connection, Message::Hello(id));
    }

    pub(crate) fn peer_hears(&mut self, connection: u64, message: Message) {
        let Some(found) = self.connections.get(&connection).cloned() else { return };
        let peer = found.peer;
        if !self.alive(peer, found.life) || self.peers[peer].connection != Some(connection) {
            return;
        }
        self.peers[peer].heard = self.now;
        match message {
            Message::Welcome { server, resumed } => {
                // What is left was sent in a session that the server forgot.
                if !resumed || server != self.peers[peer].server {
                    self.end_calls(peer);
                }
                let resumed = resumed && server == self.peers[peer].server;
                self.note(|| format!("peer {peer} joined, resumed {resumed}"));
                let node = &mut self.peers[peer];
                node.server = server;
                node.joined = true;
                self.send_again(peer, connection);
                match &mut self.peers[peer].role {
                    Role::Agent(agent) => agent.joined(resumed),
                    Role::Client(_) => self.client_joined(peer, resumed),
                }
            }
            Message::AskHello if self.peers[peer].joined => {
                self.peers[peer].joined = false;
                let id = self.peers[peer].id.clone();
                self.send_up(peer, connection, Message::Hello(id));
            }
            Message::Response { id, result } => {
                if let Some((_, pending)) = self.peers[peer].calls.remove(&id) {
                    self.answered(peer, pending, *result);
                }
            }
            Message::Request { id, call } => self.agent_ordered(peer, connection, id, *call),
            Message::Events(events) => self.client_told(peer, &events),
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
            pending => self.agent_answered(peer, pending, result),
        }
    }

    pub(crate) fn end_calls(&mut self, peer: usize) {
        self.peers[peer].given_up.clear();
        for (_, (_, pending)) in std::mem::take(&mut self.peers[peer].calls) {
            let error = NetworkError::maybe_processed(ErrorKind::Unavailable, "lost");
            self.answered(peer, pending, Err(error));
        }
    }

    /// The session goes on: what was not answered is asked again in order, with
    /// the same numbers, before anything new.
    fn send_again(&mut self, peer: usize, connection: u64) {
        for id in std::mem::take(&mut self.peers[peer].given_up) {
            self.send_up(peer, connection, Message::Cancel { id });
        }
        let calls: Vec<(u64, Call)> =
            self.peers[peer].calls.iter().map(|(id, (call, _))| (*id, call.clone())).collect();
        for (id, call) in calls {
            self.send_up(peer, connection, Message::Request { id, call: Box::new(call) });
        }
    }

    /// Nobody waits for a call any more.
    pub(crate) fn give_up(&mut self, peer: usize, id: u64) {
        self.peers[peer].calls.remove(&id);
        match self.peers[peer].connection {
            Some(connection) => self.send_up(peer, connection, Message::Cancel { id }),
            None => self.peers[peer].given_up.push(id),
        }
    }

    pub(crate) fn peer_lost(&mut self, peer: usize) {
        self.note(|| format!("peer {peer} lost its connection"));
        let node = &mut self.peers[peer];
        node.connection = None;
        node.joined = false;
        let life = node.life;
        if let Role::Agent(agent) = &mut node.role {
            agent.lost();
        }
        let time = self.random.between(20_000, 400_000);
        self.at(self.now + time, Event::Connect { peer, life });
    }

    pub(crate) fn peer_ticks(&mut self, peer: usize) {
        let node = &mut self.peers[peer];
        if let Some(connection) = node.connection {
            if self.now - node.heard >= LEASE_US {
                self.peer_lost(peer);
            } else if node.joined && self.now - node.pinged >= 1_000_000 {
                node.pinged = self.now;
                self.send_up(peer, connection, Message::Ping);
            }
        }
        match self.peers[peer].role {
            Role::Agent(_) => self.agent_ticks(peer),
            Role::Client(_) => self.client_ticks(peer),
        }
    }

    /// A connection breaks; both sides hear of it unless they are cut off.
    pub(crate) fn reset(&mut self, peer: usize) {
        let Some(connection) = self.peers[peer].connection else { return };
        let (up, down) = (self.delay(), self.delay());
        let (cut_up, cut_down) = (self.peers[peer].cut_up, self.peers[peer].cut_down);
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

    pub(crate) fn crash(&mut self, peer: usize, down: u64, same_name: bool) {
        if !self.peers[peer].alive {
            return;
        }
        self.reset(peer);
        let node = &mut self.peers[peer];
        node.alive = false;
        node.connection = None;
        node.joined = false;
        node.calls.clear();
        node.given_up.clear();
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
                Role::Agent(agent)
            }
            Role::Client(_) => Role::Client(Client::new()),
        };
        let node = &mut self.peers[peer];
        node.id = names::peer(peer, life);
        node.life = life;
        node.role = role;
        node.alive = true;
        node.server = 0;
        node.heard = self.now;
        self.connect(peer);
    }
}
