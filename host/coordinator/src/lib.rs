//! The coordinator: it knows who runs what and who holds it.
//!
//! [`registry`] holds every decision and does no IO; [`original`] translates
//! for peers of the original network, without IO either; [`Coordinator`] moves
//! bytes and time between them and the bus.

pub mod original;
pub mod registry;
mod service;

pub use service::{Coordinator, CoordinatorConfig, connections};
