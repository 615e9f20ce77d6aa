//! Who runs what, and who holds it: the network's rules as a pure state
//! machine.
//!
//! | file | what it decides |
//! |---|---|
//! | `agents` | who serves a kind, whose turn it is |
//! | `placement` | on which agent a container is started |
//! | `backoff` | which agents are spared which kinds after failures |
//! | `offers` | singletons and who stands by for them |
//! | `containers` | the containers and the indexes over them |
//! | `clients`, `leases` | who lives, what a dead peer leaves behind |
//! | `references` | who holds which container |
//! | `waiters` | requests that wait for a start or an end |
//! | `gets` | get, reclaim, release and terminate, as clients ask for them |
//! | `demand` | what a container does next, given who wants it |
//! | `starts`, `endings`, `strays` | the life of an activation |
//! | `drains` | agents that take no new containers because an operator wants it so |
//! | `registration` | agents that come, come back and go |
//! | `recovery` | what a coordinator that was just started may believe |
//! | `events`, `records`, `explain` | what watchers, lists and operators are told |
//! | `selection` | containers by their labels |
//! | `original` | what peers of the original network need beyond the calls |
//! | `routes` | where a proxied request goes |
//! | `timers`, `time`, `config` | when |
//! | `table`, `slots`, `packed` | how many of them fit into memory |
//!
//! Nothing here reads a clock, draws a random number or does IO, so that the
//! same inputs always give the same actions.

mod agents;
mod backoff;
mod clients;
mod config;
mod containers;
mod demand;
mod drains;
mod endings;
mod errors;
mod events;
mod explain;
mod gets;
mod invariants;
mod leases;
mod offers;
mod original;
mod packed;
mod placement;
mod records;
mod recovery;
mod references;
mod registration;
mod routes;
mod selection;
mod slots;
mod starts;
mod strays;
mod table;
mod time;
mod timers;
mod validate;
mod waiters;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use hulynet_protocol::{
    AgentId, Call, ClientId, ContainerId, Endpoint, Epoch, Load, NetworkError, NetworkEvent, Reply,
    StartContainer, Uuid,
};

pub use config::RegistryConfig;
pub use placement::Placement;
pub use routes::Route;
pub use time::Time;

use agents::Agents;
use backoff::Failing;
use clients::Clients;
use containers::Containers;
use events::Events;
use offers::Offers;
use placement::Random;
use recovery::Recovery;
use strays::Strays;
use timers::{Timer, Timers};
use waiters::Waiters;

/// Names one request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What happens to the registry.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer said hello.
    ClientJoined {
        /// Who.
        client: ClientId,
        /// The lease it wants.
        alive_timeout: Duration,
        /// Its session went on: it believes that it is still known.
        resumed: bool,
    },
    /// A peer was heard.
    ClientAlive(ClientId),
    /// A peer said goodbye or was lost.
    ClientLeft(ClientId),
    /// A peer asks something.
    Request {
        /// Who.
        client: ClientId,
        /// Names the request; never used twice.
        token: Token,
        /// What.
        call: Call,
    },
    /// A request was given up before it was answered.
    Cancelled(Token),
    /// What came of [`Action::Start`].
    Started {
        /// The agent that was asked.
        agent: AgentId,
        /// The container.
        id: ContainerId,
        /// The activation.
        epoch: Epoch,
        /// It runs, or why not.
        result: Result<(), NetworkError>,
    },
    /// The agent that was to start a container gave this one instead: one of
    /// its own that serves as well.
    Given {
        /// The agent that was asked.
        agent: AgentId,
        /// The container.
        id: ContainerId,
        /// The activation.
        epoch: Epoch,
        /// The name of the container that it gave.
        given: Uuid,
    },
    /// What came of [`Action::Terminate`].
    Terminated {
        /// The agent that was asked.
        agent: AgentId,
        /// The container.
        id: ContainerId,
        /// The activation.
        epoch: Epoch,
        /// Whether it ended, or answered *not yet*.
        result: Result<bool, NetworkError>,
    },
    /// What came of [`Action::Drain`].
    Drained {
        /// The request that wanted it.
        token: Token,
        /// The agent that was asked.
        agent: AgentId,
        /// What it takes from now on.
        result: Result<Load, NetworkError>,
    },
}

/// What the registry wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answer a request.
    Answer {
        /// Which.
        token: Token,
        /// With what.
        result: Result<Reply, NetworkError>,
    },
    /// Ask an agent to start a container; report [`Input::Started`].
    Start {
        /// The peer that is the agent.
        peer: ClientId,
        /// The agent.
        agent: AgentId,
        /// What to start.
        container: StartContainer,
    },
    /// Ask an agent to end a container; report [`Input::Terminated`].
    Terminate {
        /// The peer that is the agent.
        peer: ClientId,
        /// The agent.
        agent: AgentId,
        /// The container.
        id: ContainerId,
        /// The activation.
        epoch: Epoch,
        /// It may not answer *not yet*.
        force: bool,
    },
    /// Ask an agent to take no new containers, or to take them again; report
    /// [`Input::Drained`].
    Drain {
        /// The request that wants it.
        token: Token,
        /// The peer that is the agent.
        peer: ClientId,
        /// The agent.
        agent: AgentId,
        /// `false` ends it.
        drain: bool,
    },
    /// Tell watchers what changed.
    Notify {
        /// Whom.
        clients: Vec<ClientId>,
        /// What, in order.
        events: Vec<NetworkEvent>,
    },
    /// Forget a peer's session, so that it introduces itself again.
    Forget(ClientId),
}

