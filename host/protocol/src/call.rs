//! Requests and replies between peers.
//!
//! One [`Call`] is the header of one request; its payload, where it has one,
//! travels as raw bytes beside it and is opaque to the network.

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, AgentId, AgentRecord, Amount, ClientId, ConnectionId, ContainerId, ContainerRecord,
    Endpoint, Epoch, Explanation, Flow, Kind, KindReport, Labels, LimitRecord, Load, NetworkError,
    Selector, Snapshot, Uuid,
};

/// Which container a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetOptions {
    /// This one, started if it is not live.
    pub uuid: Option<Uuid>,
    /// One whose labels contain all of these.
    pub labels: Labels,
    /// One whose labels meet these conditions. A new container gets the labels
    /// that they determine; where they leave a choice, `labels` must make it.
    pub select: Selector,
    /// Handed to the container when it is started, opaque to the network.
    pub extra: Vec<u8>,
    /// Where it is started, if it must be: rather on an agent that carries
    /// more of these labels. A preference, since a container that runs far
    /// away is better than one that does not run.
    pub near: Labels,
    /// Rather on an agent that carries none of these labels. Weighs more than
    /// `near`.
    pub avoid: Labels,
}

/// An agent introduces itself and what it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its id and address.
    pub endpoint: Endpoint,
    /// The kinds it serves.
    pub kinds: Vec<Kind>,
    /// Its labels.
    pub labels: Labels,
    /// The containers that it runs and serves: a coordinator gave them out.
    pub containers: Vec<Activation>,
    /// Those that it runs and that may live elsewhere: its lease ended since a
    /// coordinator confirmed them, and it serves none before it is told that it
    /// may; or nobody named their epoch yet, so that the coordinator which had
    /// them started may have given them up.
    pub doubtful: Vec<Activation>,
    /// How busy it is.
    pub load: Load,
    /// Singletons: containers that are to run somewhere as long as an agent
    /// offers them. The first agent that offers one runs it, the others wait
    /// in order.
    pub offers: Vec<ContainerId>,
}

/// One live activation, as an agent reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Its identity.
    pub id: ContainerId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its labels.
    pub labels: Labels,
}

/// The answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Activations that the agent must end: the containers live elsewhere. The
    /// epoch keeps a newer activation of the same container safe.
    pub terminate: Vec<(ContainerId, Epoch)>,
    /// How long the agent's lease lasts without a ping, in milliseconds. The
    /// agent stops serving at two thirds of it.
    pub lease_ms: u32,
    /// For a registration with doubtful containers while the coordinator does
    /// not know yet who else comes back: in how many milliseconds the agent is
    /// to register again. 0 when all that is not to end is confirmed.
    pub doubt_ms: u32,
}

/// The coordinator asks an agent to start a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartContainer {
    /// What to start.
    pub id: ContainerId,
    /// The epoch of the activation.
    pub epoch: Epoch,
    /// Its labels.
    pub labels: Labels,
    /// The first client's opaque argument.
    pub extra: Vec<u8>,
}

/// One activation of a container, as the addressee of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The container.
    pub id: ContainerId,
    /// The activation that the caller knows; `None` takes the live one.
    pub epoch: Option<Epoch>,
}

/// In whose name a request is made. Agents fill it in for their containers, so
/// a container cannot pretend to be somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The account, when there is one.
    pub account: Option<AccountId>,
    /// The containers that wait for the answer, the one that calls last; none
    /// when a client outside of the network calls. It shows circles, and how
    /// deep calls are nested.
    pub path: Vec<ContainerId>,
}

/// A request to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerCall {
    /// Its addressee.
    pub target: Target,
    /// The operation, by name.
    pub operation: String,
    /// In whose name.
    pub caller: Caller,
    /// A name for the work, the same when the caller repeats it; handed to
    /// the container.
    pub idempotency: Option<String>,
    /// Joins the log lines of one piece of work over all hops.
    pub trace: u128,
    /// Fire and forget: the reply only says whether it was accepted.
    pub send: bool,
}

