//! The clients that are connected to this container.

use serde::Serialize;

use crate::{Result, host};

/// Sends an event as JSON to every connection. Never waits: each connection
/// has a bounded queue of its own, and one that does not read loses events and
/// is told how many, or is closed.
///
/// # Errors
/// `application` when the event has no JSON form, `too-large` over 16 MiB.
pub fn broadcast<T: Serialize + ?Sized>(event: &T) -> Result<()> {
    broadcast_bytes(&encode(event)?)
}

/// [`broadcast`] for events that are not JSON.
///
/// # Errors
/// `too-large` over 16 MiB.
pub fn broadcast_bytes(event: &[u8]) -> Result<()> {
    host::broadcast(event)
}

/// Sends an event as JSON to one connection, by the name that `#[connect]` was
/// told.
///
/// # Errors
/// `unknown-container` when there is no such connection, `busy` when its queue
/// is full, and as [`broadcast`].
pub fn send<T: Serialize + ?Sized>(connection: &str, event: &T) -> Result<()> {
    send_bytes(connection, &encode(event)?)
}

/// [`send`] for events that are not JSON.
///
/// # Errors
/// As [`send`].
pub fn send_bytes(connection: &str, event: &[u8]) -> Result<()> {
    host::send(connection, event)
}

fn encode<T: Serialize + ?Sized>(event: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(event)
        .map_err(|cause| crate::Error::application(format!("the event has no JSON form: {cause}")))
}
