//! The connections behind a door.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::account::Account;

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// Names it; never used again.
    pub(crate) number: u64,
    /// Its routing id at the ROUTER.
    pub(crate) route: Bytes,
    /// Where it comes from.
    pub(crate) from: SocketAddr,
    /// What waits to be sent to it.
    pub(crate) account: Arc<Account>,
    pub(super) kicked: Notify,
}

/// Marks the routing ids of the door.
const MARK: u8 = b'#';

impl Link {
    pub(super) fn new(number: u64, from: SocketAddr) -> Self {
        let mut route = vec![MARK];
        route.extend_from_slice(&number.to_be_bytes());
        let (route, account) = (Bytes::from(route), Arc::default());
        Self { number, route, from, account, kicked: Notify::new() }
    }

    /// Ends the connection.
    pub(crate) fn kick(&self) {
        self.kicked.notify_one();
    }
}

/// All connections that passed the handshake.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<HashMap<u64, Arc<Link>>>);

impl Links {
    /// The number that a routing id carries.
    pub(crate) fn number(route: &[u8]) -> Option<u64> {
        let number = route.strip_prefix(&[MARK])?;
        Some(u64::from_be_bytes(number.try_into().ok()?))
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<Link>> {
        self.lock().get(&number).cloned()
    }

    /// Whether all that was queued has left.
    pub(crate) fn are_drained(&self) -> bool {
        self.lock().values().all(|link| link.account.is_empty())
    }

    pub(super) fn insert(&self, link: Arc<Link>) {
        self.lock().insert(link.number, link);
    }

    pub(super) fn remove(&self, number: u64) {
        self.lock().remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Link>>> {
        // Nothing panics while it is held, and a map is always whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
