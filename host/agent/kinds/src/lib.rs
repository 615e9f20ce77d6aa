//! The decisions of an agent about kinds, without IO and without wasmtime.
//!
//! | module | what it decides |
//! |---|---|
//! | [`directory`] | which files of the plugin directory are complete |
//! | [`catalog`] | the life of every kind, from its file to its last container |
//! | [`signature`] | who vouches for a kind |
//! | [`capability`] | what can be asked for and granted |
//! | [`limits`] | how much a container may use |
//! | [`manifest`] | what a kind says about itself: `NAME.toml` beside `NAME.wasm` |
//! | [`grants`] | what the operator allows, by kind and by tenant |
//! | [`terms`] | on what terms a kind is served, or why it is not |

pub mod capability;
pub mod catalog;
pub mod directory;
pub mod grants;
pub mod limits;
pub mod manifest;
pub mod signature;
pub mod terms;

pub use capability::{Capabilities, Capability, Names};
pub use catalog::Catalog;
pub use directory::{Directory, Source, Stamp};
pub use grants::{Grants, Total};
pub use limits::{ContainerLimits, WrittenLimits};
pub use manifest::{Concurrency, Manifest, Termination};
pub use signature::{KeyError, PrivateKey, PublicKey};
pub use terms::{Disagreement, Imports, Terms};
