//! Who there is, and the lines between them.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut, Index, IndexMut},
    time::{Duration, Instant},
};

use hulynet_protocol::{Call, ClientId, ConnectionId, Epoch, NetworkError, NetworkEvent, Reply};

use crate::{agent::Agent, client::Client};

/// What travels over a connection.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Hello(ClientId),
    Welcome {
        server: u64,
        resumed: bool,
    },
    AskHello,
    Ping,
    Pong,
    Request {
        id: u64,
        call: Box<Call>,
    },
    Response {
        id: u64,
        result: Box<Result<Reply, NetworkError>>,
    },
    Cancel {
        id: u64,
    },
    Events(Vec<NetworkEvent>),
    /// What a container sends on a connection.
    Broadcast {
        connection: ConnectionId,
        epoch: Epoch,
        number: u64,
    },
    Goodbye,
}

/// Where a line leads: to the coordinator, or to an agent of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Coordinator,
    Agent(usize),
}

/// A peer's line to a server: a session over one connection after another.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) connection: Option<u64>,
    pub(crate) joined: bool,
    pub(crate) heard: u64,
    pub(crate) pinged: u64,
    pub(crate) server: u64,
    /// Since when it is not joined.
    pub(crate) lost: u64,
    /// Nobody needs it any more: it ends with its last call.
    pub(crate) unused: bool,
    /// Calls in progress.
    pub(crate) calls: BTreeMap<u64, (Call, Pending)>,
    /// Calls that were given up while there was no connection.
    pub(crate) given_up: Vec<u64>,
}

/// A clock that runs a little too fast or too slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
    /// Its speed in thousandths.
    rate: u64,
}

impl Clock {
    pub(crate) fn new(base: Instant, rate: u64) -> Self {
        Self { base, rate }
    }

    /// What it shows at this time.
    pub(crate) fn elapsed(&self, now: u64) -> Duration {
        Duration::from_micros(now * self.rate / 1000)
    }

    pub(crate) fn instant(&self, now: u64) -> Instant {
        self.base + self.elapsed(now)
    }

    /// When it shows this.
    pub(crate) fn when(&self, local: Duration) -> u64 {
        (local.as_micros() as u64 * 1000).div_ceil(self.rate) + 1
    }

    pub(crate) fn when_instant(&self, local: Instant) -> u64 {
        self.when(local.saturating_duration_since(self.base))
    }
}

/// An agent or a client: one process that may end and come back.
pub(crate) struct Peer {
    pub(crate) id: ClientId,
    pub(crate) role: Role,
    pub(crate) clock: Clock,
    pub(crate) alive: bool,
    /// Counts its processes.
    pub(crate) life: u64,
    /// Its line to the coordinator, and a client's lines to agents.
    pub(crate) lines: BTreeMap<Place, Line>,
    /// Nothing passes before: to the coordinator, and from it.
    pub(crate) cut_up: u64,
    pub(crate) cut_down: u64,
    /// Nothing passes between it and agents or clients before.
    pub(crate) alone: u64,
    pub(crate) paused: u64,
    /// Messages to and from it take long before.
    pub(crate) slow: u64,
}

impl Peer {
    /// The line to a place; one that is made now when there is none.
    pub(crate) fn line(&mut self, place: Place) -> &mut Line {
        self.lines.entry(place).or_default()
    }

    /// Whether there is a session with the place.
    pub(crate) fn is_joined(&self, place: Place) -> bool {
        self.lines.get(&place).is_some_and(|line| line.joined)
    }
}

/// All peers, by number.
#[derive(Default)]
pub(crate) struct Peers(Vec<Peer>);

impl Deref for Peers {
    type Target = Vec<Peer>;

    fn deref(&self) -> &Vec<Peer> {
        &self.0
    }
}

impl DerefMut for Peers {
    fn deref_mut(&mut self) -> &mut Vec<Peer> {
        &mut self.0
    }
}

#[expect(clippy::indexing_slicing, reason = "peers are numbered once and never taken away")]
impl Index<usize> for Peers {
    type Output = Peer;

    fn index(&self, peer: usize) -> &Peer {
        &self.0[peer]
    }
}

#[expect(clippy::indexing_slicing, reason = "peers are numbered once and never taken away")]
impl IndexMut<usize> for Peers {
    fn index_mut(&mut self, peer: usize) -> &mut Peer {
        &mut self.0[peer]
    }
}

pub(crate) enum Role {
    Agent(Box<Agent>),
    Client(Box<Client>),
}

/// For what an answer is awaited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pending {
    /// An agent's register or report, and when it was sent.
    Register(Instant),
    Report(Instant),
    /// A client's job.
    Job(u64),
    /// A client's connection of this number attaches, or leaves.
    Connect(u64),
    Leave(u64),
    /// Nobody waits for what it says.
    Nothing,
}

/// A connection: who, and how far each direction is.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) peer: usize,
    pub(crate) life: u64,
    pub(crate) place: Place,
    /// The process at the other end.
    pub(crate) server: u64,
    pub(crate) last_up: u64,
    pub(crate) last_down: u64,
}
