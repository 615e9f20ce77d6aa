//! Everything about one container, straight from the state.

use hulynet_protocol::{ClientId, Endpoint, Explanation, Phase, Reply, Uuid, limits};

use super::{
    Registry, Token,
    backoff::millis,
    containers::{Ending, State},
    errors,
    timers::Timer,
    waiters::Wish,
};

impl Registry {
    /// Where a container runs, why there, since when, who holds it, what it
    /// waits for and what failed last.
    pub(crate) fn explain(&mut self, token: Token, uuid: &Uuid) {
        let last_failure = self.failing.last(self.now, uuid);
        let Some(container) = self.containers.get(uuid) else {
            return self.answer(token, Err(errors::not_live(uuid, last_failure)));
        };
        let phase = match container.state() {
            State::Vacant { recovering: true, .. } => Phase::Recovering,
            State::Vacant { .. } => Phase::Vacant,
            State::Starting(_) => Phase::Starting,
            State::Running(_) => Phase::Running,
            State::Terminating(_, Ending { asked: true, .. }) => Phase::Ending,
            State::Terminating(..) => Phase::Draining,
        };
        let endpoint = container.state().place().map(|place| Endpoint {
            agent: place.agent.clone(),
            address: self.agents.get(&place.agent).and_then(|a| a.endpoint.address.clone()),
        });
        let next = self.timers.at(&Timer::Container(uuid.clone()));
        let explanation = Explanation {
            id: container.id.clone(),
            labels: container.labels.unpack(),
            phase,
            endpoint,
            reason: container.reason,
            epoch: container.state().epoch(),
            since_ms: millis(self.now.since(container.since)),
            holders: self.holders(container).take(limits::EXPLAINED).cloned().collect(),
            holder_count: container.holders.len() as u64,
            waiting: self.wishing(uuid, |wish| wish == Wish::Hold),
            ending: self.wishing(uuid, |wish| wish != Wish::Hold),
            next_ms: next.map(|at| millis(at.since(self.now))),
            offered_by: self.offers.queue(&container.id).to_vec(),
            failures: container.failures,
            last_failure,
        };
        self.answer(token, Ok(Reply::Explanation(Box::new(explanation))));
    }

    fn wishing(&self, uuid: &Uuid, matches: impl Fn(Wish) -> bool) -> Vec<ClientId> {
        let waiters = self.waiters.of(uuid).iter().filter(|waiter| matches(waiter.wish));
        waiters.take(limits::EXPLAINED).map(|waiter| waiter.client.clone()).collect()
    }
}
