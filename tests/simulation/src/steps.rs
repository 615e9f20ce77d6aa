//! What people and misfortune do, done.

use hulynet_protocol::{Call, ContainerId, GetOptions, Target};

use crate::{
    link::{Place, Role},
    names::{self, container},
    plan::What,
    random::nth,
    world::{Event, World},
};

impl World {
    pub(crate) fn step(&mut self, what: What) {
        let agents = self.settings.agents;
        let total = self.peers.len();
        let client = |client: usize| agents + client % (total - agents);
        match what {
            What::Get { client: c, uuid } => {
                let ContainerId { kind, uuid } = container(uuid);
                let options = GetOptions { uuid: Some(uuid), ..GetOptions::default() };
                self.user(client(c), |world, peer| world.get(peer, kind, options));
            }
            What::GetWrongKind { client: c, uuid } => {
                let ContainerId { uuid, .. } = container(uuid);
                let kind = container(u64::from(container(0).uuid == uuid) + 2).kind;
                let options = GetOptions { uuid: Some(uuid), ..GetOptions::default() };
                self.user(client(c), |world, peer| world.get(peer, kind, options));
            }
            What::GetLabel { client: c, label } => {
                let labels = [("l".to_owned(), label.to_string())].into();
                let options = GetOptions { labels, ..GetOptions::default() };
                self.user(client(c), |world, peer| world.get(peer, container(0).kind, options));
            }
            What::GetAny { client: c } => {
                let options = GetOptions::default();
                self.user(client(c), |world, peer| world.get(peer, container(0).kind, options));
            }
            What::GetNear { client: c, uuid, near } => {
                let ContainerId { kind, uuid } = container(uuid);
                let region = if near { "eu" } else { "us" };
                let near = [("region".to_owned(), region.to_owned())].into();
                let options = GetOptions { uuid: Some(uuid), near, ..GetOptions::default() };
                self.user(client(c), |world, peer| world.get(peer, kind, options));
            }
            What::GetSelected { client: c, label } => {
                let select = names::labelled(label);
                let options = GetOptions { select, ..GetOptions::default() };
                self.user(client(c), |world, peer| world.get(peer, container(0).kind, options));
            }
            What::DropAndGet { client: c, which } => self.user(client(c), |world, peer| {
                let Some(client) = world.client(peer) else { return };
                let Some(ContainerId { kind, uuid }) = nth(&client.handles, which).cloned() else {
                    return;
                };
                world.drop_one(peer, which);
                let options = GetOptions { uuid: Some(uuid), ..GetOptions::default() };
                world.get(peer, kind, options);
            }),
            What::Drop { client: c, which } => {
                self.user(client(c), |world, peer| world.drop_one(peer, which));
            }
            What::Request { client: c, which } => self.user(client(c), |world, peer| {
                let Some(client) = world.client(peer) else { return };
                if let Some(id) = nth(&client.handles, which).cloned() {
                    world.request(peer, id);
                }
            }),
            What::Terminate { client: c, uuid, force } => {
                let target = Target { id: container(uuid), epoch: None };
                let call = Call::Terminate { target, force };
                self.user(client(c), |world, peer| {
                    world.job(peer, crate::client::What::Once, call, false);
                });
            }
            What::Watch { client: c } => self.user(client(c), |world, peer| {
                if let Some(client) = world.client(peer)
                    && !client.watching
                {
                    client.watching = true;
                    world.job(peer, crate::client::What::Watch, Call::Watch, false);
                }
            }),
            What::Connect { client: c, which } => self.user(client(c), |world, peer| {
                let Some(client) = world.client(peer) else { return };
                if let Some(id) = nth(&client.handles, which).cloned() {
                    world.open(peer, id);
                }
            }),
            What::Disconnect { client: c, which } => self.user(client(c), |world, peer| {
                let Some(client) = world.client(peer) else { return };
                let all: Vec<u64> = client.connections.keys().copied().collect();
                if let Some(number) = nth(&all, which) {
                    world.close(peer, *number);
                }
            }),
            What::Broadcast { agent } => self.user(agent % agents, |world, peer| {
                let Some(agent) = world.agent(peer) else { return };
                let all: Vec<u64> = agent.containers.keys().copied().collect();
                for container in all {
                    world.broadcast(peer, container);
                }
            }),
            What::CrashAgent { agent, down, same_name } => {
                self.crash(agent % agents, down, same_name);
            }
            What::CrashClient { client: c, down } => self.crash(client(c), down, false),
            What::RestartCoordinator { down } => {
                if self.coordinator.take().is_some() {
                    for peer in 0..total {
                        self.reset(peer, Place::Coordinator);
                    }
                    self.at(self.now + down, Event::CoordinatorStarts);
                }
            }
            What::Cut { peer, up, down, time } => {
                let until = self.now + time;
                let node = &mut self.peers[peer % total];
                if up {
                    node.cut_up = node.cut_up.max(until);
                }
                if down {
                    node.cut_down = node.cut_down.max(until);
                }
            }
            What::CutLink { client: c, agent, up, down, time } => {
                let until = self.now + time;
                let cut = self.cuts.entry((client(c), agent % agents)).or_default();
                if up {
                    cut.0 = cut.0.max(until);
                }
                if down {
                    cut.1 = cut.1.max(until);
                }
            }
            What::Isolate { peer, time } => {
                let until = self.now + time;
                let node = &mut self.peers[peer % total];
                node.alone = node.alone.max(until);
                node.cut_up = node.cut_up.max(until);
                node.cut_down = node.cut_down.max(until);
            }
            What::Reset { peer } => self.reset(peer % total, Place::Coordinator),
            What::ResetLink { client: c, agent } => {
                self.reset(client(c), Place::Agent(agent % agents));
            }
            What::Pause { peer, time } => self.peers[peer % total].paused = self.now + time,
            What::PauseCoordinator { time } => {
                let until = self.now + time;
                if let Some(node) = &mut self.coordinator {
                    node.paused = until;
                }
            }
            What::FailStarts { agent, how, time } => {
                let until = self.now + time;
                if let Some(agent) = self.agent(agent % agents) {
                    agent.fails = (how, until);
                }
            }
            What::Slow { peer, time } => self.peers[peer % total].slow = self.now + time,
            What::SlowStarts { agent, time } => {
                let until = self.now + time;
                if let Some(agent) = self.agent(agent % agents) {
                    agent.slow = until;
                }
            }
            What::NotYet { agent, time } => {
                let until = self.now + time;
                if let Some(agent) = self.agent(agent % agents) {
                    agent.not_yet = until;
                }
            }
            What::EndContainer { agent, which } => {
                let peer = agent % agents;
                let Some(agent) = self.agent(peer) else { return };
                let all: Vec<u64> = agent.containers.keys().copied().collect();
                if let Some(container) = nth(&all, which) {
                    self.end_later(peer, *container);
                }
            }
        }
    }

    fn user(&mut self, peer: usize, act: impl FnOnce(&mut Self, usize)) {
        if self.peers[peer].alive && self.peers[peer].paused <= self.now {
            act(self, peer);
        }
    }

    /// Misfortune is over.
    pub(crate) fn heal(&mut self) {
        self.start_coordinator();
        self.cuts.clear();
        for peer in 0..self.peers.len() {
            let now = self.now;
            let node = &mut self.peers[peer];
            node.cut_up = node.cut_up.min(now);
            node.cut_down = node.cut_down.min(now);
            node.alone = 0;
            node.paused = 0;
            node.slow = 0;
            if let Role::Agent(agent) = &mut node.role {
                agent.slow = 0;
                agent.fails = (0, 0);
                agent.not_yet = 0;
            }
            if !node.alive {
                self.revive(peer, false);
            }
        }
    }
}
