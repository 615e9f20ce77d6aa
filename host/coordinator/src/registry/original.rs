//! What peers of the original network need to know beyond the calls: they name
//! containers by uuid only, and know no epochs.

use hulynet_protocol::{
    Activation, AgentId, Change, ClientId, ContainerId, Epoch, ErrorKind, NetworkError, Snapshot,
    Uuid,
};

use super::{
    Registry,
    containers::{Container, Place, State},
    waiters::Wish,
};

impl Registry {
    /// Peers of the original network are there from here on: every change is
    /// told with [`super::Action::Notify`], even when no client watches, and
    /// turns begin as they know it. Gives what was before.
    pub fn observe(&mut self) -> Snapshot {
        self.events.observe();
        self.agents.begin_with_the_second();
        self.snapshot()
    }

    /// What has changed and was not told yet, in order.
    pub fn untold(&self) -> impl Iterator<Item = &Change> {
        self.events.pending()
    }

    /// Whether a peer joined and is not lost.
    #[must_use]
    pub fn is_living(&self, client: &ClientId) -> bool {
        self.clients.get(client).is_some()
    }

    /// The container with this uuid, whatever its kind.
    #[must_use]
    pub fn identity(&self, uuid: &Uuid) -> Option<&ContainerId> {
        self.containers.get(uuid).map(|container| &container.id)
    }

    /// Whether a container will be known or running soon: it is being started,
    /// or its agent may still bring it back after the coordinator's start.
    #[must_use]
    pub fn is_coming(&self, uuid: &Uuid) -> bool {
        match self.containers.get(uuid).map(Container::state) {
            None | Some(State::Vacant { .. }) => self.is_recovering(),
            Some(State::Starting(_)) => true,
            Some(State::Running(_) | State::Terminating(..)) => false,
        }
    }

    /// What a container is started with.
    #[must_use]
    pub fn extra(&self, uuid: &Uuid) -> &[u8] {
        self.containers.get(uuid).map_or(&[], |container| &container.extra)
    }

    /// Whether a container is the one that its agent gives to those who name
    /// neither a uuid nor labels.
    #[must_use]
    pub fn is_shared(&self, agent: &AgentId, id: &ContainerId) -> bool {
        self.containers.shared(agent, &id.kind) == Some(&id.uuid)
    }

    /// The epochs of containers that an agent brings without knowing them: its
    /// own where it has them already, the oldest for those that live
    /// elsewhere, so that the first agent wins, and new ones for the others.
    #[must_use]
    pub fn activations(&self, agent: &AgentId, brought: Vec<ContainerId>) -> Vec<Activation> {
        let mut newest = self.epoch;
        let mut epoch = |id: &ContainerId| match self
            .containers
            .get(&id.uuid)
            .and_then(|known| known.state().place())
        {
            Some(place) if place.agent == *agent => place.epoch,
            Some(_) => Epoch::default(),
            None => {
                newest = newest.next();
                newest
            }
        };
        let activation = |id: ContainerId| {
            let epoch = epoch(&id);
            let known = self.containers.get(&id.uuid);
            let labels = known.map(|known| known.labels.unpack()).unwrap_or_default();
            Activation { id, epoch, labels }
        };
        brought.into_iter().map(activation).collect()
    }

    /// An agent that was to start a container gave one that may have another
    /// name: who waited gets that one.
    pub(crate) fn given(&mut self, agent: &AgentId, id: &ContainerId, epoch: Epoch, given: Uuid) {
        if given == id.uuid {
            return self.started(agent, id, epoch, Ok(()));
        }
        let place = Place { agent: agent.clone(), epoch };
        let asked = self.containers.get(&id.uuid);
        // Given up meanwhile: what the agent gave is its own.
        let Some(asked) = asked.filter(|asked| *asked.state() == State::Starting(place.clone()))
        else {
            return;
        };
        let labels = asked.labels.unpack();
        let found = ContainerId { kind: id.kind.clone(), uuid: given };
        match self.containers.get(&found.uuid) {
            None => {
                self.containers.insert(Container::vacant(found.clone(), &labels, Vec::new()));
                self.enter_state(&found.uuid, State::Starting(place));
                self.run(&found.uuid);
            }
            Some(known) if is_at(known, agent, &found) => {}
            Some(_) => {
                let why = format!("it gave the container {}, which lives elsewhere", found.uuid);
                let error = NetworkError::not_processed(ErrorKind::Protocol, why);
                return self.start_failed(&id.uuid, &error);
            }
        }
        let waiters = self.waiters.take(&id.uuid, |wish| wish == Wish::Hold);
        self.answer_ends(&id.uuid);
        self.enter_state(&id.uuid, State::Vacant { last: epoch, recovering: false });
        self.containers.set_shared(agent.clone(), found.kind, &found.uuid);
        for waiter in waiters {
            self.waiters.add(&found.uuid, waiter);
        }
        self.settle(&id.uuid);
        self.settle(&found.uuid);
    }
}

fn is_at(container: &Container, agent: &AgentId, id: &ContainerId) -> bool {
    let at = container.state().place().is_some_and(|place| place.agent == *agent);
    at && container.id == *id
}
