//! The coordinator: it knows who runs what and who holds it.
//!
//! [`registry`] holds every decision and does no IO; [`Coordinator`] moves
//! bytes and time between it and the bus.

pub mod registry;
mod service;

pub use service::{Coordinator, CoordinatorConfig};
