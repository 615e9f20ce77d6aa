//! What clients ask for: get, reclaim, release, terminate.

use hulynet_protocol::{
    AgentId, Change, ClientId, ContainerId, GetOptions, Kind, NetworkError, Reply, Retry, Target,
    Uuid,
};

use super::{
    Registry, Token,
    containers::{Container, State},
    errors,
    timers::Timer,
    validate,
    waiters::{Waiter, Wish},
};

impl Registry {
    /// By uuid, else by labels, else one shared container per agent in turn.
    pub(crate) fn get(&mut self, client: ClientId, token: Token, kind: Kind, options: GetOptions) {
        if let Err(error) = check(&options) {
            return self.answer(token, Err(error));
        }
        let waiter = Waiter { token, client, wish: Wish::Hold };
        let GetOptions { uuid, labels, extra } = options;
        if let Some(uuid) = uuid {
            let wanted = Container::vacant(ContainerId { kind, uuid }, labels, extra);
            return self.want(wanted, waiter, None);
        }
        if !labels.is_empty() {
            let uuid = match self.containers.labelled(&kind, &labels) {
                Some(uuid) => uuid.clone(),
                None => self.fresh_uuid(),
            };
            let wanted = Container::vacant(ContainerId { kind, uuid }, labels, extra);
            return self.want(wanted, waiter, None);
        }
        let Some(agent) = self.agents.next(&kind) else {
            let error = errors::unknown_kind(&kind, self.agents.kinds());
            return self.answer(token, Err(error));
        };
        let shared = self.containers.shared(&agent, &kind).cloned();
        let uuid = shared.clone().unwrap_or_else(|| self.fresh_uuid());
        let id = ContainerId { kind: kind.clone(), uuid: uuid.clone() };
        self.want(Container::vacant(id, labels, extra), waiter, Some(&agent));
        if shared.is_none() {
            self.containers.set_shared(agent, kind, uuid);
        }
    }

    /// Like a get by uuid, for a client that held the container before a
    /// reconnect. Within the recovery window a container that nobody brought
    /// back yet is waited for rather than started a second time.
    pub(crate) fn reclaim(
        &mut self,
        client: ClientId,
        token: Token,
        id: ContainerId,
        options: GetOptions,
    ) {
        if let Err(error) = check(&options) {
            return self.answer(token, Err(error));
        }
        let uuid = id.uuid.clone();
        let mut wanted = Container::vacant(id, options.labels, options.extra);
        if self.now < self.recovery_ends {
            wanted = wanted.recovering();
        }
        // An agent that brought it back could not bring its extra.
        if let Some(known) = self.containers.get_mut(&uuid)
            && known.extra.is_empty()
        {
            known.extra.clone_from(&wanted.extra);
        }
        self.want(wanted, Waiter { token, client, wish: Wish::Hold }, None);
    }

    /// Joins the container with this uuid, or makes the wanted one.
    fn want(&mut self, wanted: Container, waiter: Waiter, preferred: Option<&AgentId>) {
        let uuid = wanted.id.uuid.clone();
        match self.containers.get(&uuid) {
            Some(found) if found.id.kind != wanted.id.kind => {
                let error = errors::other_kind(&wanted.id, &found.id.kind);
                return self.answer(waiter.token, Err(error));
            }
            Some(_) => {}
            None => self.containers.insert(wanted),
        }
        self.waiters.add(&uuid, waiter);
        match preferred {
            Some(agent) if self.is_vacant(&uuid) => self.start(&uuid, Some(agent)),
            _ => self.settle(&uuid),
        }
    }

    fn is_vacant(&self, uuid: &Uuid) -> bool {
        self.containers.get(uuid).is_some_and(|c| matches!(c.state(), State::Vacant { .. }))
    }

    fn fresh_uuid(&mut self) -> Uuid {
        loop {
            let uuid = (self.uuids)();
            if self.containers.get(&uuid).is_none() {
                return uuid;
            }
        }
    }

    /// Idempotent: what is not held is released already.
    pub(crate) fn release(&mut self, client: &ClientId, token: Token, id: &ContainerId) {
        if let Some(container) = self.containers.get_mut(&id.uuid)
            && container.id.kind == id.kind
            && container.holders.remove(client)
        {
            if let Some(client) = self.clients.get_mut(client) {
                client.held.remove(&id.uuid);
            }
            self.settle(&id.uuid);
        }
        self.answer(token, Ok(Reply::Done));
    }

    /// Ends a container whoever holds it. Those who asked for it while it was
    /// starting are served first; those who ask while it ends get a new
    /// activation.
    pub(crate) fn terminate(
        &mut self,
        client: ClientId,
        token: Token,
        target: &Target,
        force: bool,
    ) {
        let id = &target.id;
        let refusal = match self.containers.get(&id.uuid) {
            None => Some(errors::unknown_container(id, Retry::Final)),
            Some(found) if found.id.kind != id.kind => Some(errors::other_kind(id, &found.id.kind)),
            Some(found) => target
                .epoch
                .filter(|epoch| *epoch != found.state().epoch())
                .map(|epoch| errors::stale_epoch(id, epoch, found.state().epoch())),
        };
        if let Some(error) = refusal {
            return self.answer(token, Err(error));
        }
        if self.is_vacant(&id.uuid) {
            self.fail_holds(&id.uuid, &errors::ended_while_wanted(id));
            self.drop_holders(&id.uuid);
            self.settle(&id.uuid);
            return self.answer(token, Ok(Reply::Terminated(true)));
        }
        self.waiters.add(&id.uuid, Waiter { token, client, wish: Wish::End { force } });
        self.settle(&id.uuid);
    }

    /// Takes a container's references away.
    pub(crate) fn drop_holders(&mut self, uuid: &Uuid) {
        let Some(container) = self.containers.get_mut(uuid) else { return };
        for holder in std::mem::take(&mut container.holders) {
            if let Some(client) = self.clients.get_mut(&holder) {
                client.held.remove(uuid);
            }
        }
    }

    /// Answers everybody who waits to hold a container with an error.
    pub(crate) fn fail_holds(&mut self, uuid: &Uuid, error: &NetworkError) {
        for waiter in self.waiters.take(uuid, |wish| wish == Wish::Hold) {
            self.answer(waiter.token, Err(error.clone()));
        }
    }

    /// Takes a container that runs nowhere out of the network.
    pub(crate) fn remove(&mut self, uuid: &Uuid) {
        self.timers.cancel(&Timer::Container(uuid.clone()));
        let Some(container) = self.containers.remove(uuid) else { return };
        if container.announced {
            self.events.push(Change::ContainerRemoved {
                epoch: container.state().epoch(),
                id: container.id,
            });
        }
    }
}

fn check(options: &GetOptions) -> Result<(), NetworkError> {
    validate::labels("the request", &options.labels)?;
    validate::extra(&options.extra)
}
