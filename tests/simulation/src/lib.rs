//! The network's state machines on a simulated network and clock.
//!
//! The same registry, agent table, membership, references, connections and
//! retries that ship, moved by events in virtual time instead of sockets and timers. A seed
//! decides everything, so the same seed gives the same history byte for byte.
//!
//! | module | what it does |
//! |---|---|
//! | `random` | numbers of a seed |
//! | `plan` | what people and misfortune do, and when |
//! | `world` | virtual time, and what happens next |
//! | `steps` | the plan's steps, done |
//! | `transport` | how messages travel, connections break and peers come back |
//! | `link`, `sessions` | who there is, the lines between them, and the server's ends of these |
//! | `names` | of containers, agents, clients and connections |
//! | `coordinator`, `orders`, `proxy` | the thin driver of the registry, and of what passes through the coordinator |
//! | `agent`, `audience` | the thin driver of an agent's table and membership, and who listens to its containers |
//! | `client`, `follow`, `links` | the thin driver of a client's references and retries, of its connections, and of its paths |
//! | `requests` | requests to containers, from a client's handle to the answer |
//! | `check`, `check_connections` | what must be true after every step, and in the end |
//! | `shrink` | the shortest plan that still fails |
//! | `mutants` | the deliberate defects that must be found |
//!
//! The transport is TCP: nothing is lost, doubled or reordered within one
//! connection. What was under way when a connection broke is asked again over
//! the next one, and the window of the bus keeps it from running twice; orders
//! are doubled next to each other, and different connections and tasks
//! overtake.

#![expect(
    clippy::indexing_slicing,
    reason = "nodes are named by their place in lists that the world itself made and never shortens"
)]

mod agent;
mod audience;
mod check;
mod check_connections;
mod client;
mod coordinator;
mod follow;
mod link;
mod links;
pub mod mutants;
mod names;
mod orders;
pub mod plan;
mod proxy;
mod random;
mod requests;
mod sessions;
pub mod shrink;
mod steps;
mod transport;
mod world;

pub use plan::Settings;
pub use world::{Failure, Outcome, run, run_seed};
