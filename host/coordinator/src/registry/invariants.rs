//! What must be true after every step.

use super::{Registry, containers::State, timers::Timer};

impl Registry {
    /// Checks that the tables agree with one another; for tests and
    /// simulations, in time proportional to everything that there is.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_invariants(&self) -> Result<(), String> {
        let require = |condition: bool, what: &str| {
            if condition { Ok(()) } else { Err(what.to_owned()) }
        };
        require(self.agents.is_consistent(), "the index of agents by kind is wrong")?;
        require(self.clients.is_consistent(), "a client is not found by its name")?;
        require(self.containers.is_consistent(), "an index of containers is wrong")?;
        require(self.waiters.is_consistent(), "an index of waiting requests is wrong")?;
        require(self.timers.is_consistent(), "the two views of the timers differ")?;
        require(self.offers.is_consistent(), "the two views of the offers differ")?;
        for (uuid, agent) in self.offers.iter() {
            require(
                self.agents.get(agent).is_some(),
                &format!("the agent {agent}, which is gone, offers {uuid}"),
            )?;
            require(
                self.containers.get(uuid).is_some(),
                &format!("{uuid} is offered and does not exist"),
            )?;
        }
        require(
            self.strays.is_empty() || self.timers.is_set(&Timer::Strays),
            "nothing ends the activations that are nobody's",
        )?;
        for agent in self.strays.keys() {
            require(
                self.agents.get(agent).is_some(),
                &format!("the agent {agent}, which is gone, is to end something"),
            )?;
        }
        for agent in self.failing.agents() {
            require(
                self.agents.get(agent).is_some(),
                &format!("the failures of the agent {agent}, which is gone, are remembered"),
            )?;
        }

        for (id, agent) in self.agents.iter() {
            let owner = self.clients.get(&agent.peer);
            require(
                owner.is_some_and(|client| client.agents.contains(id)),
                &format!("the agent {id} belongs to no living peer"),
            )?;
        }
        self.check_references()?;
        for (_, client) in self.clients.iter() {
            let id = &client.id;
            require(
                self.timers.is_set(&Timer::Lease(id.clone())),
                &format!("the lease of {id} has no timer"),
            )?;
            for agent in &client.agents {
                require(
                    self.agents.get(agent).is_some_and(|agent| agent.peer == *id),
                    &format!("{id} claims the agent {agent}"),
                )?;
            }
        }
        for client in self.waiters.clients().chain(self.events.watchers()) {
            require(
                self.clients.get(client).is_some(),
                &format!("{client} is gone and still waits or watches"),
            )?;
        }
        for uuid in self.waiters.containers() {
            require(
                self.containers.get(uuid).is_some(),
                &format!("a request waits for {uuid}, which does not exist"),
            )?;
        }
        for timer in self.timers.armed() {
            let owned = match timer {
                Timer::Recovery => true,
                Timer::Strays => !self.strays.is_empty(),
                Timer::Lease(client) => self.clients.get(client).is_some(),
                Timer::Container(uuid) => self.containers.get(uuid).is_some(),
            };
            require(owned, &format!("{timer:?} belongs to nobody"))?;
        }
        for uuid in self.moving.keys() {
            let known = self.containers.get(uuid).is_some();
            require(known, &format!("{uuid} moves and does not exist"))?;
        }
        self.containers.iter().try_for_each(|container| {
            let id = &container.id;
            if let Some(place) = container.state().place() {
                require(
                    self.agents.get(&place.agent).is_some(),
                    &format!("{id} is placed on {}, which is gone", place.agent),
                )?;
                require(place.epoch <= self.epoch, &format!("{id} has an epoch of the future"))?;
            }
            let moves = container.announced
                && matches!(container.state(), State::Vacant { .. } | State::Starting(_));
            require(
                moves == self.moving.contains_key(&id.uuid),
                &format!("what a snapshot tells of {id} is not what watchers were told"),
            )?;
            let wanted = !container.holders.is_empty()
                || self.waiters.any(&id.uuid, |_| true)
                || self.offers.is_offered(id);
            let moves = self.timers.is_set(&Timer::Container(id.uuid.clone()));
            match container.state() {
                State::Vacant { .. } => require(wanted, &format!("nobody wants the vacant {id}")),
                State::Running(_) => require(
                    self.is_unused(&id.uuid) == moves,
                    &format!("{id} is unused without an end, or ends though it is used"),
                ),
                State::Starting(_) | State::Terminating(..) => {
                    require(moves, &format!("nothing ends the wait for {id}"))
                }
            }
        })
    }
}
