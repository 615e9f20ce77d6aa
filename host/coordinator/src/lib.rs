//! The coordinator: it knows who runs what and who holds it.
//!
//! [`original`] translates for peers of the original network, also without IO.
//! [`registry`] holds every decision and does no IO; [`Coordinator`] moves
//! bytes and time between it and the bus.

pub mod original;
pub mod registry;
mod service;

pub use service::{Coordinator, CoordinatorConfig};
