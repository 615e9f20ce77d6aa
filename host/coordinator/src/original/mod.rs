//! The coordinator as peers of the original network know it.
//!
//! A translation, not a second set of rules: what such a peer asks becomes the
//! registry's own input, and the registry's answers and events become the JSON
//! that the peer expects. Kept here is only what the registry has no place
//! for: references as agents wrote them, records as they brought them, and the
//! order in which things came. Pure, like the registry.
//!
//! | file | what it holds |
//! |---|---|
//! | `asked` | requests to registry calls, and answers to JSON |
//! | `agents` | registrations, singletons, what agents are asked and answer |
//! | `facts` | what is known of agents and containers |
//! | `told` | events, in batches |

mod agents;
mod asked;
mod facts;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use hulynet_backrpc::records::Events;
use hulynet_protocol::{AgentId, ClientId, Snapshot, Uuid};

use crate::registry::Time;

pub use asked::{Asked, Sending, Wish};
use facts::{Agent, Container};

/// See the module. It listens from [`Desk::begin`] on, which is called when the
/// first peer of the original network says hello: before, it costs nothing.
#[derive(Debug, Default)]
pub struct Desk {
    listens: bool,
    now: Time,
    /// The peers that speak the language of the original.
    peers: BTreeSet<ClientId>,
    /// Counts agents and containers as they come.
    order: u64,
    agents: BTreeMap<AgentId, Agent>,
    containers: BTreeMap<Uuid, Container>,
    /// References that agents of the original gave, with the agent that did.
    references: BTreeMap<Uuid, (AgentId, String)>,
    /// Why the last start failed, while its failure is being handled.
    failure: Option<String>,
    events: Events,
    /// When they are told.
    due: Option<Time>,
}

impl Desk {
    /// Whether it listens to the registry.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// Listens from here on; what happened before is in the snapshot.
    pub fn begin(&mut self, now: Time, snapshot: Snapshot) {
        self.now = now;
        self.listens = true;
        for agent in &snapshot.agents {
            self.learn_agent(agent);
        }
        for container in snapshot.containers {
            self.learn_container(&container, &[]);
        }
    }

    /// A peer said hello in the language of the original.
    pub fn joined(&mut self, peer: ClientId) {
        self.peers.insert(peer);
    }

    /// A peer is gone.
    pub fn left(&mut self, peer: &ClientId) {
        self.peers.remove(peer);
    }

    /// Whether a peer speaks the language of the original.
    #[must_use]
    pub fn speaks(&self, peer: &ClientId) -> bool {
        self.peers.contains(peer)
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }
}
