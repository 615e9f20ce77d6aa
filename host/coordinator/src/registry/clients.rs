//! The peers that said hello: their leases, what they hold, the agents they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hulynet_protocol::{AgentId, ClientId, Uuid};

use super::time::Time;

/// One living peer.
#[derive(Debug)]
pub(crate) struct Client {
    /// How long it may be silent.
    pub(crate) lease: Duration,
    /// When its lease ends unless it is heard before.
    pub(crate) expires: Time,
    /// The containers that it holds references to.
    pub(crate) held: BTreeSet<Uuid>,
    /// The agents that registered over its session.
    pub(crate) agents: BTreeSet<AgentId>,
}

impl Client {
    pub(crate) fn new(lease: Duration, now: Time) -> Self {
        Self { lease, expires: now + lease, held: BTreeSet::new(), agents: BTreeSet::new() }
    }
}

/// All living peers.
pub(crate) type Clients = BTreeMap<ClientId, Client>;
