//! Requests to containers, from a client's handle to the answer.

use std::time::Duration;

use hulynet_client::retry::{Attempts, Next, Repeat};
use hulynet_protocol::{ContainerId, Epoch, ErrorKind, NetworkError, Target};

use crate::{
    client::PATIENCE,
    link::{Place, Role},
    world::{Event, World},
};

/// A request to a container.
pub(crate) struct Request {
    pub(crate) id: ContainerId,
    attempts: Attempts,
    executed: u32,
    tried: Epoch,
}

/// Whose request it is: a process of a client, and the number there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    peer: usize,
    life: u64,
    number: u64,
}

impl World {
    /// Sends a request through a handle.
    pub(crate) fn request(&mut self, peer: usize, id: ContainerId) {
        let number = self.number();
        let clock = self.peers[peer].clock;
        let deadline = clock.instant(self.now) + Duration::from_micros(PATIENCE);
        let attempts = Attempts::new(deadline, Repeat::Unprocessed);
        let tried = Epoch::default();
        let Some(client) = self.client(peer) else { return };
        client.requests.insert(number, Request { id, attempts, executed: 0, tried });
        self.send_request(peer, number);
    }

    pub(crate) fn send_request(&mut self, peer: usize, number: u64) {
        let now = self.now;
        let Some(client) = self.client(peer) else { return };
        let Some(request) = client.requests.get_mut(&number) else { return };
        let Some(record) = client.references.record(&request.id) else {
            client.requests.remove(&number);
            return;
        };
        request.tried = record.epoch;
        let target = Target { id: request.id.clone(), epoch: Some(record.epoch) };
        let address = record.endpoint.address.clone().unwrap_or_default();
        let asker = Asking { peer, life: self.peers[peer].life, number };
        let time = self.random.between(100, 5_000);
        let proxied = number.is_multiple_of(4);
        self.at(now + time, Event::Direct { asker, address, target, proxied });
    }

    pub(crate) fn request_answered(
        &mut self,
        peer: usize,
        number: u64,
        result: Result<(), NetworkError>,
    ) {
        let now = self.now;
        let clock = self.peers[peer].clock;
        let life = self.peers[peer].life;
        let Some(client) = self.client(peer) else { return };
        let Some(request) = client.requests.get_mut(&number) else { return };
        let Err(error) = result else {
            client.requests.remove(&number);
            self.served += 1;
            return;
        };
        match request.attempts.after(clock.instant(now), &error) {
            Next::Fail => {
                client.requests.remove(&number);
            }
            Next::Again { pause, locate } => {
                let at = now + clock.when(pause);
                self.at(at, Event::RequestAgain { peer, life, number, locate });
            }
        }
    }

    pub(crate) fn request_again(&mut self, peer: usize, number: u64, locate: bool) {
        if !locate {
            return self.send_request(peer, number);
        }
        let Some(client) = self.client(peer) else { return };
        let Some(request) = client.requests.get(&number) else { return };
        client.references.locate(&request.id, request.tried, number);
        self.client_acts(peer);
    }

    pub(crate) fn located(&mut self, peer: usize, number: u64, result: Result<(), NetworkError>) {
        match result {
            Ok(()) => self.send_request(peer, number),
            Err(error) => self.request_answered(peer, number, Err(error)),
        }
    }

    /// Where the coordinator sends a request on.
    pub(crate) fn proxied(&self, target: &Target) -> Option<usize> {
        let route = self.coordinator.as_ref()?.registry.route(target).ok()?;
        self.peers.iter().position(|peer| match &peer.role {
            Role::Agent(agent) => {
                peer.alive && peer.is_joined(Place::Coordinator) && agent.id == route.agent
            }
            Role::Client(_) => false,
        })
    }

    /// A request reaches an agent.
    pub(crate) fn serve(&mut self, asker: Asking, found: Option<usize>, target: Target) {
        let Asking { peer, number, .. } = asker;
        let away = || Err(NetworkError::not_processed(ErrorKind::Unavailable, "no such host"));
        let local = found.map(|index| self.peers[index].clock.instant(self.now));
        let agent = found.and_then(|index| self.agent(index));
        let served = match agent.zip(local) {
            Some((agent, local)) => agent.table.reach(local, &target).map(|found| found.epoch),
            None => away(),
        };
        self.note(|| format!("request {number} of {peer} to {target:?}: {served:?}"));
        let epoch = match served {
            Ok(epoch) => epoch,
            Err(error) => return self.reply(asker, Err(error)),
        };
        if target.epoch != Some(epoch) {
            self.fail("stale", format!("{target:?} was served by {epoch}"));
        }
        let request = self.client(peer).and_then(|client| client.requests.get_mut(&number));
        if let Some(request) = request {
            request.executed += 1;
            if request.executed > 1 {
                self.fail("twice", format!("request {number} ran twice"));
            }
        }
        let time = match self.random.below(20) {
            0 => self.random.between(5_000, 5_000_000),
            _ => self.random.between(50, 3_000),
        };
        if let Some(peer) = found {
            let life = self.peers[peer].life;
            let event = Event::Worked { peer, life, asker, id: target.id, epoch };
            self.at(self.now + time, event);
        }
    }

    /// A container has worked its answer out.
    pub(crate) fn worked(
        &mut self,
        index: usize,
        alive: bool,
        asker: Asking,
        id: &ContainerId,
        epoch: Epoch,
    ) {
        let local = self.peers[index].clock.instant(self.now);
        let lost = |kind| Err(NetworkError::maybe_processed(kind, "lost"));
        let target = Target { id: id.clone(), epoch: Some(epoch) };
        let result = match self.agent(index).filter(|_| alive) {
            None => lost(ErrorKind::Unavailable),
            Some(agent) if agent.table.find(&target).is_none() => lost(ErrorKind::ContainerEnded),
            Some(agent) => agent.table.confirm(local, id, epoch),
        };
        if result.is_ok() {
            self.check_told(index, id, epoch);
        }
        self.reply(asker, result);
    }

    fn reply(&mut self, asker: Asking, result: Result<(), NetworkError>) {
        let Asking { peer, life, number } = asker;
        let time = self.random.between(100, 5_000);
        self.at(self.now + time, Event::DirectAnswer { peer, life, number, result });
    }
}
