//! What must be true of connections, and of what containers tell.

use std::collections::BTreeSet;

use hulynet_protocol::{ConnectionId, ContainerId, Epoch, Target};

use crate::{link::Role, names, world::World};

impl World {
    /// Every container that serves sends something.
    pub(crate) fn tell_everything(&mut self) {
        for index in 0..self.settings.agents {
            let Some(agent) = self.agent(index) else { continue };
            let all: Vec<(u64, ContainerId)> = agent
                .containers
                .iter()
                .map(|(number, container)| (*number, container.activation.id.clone()))
                .collect();
            for (container, id) in all {
                let number = self.broadcast(index, container);
                self.told.insert(id, number);
            }
        }
    }

    /// Whoever is connected is so once, where the container lives, and hears it.
    pub(crate) fn check_connected(&mut self) {
        if self.failure.is_some() {
            return;
        }
        let audience = self.audience();
        let mut expected: BTreeSet<ConnectionId> = BTreeSet::new();
        let mut wrong = None;
        for (index, peer) in self.peers.iter().enumerate() {
            let Role::Client(client) = &peer.role else { continue };
            for (number, open) in &client.connections {
                let name = names::connection(*number);
                let places: Vec<_> = audience.iter().filter(|(on, ..)| *on == name).collect();
                let live = client.references.record(&open.id).map(|record| record.epoch);
                let heard = self.told.get(&open.id).is_some_and(|told| open.read.contains(told));
                match &places[..] {
                    [(_, _, id, epoch)] if *id == open.id && Some(*epoch) == live && heard => {}
                    _ => {
                        let id = &open.id;
                        wrong = Some(format!(
                            "{name} of {index} to {id} {live:?}: {places:?}, heard: {heard}"
                        ));
                    }
                }
                expected.insert(name);
            }
        }
        if let Some(what) = wrong {
            return self.fail("attached", what);
        }
        self.check_audience(&expected);
    }

    /// Nobody is connected any more.
    pub(crate) fn check_disconnected(&mut self) {
        if self.failure.is_none() {
            self.check_audience(&BTreeSet::new());
        }
    }

    /// Only these are connected.
    fn check_audience(&mut self, expected: &BTreeSet<ConnectionId>) {
        let audience = self.audience();
        if let Some((name, index, id, _)) = audience.iter().find(|(on, ..)| !expected.contains(on))
        {
            let what = format!("{name} listens to {id} on {index}, and nobody has it");
            return self.fail("leaked", what);
        }
        if let Some((index, name)) = self.lost_attachment() {
            self.fail("leaked", format!("{name} is kept by {index} alone"));
        }
    }

    /// What a container tells while a newer activation serves is stale.
    pub(crate) fn check_told(&mut self, index: usize, id: &ContainerId, epoch: Epoch) {
        let newer = self.peers.iter().enumerate().find_map(|(other, peer)| {
            let Role::Agent(agent) = &peer.role else { return None };
            let local = peer.clock.instant(self.now);
            let serves = agent.containers.values().find(|container| {
                let live = &container.activation;
                let target = Target { id: id.clone(), epoch: Some(live.epoch) };
                live.id == *id && live.epoch > epoch && agent.table.locate(local, &target).is_ok()
            })?;
            (other != index && peer.alive).then_some((other, serves.activation.epoch))
        });
        if let Some((other, live)) = newer {
            let what = format!("{id} {epoch} on {index} tells, and {live} on {other} serves");
            self.fail("stale", what);
        }
    }

    /// Who listens where: the connection, the agent and the activation.
    pub(crate) fn audience(&self) -> Vec<(ConnectionId, usize, ContainerId, Epoch)> {
        let mut all = Vec::new();
        for (index, peer) in self.peers.iter().enumerate().filter(|(_, peer)| peer.alive) {
            let Role::Agent(agent) = &peer.role else { continue };
            for container in agent.containers.values() {
                let live = &container.activation;
                for connection in container.subscribers.keys() {
                    all.push((connection.clone(), index, live.id.clone(), live.epoch));
                }
            }
        }
        all
    }

    /// A connection of the agent's table that its container does not have.
    pub(crate) fn lost_attachment(&self) -> Option<(usize, ConnectionId)> {
        self.peers.iter().enumerate().find_map(|(index, peer)| {
            let Role::Agent(agent) = &peer.role else { return None };
            agent.containers.values().find_map(|container| {
                let has = |on: &ConnectionId| container.subscribers.contains_key(on);
                let uuid = &container.activation.id.uuid;
                let mut attached = agent.table.attached(uuid).map(|(on, _)| on);
                let lost = attached.find(|on| !has(on))?;
                Some((index, lost.clone()))
            })
        })
    }
}
