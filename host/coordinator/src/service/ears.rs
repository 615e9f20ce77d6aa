//! Which connections of native clients lead to containers on agents of the
//! original network, where the coordinator hears them; pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hulynet_protocol::{
    Amount, Change, ClientId, ConnectionId, ContainerId, Epoch, ErrorKind, NetworkError, Uuid,
};
use tokio::sync::watch;

use super::connections::Attempt;

/// How many there may be: each is a connection of its own to an agent.
pub(crate) const EARS: usize = 1024;

/// How many bytes of events may wait for the clients of all of them together.
pub(crate) const UNREAD: usize = 256 << 20;

/// One connection, heard on behalf of a client.
#[derive(Clone, Debug)]
pub(crate) struct Ear {
    pub(crate) client: ClientId,
    pub(crate) connection: ConnectionId,
    pub(crate) attempt: Attempt,
    pub(crate) id: ContainerId,
    pub(crate) epoch: Epoch,
}

#[derive(Debug)]
struct Entry {
    ear: Ear,
    /// What the client takes in all. The one who hears ends when this does.
    credit: watch::Sender<Amount>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    entries: BTreeMap<ConnectionId, Entry>,
    by_container: BTreeMap<Uuid, BTreeSet<ConnectionId>>,
    pub(crate) unread: Unread,
}

impl Ears {
    /// Whether there may be another one.
    ///
    /// # Errors
    /// `Busy`.
    pub(crate) fn check(&self) -> Result<(), NetworkError> {
        if self.entries.len() < EARS {
            return Ok(());
        }
        Err(NetworkError::not_processed(
            ErrorKind::Busy,
            format!(
                "the coordinator hears {EARS} containers on agents of the original network \
                 already; end some connections to them"
            ),
        ))
    }

    /// Adds one, in place of a former of the same connection; gives the credit
    /// to follow.
    pub(crate) fn begin(&mut self, ear: Ear, credit: Amount) -> watch::Receiver<Amount> {
        self.forget(&ear.connection);
        let (credit, granted) = watch::channel(credit);
        let container = self.by_container.entry(ear.id.uuid.clone()).or_default();
        container.insert(ear.connection.clone());
        self.entries.insert(ear.connection.clone(), Entry { ear, credit });
        self.unread.share(self.entries.len());
        granted
    }

    /// The client takes more. `false` when there is no such ear.
    pub(crate) fn grant(&self, connection: &ConnectionId, credit: Amount) -> bool {
        let Some(entry) = self.entries.get(connection) else { return false };
        entry.credit.send_modify(|granted| *granted = granted.max(credit));
        true
    }

    /// Ends one; answers whether there was one.
    pub(crate) fn forget(&mut self, connection: &ConnectionId) -> bool {
        let Some(Entry { ear, .. }) = self.entries.remove(connection) else { return false };
        if let Some(all) = self.by_container.get_mut(&ear.id.uuid) {
            all.remove(connection);
            if all.is_empty() {
                self.by_container.remove(&ear.id.uuid);
            }
        }
        self.unread.share(self.entries.len());
        true
    }

    /// Ends one, unless its connection was made again since.
    pub(crate) fn end(&mut self, connection: &ConnectionId, attempt: Attempt) -> Option<Ear> {
        let entry = self.entries.get(connection).filter(|entry| entry.ear.attempt == attempt)?;
        let ear = entry.ear.clone();
        self.forget(connection);
        Some(ear)
    }

    /// Those whose activation ended by a change.
    pub(crate) fn ended_by(&self, change: &Change) -> Vec<(ConnectionId, Attempt)> {
        let (uuid, lives) = match change {
            Change::ContainerUpdated(record) => (&record.id.uuid, Some(record.epoch)),
            Change::ContainerRemoved { id, .. } => (&id.uuid, None),
            _ => return Vec::new(),
        };
        let all = self.by_container.get(uuid).into_iter().flatten();
        all.filter_map(|connection| self.entries.get(connection))
            .filter(|Entry { ear, .. }| lives != Some(ear.epoch))
            .map(|Entry { ear, .. }| (ear.connection.clone(), ear.attempt))
            .collect()
    }
}

