//! The table of references behind its lock, and who waits for its answers.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use hulynet_protocol::{ContainerId, ContainerRecord, Epoch, NetworkError};
use tokio::sync::{Notify, oneshot};

use crate::{
    references::{Action, References, Token},
    shared::lock,
};

type Located = Result<ContainerRecord, NetworkError>;

/// See the module's documentation. Every change wakes the driver.
#[derive(Debug, Default)]
pub(crate) struct Held {
    table: Mutex<References>,
    locating: Mutex<BTreeMap<Token, oneshot::Sender<Located>>>,
    releasing: Mutex<BTreeMap<Token, oneshot::Sender<()>>>,
    tokens: AtomicU64,
    changed: Notify,
}

impl Held {
    /// Changes the table.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut References) -> T) -> T {
        let result = change(&mut lock(&self.table));
        self.changed.notify_one();
        result
    }

    /// Reads the table.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&References) -> T) -> T {
        read(&lock(&self.table))
    }

    /// Ends when the table changed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn next_action(&self) -> Option<Action> {
        lock(&self.table).poll_action()
    }

    /// Asks where a container lives; see [`References::locate`].
    pub(crate) fn locate(&self, id: &ContainerId, tried: Epoch) -> oneshot::Receiver<Located> {
        let (answer, answered) = oneshot::channel();
        let token = self.token();
        lock(&self.locating).insert(token, answer);
        self.update(|table| table.locate(id, tried, token));
        answered
    }

    /// Drops a handle; see [`References::release`].
    pub(crate) fn release(&self, id: &ContainerId) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        let token = self.token();
        lock(&self.releasing).insert(token, answer);
        self.update(|table| table.release(id, token));
        answered
    }

    pub(crate) fn located(&self, token: Token, result: Located) {
        if let Some(answer) = lock(&self.locating).remove(&token) {
            // An asker that gave up meanwhile does not need the answer.
            let _gone = answer.send(result);
        }
    }

    pub(crate) fn released(&self, token: Token) {
        if let Some(answer) = lock(&self.releasing).remove(&token) {
            // As above.
            let _gone = answer.send(());
        }
    }

    fn token(&self) -> Token {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }
}
