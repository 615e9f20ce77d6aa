//! What clients ask for: get, reclaim, release, terminate.

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{
    Change, ClientId, ContainerId, Epoch, GetOptions, Kind, Labels, NetworkError, Reason, Reply,
    Retry, Target, Uuid,
};

use super::{
    Registry, Token,
    containers::{Container, State},
    errors,
    placement::{Affinity, Choice},
    selection::containing,
    timers::Timer,
    validate,
    waiters::{Waiter, Wish},
};

impl Registry {
    /// By uuid, else by labels, else one shared container per agent in turn.
    /// Within the recovery window a named container that nobody brought back
    /// yet is waited for: an agent may still run it.
    pub(crate) fn get(&mut self, client: ClientId, token: Token, kind: Kind, options: GetOptions) {
        if let Err(error) = validate::options(&options) {
            return self.answer(token, Err(error));
        }
        let waiter = Waiter { token, client, wish: Wish::Hold };
        let GetOptions { uuid, mut labels, mut select, extra, near, avoid } = options;
        let affinity = Affinity::new(near, avoid);
        let by_labels = !labels.is_empty() || !select.is_empty();
        let named = uuid.is_some();
        let uuid = match uuid {
            Some(uuid) => self.another_that_starts(&kind).unwrap_or(uuid),
            None if by_labels => {
                select.0.extend(containing(&labels).0);
                let best = self.containers.best(&kind, &select);
                match best.filter(|_| !mutant(Mutant::UnmatchedLabels)) {
                    Some(uuid) => uuid,
                    None => {
                        labels.extend(select.determined());
                        if !select.matches(&labels) {
                            let error = errors::undetermined(&kind, &select);
                            return self.answer(token, Err(error));
                        }
                        if let Err(error) = validate::labels("the request", &labels) {
                            return self.answer(token, Err(error));
                        }
                        self.fresh_uuid()
                    }
                }
            }
            None => return self.get_shared(waiter, kind, extra, affinity),
        };
        let mut wanted = Container::vacant(ContainerId { kind, uuid }, &labels, extra);
        wanted.affinity = affinity;
        if named && self.is_recovering() {
            wanted = wanted.recovering();
        }
        self.want(wanted, waiter);
    }

    /// The deliberate defect that confuses containers while they start.
    fn another_that_starts(&self, kind: &Kind) -> Option<Uuid> {
        if !mutant(Mutant::AnyThatStarts) {
            return None;
        }
        let mut all = self.containers.iter().filter(|other| other.id.kind == *kind);
        let found = all.find(|other| matches!(other.state(), State::Starting(_)))?;
        Some(found.id.uuid.clone())
    }

    /// Those who name neither a uuid nor labels share one container per agent.
    fn get_shared(
        &mut self,
        waiter: Waiter,
        kind: Kind,
        extra: Vec<u8>,
        affinity: Option<Box<Affinity>>,
    ) {
        let fresh = self.fresh_uuid();
        let made = |uuid| {
            let id = ContainerId { kind: kind.clone(), uuid };
            let mut wanted = Container::vacant(id, &Labels::new(), extra);
            wanted.affinity.clone_from(&affinity);
            wanted.to_share = true;
            wanted
        };
        match self.place_shared(&kind, &fresh, affinity.as_deref()) {
            Choice::Agent(agent, _) => match self.containers.shared(&agent, &kind).cloned() {
                Some(uuid) => self.want(made(uuid), waiter),
                None => {
                    self.containers.insert(made(fresh.clone()));
                    self.waiters.add(&fresh, waiter);
                    self.start_at(&fresh, agent, Reason::Shared);
                }
            },
            // All who come meanwhile wait for the same one.
            Choice::Later(_) => {
                let waiting = self.containers.to_share(&kind).cloned();
                self.want(made(waiting.unwrap_or(fresh)), waiter);
            }
            Choice::Nobody(error) => self.answer(waiter.token, Err(error)),
            Choice::Exhausted => {
                let error = errors::unknown_kind(&kind, self.agents.kinds());
                self.answer(waiter.token, Err(error));
            }
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
        epoch: Epoch,
        options: GetOptions,
    ) {
        if let Err(error) = validate::options(&options) {
            return self.answer(token, Err(error));
        }
        self.held_before(&id, epoch);
        let uuid = id.uuid.clone();
        let mut wanted = Container::vacant(id, &options.labels, options.extra);
        wanted.affinity = Affinity::new(options.near, options.avoid);
        if self.is_recovering() {
            wanted = wanted.recovering();
        }
        // An agent that brought it back could not bring what only clients know.
        if let Some(known) = self.containers.get_mut(&uuid)
            && known.extra.is_empty()
            && !known.labels.are_of_another(&wanted.labels)
        {
            known.extra.clone_from(&wanted.extra);
            known.affinity.clone_from(&wanted.affinity);
        }
        self.want(wanted, Waiter { token, client, wish: Wish::Hold });
    }

    /// Joins the container with this uuid, or makes the wanted one.
    fn want(&mut self, wanted: Container, waiter: Waiter) {
        let uuid = wanted.id.uuid.clone();
        if mutant(Mutant::PoisonedStart)
            && let Some(failure) = self.failing.last(self.now, &uuid)
        {
            return self.answer(waiter.token, Err(failure.error));
        }
        match self.containers.get(&uuid) {
            Some(found) if found.id.kind != wanted.id.kind && !mutant(Mutant::AnyKind) => {
                let error = errors::other_kind(&wanted.id, &found.id.kind);
                return self.answer(waiter.token, Err(error));
            }
            Some(found) if found.labels.are_of_another(&wanted.labels) => {
                // One that may not even start takes its name from nobody for long.
                let runs = matches!(found.state(), State::Running(_));
                let retry = if runs { Retry::Final } else { Retry::NotProcessed };
                let error = errors::other_tenant(&wanted.id, retry);
                return self.answer(waiter.token, Err(error));
            }
            Some(_) => {}
            None => self.containers.insert(wanted),
        }
        self.waiters.add(&uuid, waiter);
        self.settle(&uuid);
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
        if self.containers.get(&id.uuid).is_some_and(|container| container.id.kind == id.kind)
            && !mutant(Mutant::LostRelease)
            && self.let_go(client, &id.uuid)
        {
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
            None => Some(errors::nothing_to_end(id)),
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
        self.moving.remove(uuid);
        self.note_epoch(uuid, container.state().epoch());
        if container.announced && !mutant(Mutant::MergedEvents) {
            self.events.push(Change::ContainerRemoved {
                epoch: container.state().epoch(),
                id: container.id,
            });
        }
        self.want_offered(uuid);
    }
}