/// The registry of the network.
///
/// Its driver calls [`handle`](Self::handle) for every input and
/// [`handle_timeout`](Self::handle_timeout) when
/// [`next_timeout`](Self::next_timeout) is reached; after each of them it takes
/// all actions with [`poll_action`](Self::poll_action) and carries them out in
/// order, then arms its one timer again. Time never goes backwards.
pub struct Registry {
    config: RegistryConfig,
    now: Time,
    recovery: Recovery,
    /// The epoch of the newest activation.
    epoch: Epoch,
    uuids: Box<dyn FnMut() -> Uuid + Send>,
    /// For choices among agents; seeded with the term.
    random: Random,
    agents: Agents,
    failing: Failing,
    offers: Offers,
    strays: Strays,
    containers: Containers,
    clients: Clients,
    waiters: Waiters,
    events: Events,
    /// Where announced containers were that run nowhere now.
    moving: BTreeMap<Uuid, (Endpoint, Epoch)>,
    timers: Timers,
    actions: VecDeque<Action>,
}

impl Registry {
    /// An empty registry. `term` is higher than that of every coordinator
    /// before; `uuids` makes names for containers that nobody named, each once.
    #[must_use]
    pub fn new(
        config: RegistryConfig,
        term: u64,
        uuids: impl FnMut() -> Uuid + Send + 'static,
    ) -> Self {
        let recovery_ends = Time::default() + config.recovery_window;
        let mut timers = Timers::default();
        timers.set(Timer::Recovery, recovery_ends);
        Self {
            config,
            now: Time::default(),
            recovery: Recovery::new(recovery_ends),
            epoch: Epoch { term, counter: 0 },
            uuids: Box::new(uuids),
            random: Random::new(term),
            agents: Agents::default(),
            failing: Failing::default(),
            offers: Offers::default(),
            strays: Strays::default(),
            containers: Containers::default(),
            clients: Clients::default(),
            waiters: Waiters::default(),
            events: Events::default(),
            moving: BTreeMap::new(),
            timers,
            actions: VecDeque::new(),
        }
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.enter(now);
        match input {
            Input::ClientJoined { client, alive_timeout, resumed } => {
                self.client_joined(client, alive_timeout, resumed);
            }
            Input::ClientAlive(client) => self.client_alive(&client),
            Input::ClientLeft(client) => self.lose_client(&client),
            Input::Request { client, token, call } => self.request(client, token, call),
            Input::Cancelled(token) => {
                if let Some(uuid) = self.waiters.cancel(token) {
                    self.settle(&uuid);
                }
            }
            Input::Started { agent, id, epoch, result } => {
                self.started(&agent, &id, epoch, result);
            }
            Input::Given { agent, id, epoch, given } => self.given(&agent, &id, epoch, given),
            Input::Terminated { agent, id, epoch, result } => {
                self.terminated(&agent, &id, epoch, result);
            }
            Input::Drained { token, agent, result } => self.drained(token, &agent, result),
        }
        self.leave();
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.enter(now);
        while let Some(timer) = self.timers.pop(self.now) {
            match timer {
                Timer::Recovery => self.recovery_ended(),
                Timer::Strays => self.strays_due(),
                Timer::Lease(client) => self.lease_ended(&client),
                Timer::Container(uuid) => self.container_due(&uuid),
            }
        }
        self.leave();
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        [self.timers.next(), self.events.due()].into_iter().flatten().min()
    }

    /// The next thing to do; `None` when everything was taken.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn enter(&mut self, now: Time) {
        debug_assert!(self.actions.is_empty(), "the actions of the last input were not taken");
        self.now = self.now.max(now);
    }

    fn leave(&mut self) {
        if let Some((clients, events)) = self.events.batch(self.now) {
            self.actions.push_back(Action::Notify { clients, events });
        }
    }

    fn request(&mut self, client: ClientId, token: Token, call: Call) {
        if self.clients.get(&client).is_none() {
            return self.answer(token, Err(errors::unknown_client(&client)));
        }
        self.client_alive(&client);
        match call {
            Call::Register(registration) => self.register(client, token, registration),
            Call::Unregister(agent) => self.unregister(&client, token, &agent),
            Call::Ended { agent, containers, load } => {
                self.reported_ended(&client, token, &agent, containers, load);
            }
            Call::Get { kind, options } => self.get(client, token, kind, options),
            Call::Reclaim { id, epoch, options } => self.reclaim(client, token, id, epoch, options),
            Call::Release(id) => self.release(&client, token, &id),
            Call::Terminate { target, force } => self.terminate(client, token, &target, force),
            Call::Drain { agent, drain } => self.drain(token, agent, drain),
            Call::Agents => self.list_agents(token),
            Call::Kinds => self.list_kinds(token),
            Call::List { kind, select } => self.list_containers(token, kind.as_ref(), &select),
            Call::Explain(uuid) => self.explain(token, &uuid),
            Call::Watch => self.watch(client, token),
            Call::Unwatch => {
                self.events.unwatch(&client);
                self.answer(token, Ok(Reply::Done));
            }
            Call::Start(_)
            | Call::Container(_)
            | Call::Limits(_)
            | Call::Connect { .. }
            | Call::Credit { .. }
            | Call::Disconnect { .. }
            | Call::Disconnected { .. }
            | Call::ReportKinds => self.answer(token, Err(errors::not_for_the_registry())),
        }
    }

    fn answer(&mut self, token: Token, result: Result<Reply, NetworkError>) {
        self.actions.push_back(Action::Answer { token, result });
    }
}
