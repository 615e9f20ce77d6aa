//! Peers that come, are heard, and go.

use std::time::Duration;

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::ClientId;

use super::{Action, Registry, clients::Client, timers::Timer};

impl Registry {
    pub(crate) fn client_joined(
        &mut self,
        client: ClientId,
        alive_timeout: Duration,
        resumed: bool,
    ) {
        let lease = alive_timeout.clamp(self.config.shortest_lease, self.config.longest_lease);
        if resumed && mutant(Mutant::DeadAfterReconnect) {
            self.lose_client(&client);
            self.clients.insert(Client::new(client.clone(), lease, self.now));
        }
        match self.clients.get_mut(&client) {
            Some(known) => {
                known.lease = lease;
                known.expires = self.now + lease;
            }
            // It believes that its references still stand: they do not.
            None if resumed => return self.actions.push_back(Action::Forget(client)),
            None => _ = self.clients.insert(Client::new(client.clone(), lease, self.now)),
        }
        self.timers.set(Timer::Lease(client), self.now + lease);
    }

    /// Whether a peer lives: it said hello, and its lease goes on.
    #[must_use]
    pub fn knows(&self, peer: &ClientId) -> bool {
        self.clients.get(peer).is_some()
    }

    /// The lease that an agent is told. It serves for two thirds of it when it
    /// loses its coordinator, and the next one waits for it no longer than the
    /// recovery window.
    pub(crate) fn agents_lease(&self, peer: &Client) -> Duration {
        match self.config.recovery_window {
            Duration::ZERO => peer.lease,
            window => peer.lease.min(window),
        }
    }

    /// Renews a lease. The timer stays where it is and looks when it fires.
    pub(crate) fn client_alive(&mut self, client: &ClientId) {
        if let Some(client) = self.clients.get_mut(client) {
            client.expires = self.now + client.lease;
        }
    }

    pub(crate) fn lease_ended(&mut self, client: &ClientId) {
        let Some(known) = self.clients.get(client) else { return };
        let expires = known.expires;
        if expires > self.now {
            return self.timers.set(Timer::Lease(client.clone()), expires);
        }
        self.lose_client(client);
        self.actions.push_back(Action::Forget(client.clone()));
    }

    /// Releases everything that a peer held, waited for and was.
    pub(crate) fn lose_client(&mut self, client: &ClientId) {
        let Some((lost, held)) = self.drop_client(client) else { return };
        self.timers.cancel(&Timer::Lease(client.clone()));
        if !mutant(Mutant::LeakedWatchers) {
            self.events.unwatch(client);
        }
        let mut touched = self.waiters.cancel_client(client);
        touched.extend(held);
        for uuid in &touched {
            self.settle(uuid);
        }
        for agent in &lost.agents {
            self.lose_agent(agent);
        }
    }
}
