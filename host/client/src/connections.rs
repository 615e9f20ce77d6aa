//! The open connections of a client: where each is attached, and its unread
//! events.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hulynet_protocol::{ConnectionId, ContainerId, ContainerRecord, Epoch, NetworkError};
use tokio::sync::Notify;

use crate::{
    mailbox::{ConnectionEvent, Mailbox},
    paths::Path,
    shared::lock,
};

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) path: Path,
    pub(crate) epoch: Epoch,
}

#[derive(Debug, Default)]
struct State {
    attached: Option<Attached>,
    /// What it was attached to is gone.
    disturbed: bool,
    mailbox: Mailbox,
    end: Option<Option<NetworkError>>,
    reader: Option<Waker>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) container: ContainerId,
    state: Mutex<State>,
    woken: Notify,
}

impl Slot {
    pub(crate) fn new(container: ContainerId) -> Self {
        Self { container, state: Mutex::new(State::default()), woken: Notify::new() }
    }

    /// An attempt to attach begins; its events may come before its answer.
    pub(crate) fn attach(&self, attached: Attached) {
        let mut state = lock(&self.state);
        state.attached = Some(attached);
        state.disturbed = false;
    }

    pub(crate) fn attached(&self) -> Option<Attached> {
        lock(&self.state).attached.clone()
    }

    /// Ends when the connection has to be attached again.
    pub(crate) async fn disturbed(&self) {
        while !lock(&self.state).disturbed {
            self.woken.notified().await;
        }
    }

    pub(crate) fn push(&self, event: ConnectionEvent) {
        self.change(|state| state.mailbox.push(event));
    }

    /// No event follows but the unread ones and the error.
    pub(crate) fn end(&self, error: Option<NetworkError>) {
        self.change(|state| state.end = Some(error));
    }

    pub(crate) fn poll(
        &self,
        context: &Context<'_>,
    ) -> Poll<Option<Result<ConnectionEvent, NetworkError>>> {
        let mut state = lock(&self.state);
        if let Some(event) = state.mailbox.pop() {
            return Poll::Ready(Some(Ok(event)));
        }
        if let Some(end) = &mut state.end {
            return Poll::Ready(end.take().map(Err));
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let reader = {
            let mut state = lock(&self.state);
            change(&mut state);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn disturb_if(&self, concerned: impl FnOnce(&Attached) -> bool) {
        let mut state = lock(&self.state);
        if state.attached.as_ref().is_some_and(concerned) {
            state.disturbed = true;
            self.woken.notify_one();
        }
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Mutex<BTreeMap<ConnectionId, Arc<Slot>>>,
}

impl Connections {
    pub(crate) fn insert(&self, connection: ConnectionId, slot: Arc<Slot>) {
        lock(&self.slots).insert(connection, slot);
    }

    pub(crate) fn remove(&self, connection: &ConnectionId) {
        lock(&self.slots).remove(connection);
    }

    /// An event came; one of an older activation or on a path that the
    /// connection left is dropped.
    pub(crate) fn deliver(
        &self,
        connection: &ConnectionId,
        path: &Path,
        epoch: Epoch,
        payload: Bytes,
    ) {
        let slot = lock(&self.slots).get(connection).cloned();
        let Some(slot) = slot else {
            tracing::debug!(%connection, "an event for a connection that is closed");
            return;
        };
        let current = slot
            .attached()
            .is_some_and(|attached| attached.path == *path && attached.epoch == epoch);
        if current {
            slot.push(ConnectionEvent::Message(payload));
        } else {
            tracing::debug!(%connection, %epoch, "an event of an attachment that is over");
        }
    }

    /// The container's side ended the connection.
    pub(crate) fn disturb(&self, connection: &ConnectionId) {
        if let Some(slot) = lock(&self.slots).get(connection) {
            slot.disturb_if(|_| true);
        }
    }

    /// The other side of a path answered hello and has forgotten what was
    /// attached over it. `open` lets the path be taken again, and comes last:
    /// what is attached from then on the other side knows, so to disturb it
    /// would attach it twice.
    pub(crate) fn renew_path(&self, path: &Path, open: impl FnOnce()) {
        self.disturb_path(path);
        open();
    }

    /// Everything on the path is lost.
    pub(crate) fn disturb_path(&self, path: &Path) {
        self.each(|slot| slot.disturb_if(|attached| attached.path == *path));
    }

    /// The container has another activation or endpoint.
    pub(crate) fn moved(&self, record: &ContainerRecord) {
        self.each(|slot| {
            if slot.container == record.id {
                slot.disturb_if(|attached| attached.epoch < record.epoch);
            }
        });
    }

    fn each(&self, visit: impl FnMut(&Arc<Slot>)) {
        lock(&self.slots).values().for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{Kind, Uuid};

    use super::*;

    fn slot(connections: &Connections) -> Arc<Slot> {
        let uuid = Uuid::new("a").unwrap();
        let slot = Arc::new(Slot::new(ContainerId { kind: Kind::new("echo").unwrap(), uuid }));
        connections.insert(ConnectionId::random(), Arc::clone(&slot));
        slot
    }

    fn over(path: &Path) -> Attached {
        Attached { path: path.clone(), epoch: Epoch::default() }
    }

    #[test]
    fn what_is_attached_as_soon_as_a_path_is_open_again_is_not_attached_twice() {
        for path in [Path::Proxied, Path::Direct("host:1".into())] {
            let connections = Connections::default();
            let (quick, slow) = (slot(&connections), slot(&connections));
            quick.attach(over(&path));
            slow.attach(over(&path));
            // Other threads attach from the very moment at which the path is open.
            connections.renew_path(&path, || quick.attach(over(&path)));
            assert!(!lock(&quick.state).disturbed, "attached over the renewed path");
            assert!(lock(&slow.state).disturbed, "attached over the lost one");
        }
    }

    #[test]
    fn a_renewed_path_leaves_others_alone() {
        let connections = Connections::default();
        let elsewhere = slot(&connections);
        elsewhere.attach(over(&Path::Direct("host:2".into())));
        connections.renew_path(&Path::Direct("host:1".into()), || {});
        assert!(!lock(&elsewhere.state).disturbed);
    }
}
