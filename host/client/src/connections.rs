//! The open connections of a client: where each is attached, and its unread
//! events.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hulynet_protocol::{
    Amount, ConnectionId, ContainerId, ContainerRecord, Epoch, Flow, NetworkError, Policy,
    flow::split,
};
use tokio::sync::Notify;

use crate::{
    attachment::{Attached, Attachment},
    mailbox::{ConnectionEvent, Mailbox},
    paths::Path,
    shared::lock,
};

#[derive(Debug)]
struct State {
    attachment: Attachment,
    mailbox: Mailbox,
    end: Option<Option<NetworkError>>,
    reader: Option<Waker>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) container: ContainerId,
    policy: Policy,
    state: Mutex<State>,
    disturbed: Notify,
    due: Notify,
}

impl Slot {
    pub(crate) fn new(container: ContainerId, policy: Policy, attachment: Attachment) -> Self {
        let state = State { attachment, mailbox: Mailbox::default(), end: None, reader: None };
        let state = Mutex::new(state);
        Self { container, policy, state, disturbed: Notify::new(), due: Notify::new() }
    }

    /// Changes where it is attached.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Attachment) -> T) -> T {
        change(&mut lock(&self.state).attachment)
    }

    /// Ends when there were news from outside.
    pub(crate) async fn disturbed(&self) {
        self.disturbed.notified().await;
    }

    pub(crate) fn push(&self, event: ConnectionEvent) {
        self.change(|state| state.mailbox.push(event));
    }

    /// What the container sent, after a gap of so many; not when it belongs to
    /// an attachment that is over.
    fn hear(&self, path: &Path, epoch: Epoch, missed: u64, events: &[Bytes]) -> bool {
        let reader = {
            let mut state = lock(&self.state);
            if !state.attachment.accepts(path, epoch) {
                return false;
            }
            if missed > 0 {
                state.mailbox.push(ConnectionEvent::Missed(missed));
            }
            events.iter().for_each(|event| state.mailbox.hear(event.clone()));
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// On which terms it is attached anew.
    pub(crate) fn flow(&self) -> Flow {
        let (heard, credit) = lock(&self.state).mailbox.window.begin();
        Flow { policy: self.policy, heard, credit }
    }

    /// What the other side is to be granted now, and where that is;
    /// [`Self::asked`] tells what became of it.
    pub(crate) fn ask(&self) -> Option<(Attached, Amount)> {
        let mut state = lock(&self.state);
        let asked = (state.attachment.attached()?.clone(), state.mailbox.window.due()?);
        state.mailbox.window.ask();
        Some(asked)
    }

    /// What the other side knows of what it was to be granted.
    pub(crate) fn asked(&self, granted: Option<Amount>) {
        lock(&self.state).mailbox.window.asked(granted);
    }

    /// Ends when there is something to grant.
    pub(crate) async fn due(&self) {
        self.due.notified().await;
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
            let is_due = state.mailbox.window.due().is_some();
            drop(state);
            if is_due {
                self.due.notify_one();
            }
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

    pub(crate) fn disturb(&self, news: impl FnOnce(&mut Attachment)) {
        self.update(news);
        self.disturbed.notify_one();
    }
}

/// What an event says beside whom it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'event> {
    pub(crate) epoch: Epoch,
    pub(crate) missed: u64,
    pub(crate) lengths: &'event [u32],
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

    /// Events came; those of an older activation or on a path that the
    /// connection left are dropped.
    pub(crate) fn deliver(
        &self,
        path: &Path,
        connections: &[ConnectionId],
        sent: &Sent<'_>,
        payload: &Bytes,
    ) {
        let events = split(sent.lengths, payload);
        for connection in connections {
            let slot = lock(&self.slots).get(connection).cloned();
            let Some(slot) = slot else {
                tracing::debug!(%connection, "events for a connection that is closed");
                continue;
            };
            match &events {
                Ok(events) if slot.hear(path, sent.epoch, sent.missed, events) => {}
                Ok(_) => {
                    tracing::debug!(%connection, epoch = %sent.epoch, "events of an attachment that is over");
                }
                // What they were is not known, so there is a gap.
                Err(error) => {
                    tracing::warn!(%connection, %error, "events cannot be read; connecting again");
                    slot.disturb(Attachment::disturb);
                }
            }
        }
    }

    /// The container's side ended the connection; with an error it is over.
    pub(crate) fn ended(&self, connection: &ConnectionId, error: Option<NetworkError>) {
        if let Some(slot) = lock(&self.slots).get(connection) {
            slot.disturb(|attachment| match error {
                Some(error) => attachment.end(error),
                None => attachment.disturb(),
            });
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
        self.each(|slot| slot.disturb(|attachment| attachment.lost_path(path)));
    }

    /// The container has another activation or endpoint.
    pub(crate) fn moved(&self, record: &ContainerRecord) {
        self.each(|slot| {
            if slot.container == record.id {
                slot.disturb(|attachment| attachment.moved(record.epoch));
            }
        });
    }

    fn each(&self, visit: impl FnMut(&Arc<Slot>)) {
        lock(&self.slots).values().for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use hulynet_protocol::{Kind, Uuid};

    use super::*;
    use crate::attachment::Step;

    fn slot(connections: &Connections, path: &Path) -> Arc<Slot> {
        let container =
            ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() };
        let long = Duration::from_secs(60);
        let slot = Arc::new(Slot::new(
            container,
            Policy::default(),
            Attachment::new(Instant::now(), long, long),
        ));
        connections.insert(ConnectionId::random(), Arc::clone(&slot));
        attach(&slot, path);
        slot
    }

    fn attach(slot: &Slot, path: &Path) {
        slot.update(|attachment| {
            attachment.routed(Attached { path: path.clone(), epoch: Epoch::default() });
            attachment.connected(Instant::now());
        });
    }

    fn is_attached(slot: &Slot) -> bool {
        slot.update(|attachment| attachment.step(Instant::now())) == Step::Wait(None)
    }

    #[test]
    fn what_is_attached_as_soon_as_a_path_is_open_again_is_not_attached_twice() {
        for path in [Path::Proxied, Path::Direct("host:1".into())] {
            let connections = Connections::default();
            let (quick, slow) = (slot(&connections, &path), slot(&connections, &path));
            // Other threads attach from the very moment at which the path is open.
            connections.renew_path(&path, || attach(&quick, &path));
            assert!(is_attached(&quick), "attached over the renewed path");
            assert!(!is_attached(&slow), "attached over the lost one");
        }
    }

    #[test]
    fn a_renewed_path_leaves_others_alone() {
        let connections = Connections::default();
        let elsewhere = slot(&connections, &Path::Direct("host:2".into()));
        connections.renew_path(&Path::Direct("host:1".into()), || {});
        assert!(is_attached(&elsewhere));
    }
}
