//! Unit tests of a kind, in a native build and without a network.
//!
//! A method of a kind is a plain method: most tests call it. [`Container`]
//! runs the kind as an agent would, from operation names and payloads to
//! answers. What the kind sends to its connections and what it spawns is kept
//! for the test, on the test's thread.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::host::{self, unbound};
use crate::{Caller, Context, Labels};

pub use crate::kind::{Container, Request};

/// What a kind sent to its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// To which one; `None` is to all.
    pub connection: Option<String>,
    /// What.
    pub payload: Vec<u8>,
}

/// The circumstances of a request for an account.
#[must_use]
pub fn context(account: Option<&str>) -> Context {
    let caller = Caller(host::Caller { account: account.map(str::to_owned), path: Vec::new() });
    Context { caller, timeout: Duration::from_secs(30), idempotency: None, trace: 0 }
}

/// A request by nobody.
#[must_use]
pub fn request(operation: &str, payload: impl Into<Vec<u8>>) -> Request {
    Request { operation: operation.to_owned(), payload: payload.into(), context: context(None) }
}

/// The labels that [`identity`](crate::identity::identity) tells from here on.
pub fn set_labels(labels: Labels) {
    unbound::LABELS.set(labels);
}

/// Takes what was sent so far.
#[must_use]
pub fn take_sent() -> Vec<Sent> {
    unbound::SENT.take()
}

/// Runs what was [spawned](crate::spawn) until all of it has ended.
pub async fn run_spawned() {
    let mut running = FuturesUnordered::new();
    loop {
        running.extend(unbound::SPAWNED.take());
        if running.next().await.is_none() {
            return;
        }
    }
}
