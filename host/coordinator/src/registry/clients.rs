//! The peers that said hello: their leases, what they hold, the agents they are.

use std::{collections::BTreeSet, time::Duration};

use hulynet_protocol::{AgentId, ClientId};

use super::{
    slots::SlotSet,
    table::{Named, Table},
    time::Time,
};

/// One living peer.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    /// How long it may be silent.
    pub(crate) lease: Duration,
    /// When its lease ends unless it is heard before.
    pub(crate) expires: Time,
    /// The containers that it holds references to.
    pub(crate) held: SlotSet,
    /// The agents that registered over its session.
    pub(crate) agents: BTreeSet<AgentId>,
}

impl Client {
    pub(crate) fn new(id: ClientId, lease: Duration, now: Time) -> Self {
        let (held, agents) = (SlotSet::default(), BTreeSet::new());
        Self { id, lease, expires: now + lease, held, agents }
    }
}

impl Named for Client {
    type Name = ClientId;

    fn name(&self) -> &ClientId {
        &self.id
    }
}

/// All living peers.
pub(crate) type Clients = Table<Client>;
