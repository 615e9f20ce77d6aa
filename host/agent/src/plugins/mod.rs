//! The kinds of an agent: every `*.wasm` in the plugin directory, named by its
//! stem, with the manifest `*.toml` and the signatures `*.sig` beside it.
//!
//! | module | what it does |
//! |---|---|
//! | `listing` | looks at the directory |
//! | `events` | hints when something happens in it |
//! | `load` | checks, compiles and links a kind |
//! | `cache` | keeps compiled kinds between runs |
//! | `cut` | cuts what would keep a thread for long |
//! | `kinds` | what is served, for those who start containers |
//! | `inspect` | tells offline whether a file would be served |
//!
//! When to look, which files are complete and what becomes of them is decided
//! by the crate `hulynet-agent-kinds`; this task moves files and time to it and does what it
//! says. Containers that run keep the version that they were started with.

mod cache;
mod cut;
mod events;
mod inspect;
mod kinds;
mod listing;
mod load;
mod sections;
mod validate;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use hulynet_agent_kinds::{
    Directory,
    catalog::{Action, Loaded, News, Refused, Ticket},
    directory::{Change, Listing},
};
use hulynet_protocol::Kind;
use hulynet_settings::units::show_bytes;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until},
};

pub(crate) use self::kinds::{Code, Kinds};
use self::{cache::Cache, events::Events, load::Loader};
pub use self::{
    inspect::{Inspection, inspect, sign, verify},
    load::KindPolicy,
};
use crate::{capabilities::Linkers, config::AgentConfig, error::AgentError};

/// How often the progress of loads is told, when they take longer than this.
const PROGRESS: Duration = Duration::from_secs(2);

/// A load that ended.
type Done = (Ticket, Kind, Result<Loaded<Arc<Code>>, Box<Refused>>);

/// Serves the plugin directory.
pub(crate) struct Plugins {
    directory: PathBuf,
    events: Events,
    files: Directory,
    loader: Arc<Loader>,
    kinds: Arc<Kinds>,
    loads: JoinSet<Done>,
    readable: bool,
    served: Vec<Kind>,
    changed: watch::Sender<()>,
    /// The kinds of the grants that were not there when that was last told.
    absent: String,
    /// Since when there is something to load.
    busy: Option<Instant>,
    settled: watch::Sender<bool>,
}

impl Plugins {
    /// Looks at the directory; [`Plugins::run`] does the rest.
    ///
    /// # Errors
    /// [`AgentError`] when a directory cannot be used.
    pub(crate) fn open(
        config: &AgentConfig,
        linkers: Linkers,
        changed: watch::Sender<()>,
    ) -> Result<Self, AgentError> {
        let directory = config.plugins.clone();
        let listing = listing::list(&directory)
            .map_err(|cause| AgentError::Plugins { path: directory.clone(), cause })?;
        let slots = thread::available_parallelism().map_or(1, usize::from);
        let kinds = Arc::new(Kinds::new(slots));
        let loader = Loader {
            linkers,
            cache: Some(Cache::open(&config.cache)?),
            policy: KindPolicy {
                file_bytes: config.file_bytes,
                grants: config.grants.clone(),
                limits: config.limits.clone(),
                trusted: config.trusted.clone(),
            },
            compiled: kinds.compiled.clone(),
        };
        if listing.values().all(Option::is_none) {
            tracing::warn!(
                "the plugin directory {} has no .wasm file: no kind is served; drop one into it",
                directory.display()
            );
        }
        Ok(Self {
            events: Events::of(&directory, config.poll),
            directory,
            files: Directory::new(config.poll),
            loader: Arc::new(loader),
            kinds,
            loads: JoinSet::new(),
            readable: true,
            served: Vec::new(),
            changed,
            absent: String::new(),
            busy: Some(Instant::now()),
            settled: watch::Sender::new(false),
        })
    }

    /// What is served.
    pub(crate) fn kinds(&self) -> &Arc<Kinds> {
        &self.kinds
    }

