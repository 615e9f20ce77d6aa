//! Passes the events of workspaces on to the session's connections.
//!
//! The transactor's broadcasts say when something happened; the log says what
//! was missed. So a workspace's events arrive in order and without gaps even
//! when its transactor moves, a queue on the way overflows, or a broadcast is
//! lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc;
use futures::future::{AbortHandle, Either, abortable};
use futures::{StreamExt, future};
use huly_api::Event;
use hulynet_sdk::documents::{Entry, Workspace};
use hulynet_sdk::prelude::*;
use hulynet_sdk::{ErrorKind, Retry};
use serde::Deserialize;

use crate::following::Following;
use crate::place::{Place, Verdict};
use crate::references::{References, retrying};

/// How many log entries are read at once.
const PAGE: u32 = 256;

/// After so many ends of the transactor without an event between them a follow
/// ends too: one that cannot run must not be started in a tight loop.
const BARREN: u32 = 3;

/// The events of the account's workspaces.
#[derive(Debug)]
pub(crate) struct Feed {
    references: Arc<References>,
    following: Arc<Mutex<Following<Stop>>>,
}

/// Ends a follow when it is dropped, and can wake it to look at the log.
#[derive(Debug)]
struct Stop {
    task: AbortHandle,
    wake: mpsc::Sender<()>,
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feed {
    /// One that passes nothing on yet.
    pub(crate) fn new(references: Arc<References>) -> Self {
        Self { references, following: Arc::default() }
    }

    /// A connection came: it gets the events of these workspaces that happen
    /// from now on.
    pub(crate) async fn connect(&self, connection: &str, workspaces: Vec<String>) -> Result<()> {
        self.state().connect(connection);
        let followed = self.follow(workspaces).await;
        if followed.is_err() {
            self.disconnect(connection);
        }
        followed
    }

    /// A connection went.
    pub(crate) fn disconnect(&self, connection: &str) {
        self.state().disconnect(connection);
    }

    /// True while there is a connection.
    pub(crate) fn is_wanted(&self) -> bool {
        self.state().is_wanted()
    }

    /// Follows these workspaces too, if there is a connection.
    pub(crate) async fn follow(&self, workspaces: Vec<String>) -> Result<()> {
        for workspace in workspaces {
            if self.state().lacks(&workspace) {
                self.begin(workspace).await?;
            }
        }
        Ok(())
    }

    /// Lets every follow look at the log.
    pub(crate) fn catch_up(&self) {
        for follow in self.state().follows() {
            // A full channel means that it is about to look anyway.
            let _full = follow.wake.try_send(());
        }
    }

    async fn begin(&self, workspace: String) -> Result<()> {
        let log = documents::open(&workspace, None).await?;
        let stopped = self.state().stopped_at(&workspace);
        let place = match stopped {
            Some(place) => place,
            None => Place::at(log.head().await?),
        };
        let (wake, woken) = mpsc::channel(0);
        let references = self.references.clone();
        let follow = Follow { workspace: workspace.clone(), references, log, place, woken };
        let (task, handle) = abortable(follow.run());
        if self.state().begin(&workspace, Stop { task: handle, wake }) {
            let following = self.following.clone();
            spawn(async move {
                // One that was aborted is forgotten already.
                if let Ok(place) = task.await {
                    lock(&following).ended(&workspace, place);
                }
            });
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, Following<Stop>> {
        lock(&self.following)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part of an event that decides whether it is passed on.
#[derive(Deserialize)]
struct Numbered {
    sequence: u64,
}

/// The events of one workspace.
struct Follow {
    workspace: String,
    references: Arc<References>,
    log: Workspace,
    place: Place,
    woken: mpsc::Receiver<()>,
}

/// What a follow waits for.
enum News {
    Event(Vec<u8>),
    /// The transactor ended or moved.
    End,
    /// Somebody asks to look at the log.
    Look,
}

impl Follow {
    /// Follows the transactor wherever it moves. Ends when it cannot be
    /// reached or ends again and again; the session begins anew when it looks
    /// around. Answers how far it came.
    async fn run(mut self) -> Place {
        let mut barren = 0;
        while barren < BARREN {
            let before = self.place;
            if let Err(error) = self.run_once().await {
                log::warn!("a workspace cannot be followed now: {error}"; workspace = self.workspace);
                break;
            }
            barren = if self.place == before { barren + 1 } else { 0 };
        }
        self.place
    }

    /// Passes events on until the transactor ends or moves.
    async fn run_once(&mut self) -> Result<()> {
        let mut events = retrying(async |attempt| {
            let transactor = self.references.transactor(&self.workspace, attempt).await?;
            transactor.connect().await
        })
        .await?;
        self.catch_up().await?;
        loop {
            let news = match future::select(StreamExt::next(&mut events), self.woken.next()).await {
                Either::Left((Some(event), _)) => News::Event(event),
                Either::Left((None, _)) => News::End,
                Either::Right(_) => News::Look,
            };
            match news {
                News::Event(event) => self.pass_on(&event).await?,
                News::End => return Ok(()),
                News::Look => self.catch_up().await?,
            }
        }
    }

    /// Passes an event on, or what the log has where it shows a gap.
    async fn pass_on(&mut self, event: &[u8]) -> Result<()> {
        let verdict = match serde_json::from_slice::<Numbered>(event) {
            Ok(numbered) => self.place.see(numbered.sequence),
            Err(error) => {
                log::warn!("the transactor sent what is no event: {error}"; workspace = self.workspace);
                Verdict::Gap
            }
        };
        match verdict {
            Verdict::Next => sent(connections::broadcast_bytes(event)),
            Verdict::Old => {}
            Verdict::Gap => self.catch_up().await?,
        }
        Ok(())
    }

    /// Passes on what the log has after the place. A page may be short because
    /// its entries are large: only an empty one is the end.
    async fn catch_up(&mut self) -> Result<()> {
        loop {
            let entries = self.log.log(self.place.last(), PAGE).await?;
            if entries.is_empty() {
                return Ok(());
            }
            let before = self.place;
            for Entry { sequence, transaction: tx } in entries {
                if self.place.see(sequence) == Verdict::Next {
                    let workspace = self.workspace.clone();
                    sent(connections::broadcast(&Event { workspace, sequence, tx }));
                }
            }
            if self.place == before {
                let message = format!(
                    "the log of workspace `{}` has a gap after {}",
                    self.workspace,
                    before.last()
                );
                return Err(Error::new(ErrorKind::Protocol, Retry::Final, message));
            }
        }
    }
}

/// An event that cannot be sent (it is too large) must not stop the others.
fn sent(outcome: Result<()>) {
    if let Err(error) = outcome {
        log::warn!("an event was not passed on: {error}");
    }
}
