//! The agent: a host that runs containers.
//!
//! Every `.wasm` in the plugin directory is a kind; a container is one live,
//! isolated instance of it. The coordinator says which containers to start,
//! clients talk to them directly or through the coordinator, and containers
//! reach other containers and documents through capabilities that the agent
//! hands out.
//!
//! | module | what it does |
//! |---|---|
//! | `engine` | the one constructor of the WebAssembly engine |
//! | `plugins` | files to code: checks, compiles, keeps, watches |
//! | `container` | how one runs |
//! | `capabilities` | what containers may import |
//! | `service` | moves bytes and time between them |
//! | `world` | the two worlds of the contract |
//!
//! Which containers there are, who may talk to them and until when is decided
//! by the crate `hulynet-agent-table`; what a kind may ask for, what it is
//! granted and how much it may use by `hulynet-agent-kinds`.

mod bindings;
#[cfg(test)]
mod bounds;
mod capabilities;
mod config;
mod container;
mod engine;
mod error;
mod network;
mod plugins;
mod service;
mod world;

pub use config::AgentConfig;
pub use engine::prepare_thread;
pub use error::AgentError;
pub use hulynet_agent_kinds::{
    Capabilities, ContainerLimits, Grants, KeyError, Manifest, PrivateKey, PublicKey, Terms,
};
pub use network::{Answer, Chunks, Events, Network, Outgoing, Reference};
pub use plugins::{Inspection, KindPolicy, inspect, sign, verify};
pub use service::Agent;
pub use world::World;