    /// Becomes true when what was there at the start is loaded or refused.
    pub(crate) fn settled(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    /// Runs as long as the agent.
    pub(crate) async fn run(mut self) {
        self.look().await;
        let mut progress = interval(PROGRESS);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        progress.reset();
        loop {
            self.act();
            let look_at = self.files.next_look().unwrap_or_else(Instant::now);
            tokio::select! {
                () = sleep_until(look_at.into()) => self.look().await,
                () = self.events.next() => self.files.hint(),
                Some(done) = self.loads.join_next() => match done {
                    Ok(done) => self.loaded(done),
                    // Its work is caught inside; the runtime is shutting down.
                    Err(lost) => tracing::warn!("a load was lost: {lost}"),
                },
                () = self.kinds.acted() => {}
                _ = progress.tick(), if self.busy.is_some() => self.tell_progress(),
            }
        }
    }

    async fn look(&mut self) {
        let directory = self.directory.clone();
        // A file system may take its time.
        let listing = tokio::task::spawn_blocking(move || listing::list(&directory)).await;
        let now = Instant::now();
        match listing {
            Ok(Ok(listing)) => self.compare(now, listing),
            Ok(Err(error)) => self.unreadable(now, &error),
            // The runtime is shutting down.
            Err(lost) => self.unreadable(now, &lost),
        }
    }

    /// It may be a file system that comes back.
    fn unreadable(&mut self, now: Instant, error: &dyn Display) {
        self.files.unreadable(now);
        if self.readable {
            tracing::error!(
                "the plugin directory {} cannot be read any more ({error}); its kinds go on",
                self.directory.display()
            );
        }
        self.readable = false;
    }

    fn compare(&mut self, now: Instant, listing: Listing) {
        if !self.readable {
            tracing::info!("the plugin directory {} is back", self.directory.display());
            self.readable = true;
        }
        self.files.look(now, listing);
        for change in self.files.changes(now) {
            match change {
                Change::Complete(name, source) => match Kind::new(&name) {
                    Ok(kind) => self.kinds.lock().complete(kind, source),
                    Err(cause) => tracing::error!(
                        "refused: {}: its name is no kind: {cause}; rename it",
                        self.path(&name).display()
                    ),
                },
                Change::Gone(name) => {
                    if let Ok(kind) = Kind::new(&name) {
                        self.kinds.lock().gone(&kind);
                    }
                }
                Change::Stray(name) => tracing::warn!(
                    "of the kind {name:?} there are files, but {} is none: it is not served; \
                     is one of them misnamed?",
                    self.path(&name).display()
                ),
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.wasm"))
    }

    /// Does what the catalog says.
    fn act(&mut self) {
        loop {
            let action = self.kinds.lock().poll_action();
            match action {
                Some(Action::Load { ticket, kind, source }) => {
                    self.busy.get_or_insert_with(Instant::now);
                    let (loader, path) = (self.loader.clone(), self.path(kind.as_str()));
                    self.loads.spawn(async move {
                        let named = kind.clone();
                        // Compiling takes long and is no work for the threads
                        // of the agent.
                        let load = tokio::task::spawn_blocking(move || {
                            loader.load(&path, &named, &source)
                        });
                        let result = load.await.unwrap_or_else(|panicked| {
                            let reason = format!("it cannot be compiled: {panicked}");
                            Err(Box::new(Refused { reason, ..Refused::default() }))
                        });
                        (ticket, kind, result)
                    });
                }
                Some(Action::Tell(kind, news)) => {
                    if let News::RolledBack { hash, reason } = &news {
                        self.loader.give_up(hash, reason);
                    }
                    tell(&kind, &news);
                }
                None => break,
            }
        }
        let served = self.kinds.served();
        if served != self.served {
            self.served = served;
            self.changed.send_replace(());
        }
        if self.loads.is_empty() {
            self.settle();
        }
    }

    fn loaded(&mut self, (ticket, kind, result): Done) {
        tracing::debug!(%kind, "loaded: {}", result.is_ok());
        self.kinds.lock().loaded(ticket, result);
    }

    /// There is nothing to load.
    fn settle(&mut self) {
        let Some(since) = self.busy.take() else { return };
        let compiled = self.loader.compiled.load(Ordering::Relaxed);
        tracing::info!(
            "kinds served: {}; compiled since the start: {compiled}, the last within {:.1?}",
            self.served.len(),
            since.elapsed()
        );
        self.settled.send_replace(true);
        self.tell_absent();
        let loader = self.loader.clone();
        tokio::task::spawn_blocking(move || {
            if let Some(Err(error)) = loader.cache.as_ref().map(Cache::prune) {
                tracing::warn!("the cache of compiled kinds cannot be pruned: {error}");
            }
        });
    }

    /// A name in the grants that is misspelt grants nothing and limits nothing.
    fn tell_absent(&mut self) {
        let named = self.loader.policy.grants.kinds();
        let absent: Vec<_> = named.filter(|name| !self.files.has_code(name)).collect();
        let absent = absent.join(", ");
        if !absent.is_empty() && absent != self.absent {
            tracing::info!("kinds that the grants name and no file here is of: {absent}");
        }
        self.absent = absent;
    }

    fn tell_progress(&self) {
        if self.busy.is_none_or(|since| since.elapsed() < PROGRESS) {
            return;
        }
        let progress = self.kinds.lock().progress();
        let working: Vec<String> = progress
            .working
            .iter()
            .map(|(kind, bytes)| format!("{kind} ({})", show_bytes(*bytes)))
            .collect();
        tracing::info!(
            "compiling kinds: {} of {} done, working on {}",
            progress.done,
            progress.total,
            working.join(", ")
        );
    }
}

/// Tells the operator.
fn tell(kind: &Kind, news: &News) {
    match news {
        News::Serving(version) => {
            let version = version.get(..12).unwrap_or(version);
            tracing::info!(%kind, %version, "serving");
        }
        News::Refused { reason, serving: true } => {
            tracing::error!(%kind, "refused, the version before goes on: {reason}");
        }
        News::Refused { reason, serving: false } => tracing::error!(%kind, "refused: {reason}"),
        News::RolledBack { reason, .. } => tracing::error!(
            %kind,
            "rolled back to the version before: the new one did not start: {reason}"
        ),
        News::Quarantined { tenant, reason } => tracing::error!(
            %kind,
            tenant,
            "quarantined: its containers crash one after the other, the last one: {reason}"
        ),
        News::Removed(containers) => {
            tracing::info!(%kind, "no new containers, {containers} go on: its file was removed");
        }
        News::Drained => tracing::info!(%kind, "the last container of the removed kind ended"),
    }
}

/// The kind that a file defines, and the directory it lies in.
fn kind_of(path: &Path) -> Result<Kind, hulynet_protocol::IdError> {
    Kind::new(path.file_stem().unwrap_or_default().to_string_lossy())
}