/// What one peer asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    // To the coordinator, from agents.
    /// Register or renew an agent. Answer: [`Reply::Registered`].
    Register(Registration),
    /// Remove an agent. Answer: [`Reply::Done`].
    Unregister(AgentId),
    /// Renews an agent's lease, tells how busy it is and which of its
    /// containers ended by themselves. Answer: [`Reply::Done`].
    Ended {
        /// The agent.
        agent: AgentId,
        /// Which activations.
        containers: Vec<(ContainerId, Epoch)>,
        /// How busy it is.
        load: Load,
    },
    // To the coordinator, from clients.
    /// Find or start a container and hold it. Answer: [`Reply::Container`].
    Get {
        /// Of which kind.
        kind: Kind,
        /// Which one.
        options: GetOptions,
    },
    /// Hold again what was held before a reconnect. Answer: [`Reply::Container`].
    Reclaim {
        /// The container.
        id: ContainerId,
        /// The newest activation that the client knows: an older one is not
        /// what it held.
        epoch: Epoch,
        /// Its labels, in case that it must be started again.
        options: GetOptions,
    },
    /// Give up a reference. Answer: [`Reply::Done`], also when it was not held.
    Release(ContainerId),
    /// All agents. Answer: [`Reply::Agents`].
    Agents,
    /// All kinds, sorted, each once. Answer: [`Reply::Kinds`].
    Kinds,
    /// Containers, of one kind or of all. Answer: [`Reply::Containers`].
    List {
        /// The kind, or all.
        kind: Option<Kind>,
        /// Only those whose labels meet these conditions.
        select: Selector,
    },
    /// Everything about one container. Answer: [`Reply::Explanation`].
    Explain(Uuid),
    /// Begin network events with a snapshot. Answer: [`Reply::Snapshot`].
    Watch,
    /// Stop network events. Answer: [`Reply::Done`].
    Unwatch,
    // To an agent, from the coordinator.
    /// Start a container. Answer: [`Reply::Done`].
    Start(StartContainer),
    // To the coordinator from clients, and to an agent from the coordinator.
    /// End a container. From a client it ends whoever holds it. Answer:
    /// [`Reply::Terminated`].
    Terminate {
        /// Which.
        target: Target,
        /// `false` lets the container answer *not yet*.
        force: bool,
    },
    // To the coordinator (proxied) and to agents (direct).
    /// A request to a container. Answer: [`Reply::Payload`] or
    /// [`Reply::Stream`]; [`Reply::Done`] for a send.
    Container(ContainerCall),
    /// Receive what a container broadcasts. Answer: [`Reply::Done`]; then
    /// events until disconnected.
    Connect {
        /// The container.
        target: Target,
        /// The client's name for the connection.
        connection: ConnectionId,
        /// In whose name.
        caller: Caller,
        /// How much of it the client takes.
        flow: Flow,
    },
    /// The client of a connection takes more events. Answer: [`Reply::Done`];
    /// `UnknownContainer` when there is no such connection.
    Credit {
        /// The connection.
        connection: ConnectionId,
        /// What may be sent on it in all.
        credit: Amount,
    },
    /// End a connection. Answer: [`Reply::Done`], also when there was none.
    Disconnect {
        /// The connection.
        connection: ConnectionId,
    },
    /// A connection ended at the container's side. Answer: [`Reply::Done`].
    Disconnected {
        /// The connection.
        connection: ConnectionId,
        /// Why it must not be made again by itself: there was no room for its
        /// events.
        error: Option<NetworkError>,
    },
    // To the coordinator from clients, and to an agent from the coordinator.
    /// Let an agent take no new containers, or take them again. What it runs
    /// goes on as long as it is wanted. Answer of the agent: [`Reply::Load`]; of
    /// the coordinator: [`Reply::Agent`].
    Drain {
        /// The agent.
        agent: AgentId,
        /// `false` ends it.
        drain: bool,
    },
    // To an agent, from clients.
    /// Everything about its kinds. Answer: [`Reply::KindReports`].
    ReportKinds,
    // To the coordinator from clients, and to an agent from the coordinator.
    /// How much a container may use, and uses. Answer: [`Reply::Limits`].
    Limits(Target),
}

/// What a peer answers when a call succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It was done; there is nothing to tell.
    Done,
    /// To [`Call::Register`].
    Registered(Registered),
    /// To [`Call::Get`] and [`Call::Reclaim`].
    Container(ContainerRecord),
    /// To [`Call::Agents`].
    Agents(Vec<AgentRecord>),
    /// To [`Call::Kinds`].
    Kinds(Vec<Kind>),
    /// To [`Call::List`].
    Containers(Vec<ContainerRecord>),
    /// To [`Call::Explain`].
    Explanation(Box<Explanation>),
    /// To [`Call::Watch`].
    Snapshot(Snapshot),
    /// To [`Call::Terminate`]: whether it ended, or answered *not yet*.
    Terminated(bool),
    /// To [`Call::Container`]: the payload is beside it.
    Payload,
    /// To [`Call::Container`]: chunks follow.
    Stream,
    /// To [`Call::Drain`], from an agent: what it takes from now on.
    Load(Load),
    /// To [`Call::Drain`], from the coordinator.
    Agent(AgentRecord),
    /// To [`Call::ReportKinds`], sorted by kind.
    KindReports(Vec<KindReport>),
    /// To [`Call::Limits`].
    Limits(Vec<LimitRecord>),
}

/// Where an event goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Changes of the registry.
    Network(Vec<crate::NetworkEvent>),
    /// Broadcasts and sends of a container, the oldest first. Their payloads
    /// are one beside it: see [`crate::flow::join`].
    Container {
        /// The connections of the receiver that they are for.
        connections: Vec<ConnectionId>,
        /// The activation that sent them.
        epoch: Epoch,
        /// How many events before these were dropped, by the policy of the
        /// subscriber.
        missed: u64,
        /// The length of each; none for a single one.
        lengths: Vec<u32>,
    },
}

impl Event {
    /// One event of a container for one connection, after which nothing is
    /// missing.
    #[must_use]
    pub fn single(connection: ConnectionId, epoch: Epoch) -> Self {
        Self::Container { connections: vec![connection], epoch, missed: 0, lengths: Vec::new() }
    }
}

impl Caller {
    /// A call in the name of a client that stands outside of the network.
    #[must_use]
    pub fn outside(account: Option<AccountId>) -> Self {
        Self { account, path: Vec::new() }
    }

    /// The container that calls, when one does.
    #[must_use]
    pub fn container(&self) -> Option<&ContainerId> {
        self.path.last()
    }
}

/// Who may be addressed by a client id: the other end of a bus connection.
pub type PeerId = ClientId;