/// The bytes that wait for the clients of all ears, and the part that each may
/// have for sure.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    bytes: Arc<AtomicUsize>,
    part: Arc<AtomicUsize>,
}

impl Default for Unread {
    fn default() -> Self {
        Self { bytes: Arc::default(), part: Arc::new(AtomicUsize::new(UNREAD)) }
    }
}

impl Unread {
    fn share(&self, ears: usize) {
        self.part.store(UNREAD / ears.max(1), Ordering::Relaxed);
    }

    /// What one ear may have.
    pub(crate) fn part(&self) -> usize {
        self.part.load(Ordering::Relaxed)
    }

    /// Whether there is room for one event that is larger than a part.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        self.bytes.load(Ordering::Relaxed) + bytes <= UNREAD
    }

    /// Counts bytes until they leave.
    pub(crate) fn count(&self, bytes: usize) -> Counted {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Counted { bytes, all: Arc::clone(&self.bytes) }
    }
}

/// Bytes that wait.
#[derive(Debug)]
pub(crate) struct Counted {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::Kind;

    use super::*;

    fn named(name: &str) -> ConnectionId {
        ConnectionId::new(name).unwrap()
    }

    fn ear(connection: &str, container: &str, counter: u64) -> Ear {
        let (kind, uuid) = (Kind::new("ts").unwrap(), Uuid::new(container).unwrap());
        Ear {
            client: ClientId::new("c").unwrap(),
            connection: named(connection),
            attempt: Attempt::default(),
            id: ContainerId { kind, uuid },
            epoch: Epoch { term: 1, counter },
        }
    }

    fn removed(container: &str) -> Change {
        let Ear { id, epoch, .. } = ear("any", container, 0);
        Change::ContainerRemoved { id, epoch }
    }

    #[test]
    fn who_hears_ends_with_its_connection_and_not_with_another_attempt() {
        let mut ears = Ears::default();
        let first = ears.begin(ear("1", "a", 1), Amount::default());
        let second = ears.begin(ear("1", "a", 1), Amount::default());
        assert!(first.has_changed().is_err(), "it was made again");
        assert!(ears.grant(&named("1"), Amount { events: 2, bytes: 9 }));
        // One that comes late takes nothing back.
        assert!(ears.grant(&named("1"), Amount { events: 1, bytes: 10 }));
        assert_eq!(*second.borrow(), Amount { events: 2, bytes: 10 });
        assert!(ears.forget(&named("1")) && !ears.forget(&named("1")));
        assert!(second.has_changed().is_err());
        assert!(ears.by_container.is_empty() && !ears.grant(&named("1"), Amount::default()));
    }

    #[test]
    fn a_container_that_ended_is_not_heard_any_more() {
        let mut ears = Ears::default();
        let _kept: Vec<_> = [("1", "a"), ("2", "a"), ("3", "b")]
            .map(|(connection, container)| {
                ears.begin(ear(connection, container, 1), Amount::ENDLESS)
            })
            .into();
        let ended: Vec<_> =
            ears.ended_by(&removed("a")).into_iter().map(|(name, _)| name).collect();
        assert_eq!(ended, [named("1"), named("2")]);
        assert!(ears.end(&named("1"), Attempt::default()).is_some());
        assert_eq!(ears.ended_by(&removed("a")).len(), 1);
        assert_eq!(ears.ended_by(&removed("c")), []);
    }

    #[test]
    fn the_ears_and_what_waits_for_them_are_bounded() {
        let mut ears = Ears::default();
        assert_eq!(ears.unread.part(), UNREAD);
        let _kept: Vec<_> = (0..EARS)
            .map(|number| {
                ears.check().unwrap();
                ears.begin(ear(&number.to_string(), "a", 1), Amount::ENDLESS)
            })
            .collect();
        assert_eq!(ears.check().unwrap_err().kind, ErrorKind::Busy);
        assert_eq!(ears.unread.part(), UNREAD / EARS);
        let counted = ears.unread.count(UNREAD);
        assert!(!ears.unread.takes(1));
        drop(counted);
        assert!(ears.unread.takes(UNREAD));
        ears.forget(&named("7"));
        assert!(ears.check().is_ok());
    }
}
