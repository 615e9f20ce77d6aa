//! Watching the network.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures::Stream;
use hulynet_protocol::{Call, NetworkError, NetworkEvent, Reply, Snapshot};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    client::Client,
    feed::{Feed, WatchEvent},
    retry::pause,
    shared::{Shared, closed, lock, unexpected},
};

#[derive(Debug)]
struct State {
    feed: Feed,
    ended: bool,
    reader: Option<Waker>,
}

#[derive(Debug)]
struct Watcher {
    state: Mutex<State>,
    /// The feed may want a snapshot.
    changed: Notify,
}

impl Watcher {
    fn update(&self, change: impl FnOnce(&mut State)) {
        let reader = {
            let mut state = lock(&self.state);
            change(&mut state);
            state.reader.take()
        };
        self.changed.notify_one();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// All watchers of a client.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    list: Mutex<BTreeMap<u64, Arc<Watcher>>>,
    next: AtomicU64,
    /// Held while the coordinator is asked to begin or to end its events, so
    /// that the end for one watcher never follows the beginning for another.
    subscription: tokio::sync::Mutex<()>,
}

impl Watchers {
    /// Hello was answered: events may have been lost before.
    pub(crate) fn restart(&self) {
        self.each(|watcher| watcher.update(|state| state.feed.restart()));
    }

    pub(crate) fn changes(&self, events: &[NetworkEvent]) {
        self.each(|watcher| {
            watcher.update(|state| {
                events.iter().cloned().for_each(|event| state.feed.change(event));
            });
        });
    }

    fn each(&self, visit: impl FnMut(&Arc<Watcher>)) {
        lock(&self.list).values().for_each(visit);
    }
}

/// The network as it changes; a [`Stream`] of [`WatchEvent`]s that begins with
/// a snapshot and has no gaps. It ends when the client is closed.
#[derive(Debug)]
pub struct Watch {
    watcher: Arc<Watcher>,
    _client: Client,
    _stop: DropGuard,
}

impl Stream for Watch {
    type Item = WatchEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        let mut state = lock(&self.watcher.state);
        if let Some(event) = state.feed.pop() {
            return Poll::Ready(Some(event));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(context.waker().clone());
        // Reading on is what lets a feed that fell behind ask for a snapshot.
        self.watcher.changed.notify_one();
        Poll::Pending
    }
}

pub(crate) async fn begin(client: &Client) -> Result<Watch, NetworkError> {
    let shared = client.shared();
    let watcher = Arc::new(Watcher {
        state: Mutex::new(State { feed: Feed::new(), ended: false, reader: None }),
        changed: Notify::new(),
    });
    let stop = shared.closed.child_token();
    let watch = Watch {
        watcher: Arc::clone(&watcher),
        _client: client.clone(),
        _stop: stop.clone().drop_guard(),
    };
    let number = shared.watchers.next.fetch_add(1, Ordering::Relaxed);
    lock(&shared.watchers.list).insert(number, Arc::clone(&watcher));
    let keeper = Keeper { shared: Arc::clone(shared), number, watcher, stop };
    // A task of its own, so that an asker that goes away leaves no watcher
    // behind that nobody reads.
    let (begun, answer) = oneshot::channel();
    shared.tasks.spawn(keeper.keep(begun));
    answer.await.unwrap_or_else(|_| Err(closed())).map(|()| watch)
}

/// Gives one watcher the snapshots that it needs.
struct Keeper {
    shared: Arc<Shared>,
    number: u64,
    watcher: Arc<Watcher>,
    stop: CancellationToken,
}

impl Keeper {
    /// Tells how the first question ended.
    async fn keep(self, first: oneshot::Sender<Result<(), NetworkError>>) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = async {
                let begun = self.refresh().await;
                // Who gave up meanwhile, or is told of a failure, stops this.
                drop(first.send(begun));
                self.follow().await;
            } => {}
        }
        self.watcher.update(|state| state.ended = true);
        self.leave().await;
    }

    async fn follow(&self) {
        let mut failures = 0;
        loop {
            match self.refresh().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    tracing::warn!(%error, "the network cannot be watched now");
                    sleep(pause(failures)).await;
                    failures += 1;
                    continue;
                }
            }
            self.watcher.changed.notified().await;
        }
    }

    /// Asks for the snapshot that the feed wants, if it wants one.
    async fn refresh(&self) -> Result<(), NetworkError> {
        let _subscription = self.shared.watchers.subscription.lock().await;
        let Some(round) = lock(&self.watcher.state).feed.wants_snapshot() else { return Ok(()) };
        let snapshot = self.snapshot().await?;
        self.watcher.update(|state| state.feed.snapshot(round, snapshot));
        Ok(())
    }

    async fn snapshot(&self) -> Result<Snapshot, NetworkError> {
        let watch = self.shared.coordinator.ask(Call::Watch, self.shared.deadline());
        match watch.await?.reply {
            Reply::Snapshot(snapshot) => Ok(snapshot),
            other => Err(unexpected("a watch", &other)),
        }
    }

    /// The last watcher ends the coordinator's events.
    async fn leave(&self) {
        lock(&self.shared.watchers.list).remove(&self.number);
        let _subscription = self.shared.watchers.subscription.lock().await;
        if !lock(&self.shared.watchers.list).is_empty() {
            return;
        }
        let deadline = Instant::now() + self.shared.settings.goodbye_timeout;
        let unwatch = self.shared.coordinator.ask(Call::Unwatch, deadline);
        if let Err(error) = self.shared.unless_closed(unwatch).await {
            tracing::debug!(%error, "the end of a watch was not confirmed");
        }
    }
}
