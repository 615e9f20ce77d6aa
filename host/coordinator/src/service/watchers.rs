//! Watchers that were too slow for an event.
//!
//! One whose queue is full misses events, which it cannot know before it sees
//! a later revision. So the newest event that it missed is kept and sent as
//! soon as there is room: the gap before it makes the watcher ask for a fresh
//! snapshot.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hulynet_bus::Server;
use hulynet_protocol::{ClientId, ErrorKind, Event, NetworkError, NetworkEvent};
use tokio::time::{Instant, sleep_until};

/// How often a watcher that missed events is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// The newest event that each slow watcher missed.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    behind: BTreeMap<ClientId, NetworkEvent>,
    /// When they are tried again; nothing when there are none.
    again: Option<Instant>,
}

impl Watchers {
    pub(crate) fn tell(&mut self, server: &Server, clients: &[ClientId], events: &[NetworkEvent]) {
        let Some(newest) = events.last() else { return };
        for client in clients {
            if let Some(missed) = self.behind.get_mut(client) {
                *missed = newest.clone();
            } else if is_busy(&send(server, client, events.to_vec())) {
                tracing::warn!(%client, "watcher is too slow and misses events");
                self.behind.insert(client.clone(), newest.clone());
            }
        }
        if !self.behind.is_empty() && self.again.is_none() {
            self.again = Some(Instant::now() + AGAIN);
        }
    }

    /// Ends when slow watchers are to be tried again; never when there are
    /// none.
    pub(crate) async fn due(&self) {
        match self.again {
            Some(again) => sleep_until(again).await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn tell_again(&mut self, server: &Server) {
        self.behind.retain(|client, missed| is_busy(&send(server, client, vec![missed.clone()])));
        self.again = (!self.behind.is_empty()).then(|| Instant::now() + AGAIN);
    }

    pub(crate) fn forget(&mut self, client: &ClientId) {
        self.behind.remove(client);
    }
}

fn send(server: &Server, client: &ClientId, events: Vec<NetworkEvent>) -> Result<(), NetworkError> {
    server.event(client, Event::Network(events), Bytes::new())
}

/// Any other failure means that the watcher is gone or reconnecting, and then
/// watches anew.
fn is_busy(sent: &Result<(), NetworkError>) -> bool {
    sent.as_ref().is_err_and(|error| error.kind == ErrorKind::Busy)
}
