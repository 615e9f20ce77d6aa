//! The life of every kind of an agent, from the file to its last container.
//! Pure: what happens to files, loads and containers in, loads to begin and
//! news for the operator out.
//!
//! | state | what it means | left when |
//! |---|---|---|
//! | loading | new files are checked and compiled; what served before goes on | the load ends |
//! | serving | new containers get the newest version | new files, a removal |
//! | refused | the newest files are bad; what served before goes on | new files, a removal |
//! | rolled back | the newest version did not start; the one before serves again | new files, a removal |
//! | quarantined | its containers crash one after the other: none is started | after a while |
//! | draining | its file was removed: no new containers, the old ones go on | the last one ended |
//!
//! Whoever drives it passes every input and then takes all [`Action`]s.

mod entry;
mod parties;
mod trouble;
mod work;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use hulynet_protocol::Kind;

use self::{entry::Entry, work::Work};
pub use self::{
    entry::{Found, Loaded, Member, Number, Refused, State, Status, Version},
    work::{Progress, Ticket},
};
use crate::directory::Source;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Load the files of a kind, and answer with [`Catalog::loaded`].
    Load {
        /// Names the load in the answer.
        ticket: Ticket,
        /// The kind.
        kind: Kind,
        /// The files: if they are others when they are read, the load fails.
        source: Source,
    },
    /// Tell the operator.
    Tell(Kind, News),
}

/// What happened to a kind, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// New containers get this version, named by its hash; or they got it
    /// while the newest files were bad, and these are its own again.
    Serving(String),
    /// The newest files are not served.
    Refused {
        /// Why.
        reason: String,
        /// Whether another version goes on.
        serving: bool,
    },
    /// The newest version was given up.
    RolledBack {
        /// Of the content of its files.
        hash: String,
        /// Why its containers did not start.
        reason: String,
    },
    /// No container is started for a while.
    Quarantined {
        /// None of this tenant; without one, none that works for nobody.
        tenant: Option<String>,
        /// How the last one crashed.
        reason: String,
    },
    /// No new containers; so many go on.
    Removed(usize),
    /// The last container of a removed kind ended.
    Drained,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Orderly,
    /// It did not start.
    StartFailed(String),
    /// It started, and failed later.
    Crashed(String),
}

/// Why no container of a kind is started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unserved {
    /// There is no such kind, or it was removed.
    #[error("the agent does not serve the kind {kind}; it serves: {}", served(others))]
    Unknown {
        /// The kind.
        kind: Kind,
        /// Those that are served.
        others: Vec<Kind>,
    },
    /// Its files are still being checked and compiled.
    #[error("the kind {0} is being loaded; try again")]
    Loading(Kind),
    /// Its files are bad.
    #[error("the kind {kind} was refused: {reason}")]
    Refused {
        /// The kind.
        kind: Kind,
        /// Why.
        reason: String,
    },
    /// It is in a crash loop.
    #[error(
        "the kind {kind} is quarantined for {seconds} s more, because its containers{} crash one after \
         the other; the last one: {reason}",
        of(tenant)
    )]
    Quarantined {
        /// The kind.
        kind: Kind,
        /// Whose containers of it; without one, those that work for nobody.
        tenant: Option<String>,
        /// For how long.
        seconds: u64,
        /// How the last one crashed.
        reason: String,
    },
}

/// Whose containers these are.
fn of(tenant: &Option<String>) -> String {
    tenant.as_ref().map_or_else(String::new, |name| format!(" of the tenant {name:?}"))
}

fn served(kinds: &[Kind]) -> String {
    if kinds.is_empty() {
        return "nothing".to_owned();
    }
    kinds.iter().map(Kind::as_str).collect::<Vec<_>>().join(", ")
}

/// The kinds of an agent; `C` is the code that containers are started from.
#[derive(Debug)]
pub struct Catalog<C> {
    kinds: BTreeMap<Kind, Entry<C>>,
    work: Work,
    numbers: u64,
    actions: VecDeque<Action>,
}

impl<C: Clone> Catalog<C> {
    /// No kinds yet; so many are loaded at a time.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        let (kinds, actions) = (BTreeMap::new(), VecDeque::new());
        Self { kinds, work: Work::new(slots), numbers: 0, actions }
    }

    /// The files of a kind are complete, and are new or others than before.
    pub fn complete(&mut self, kind: Kind, source: Source) {
        let ticket = self.work.want(&kind, source.code.length);
        self.kinds.entry(kind).or_default().want(ticket, source);
        self.begin();
    }

    /// The file of a kind was removed.
    pub fn gone(&mut self, kind: &Kind) {
        self.work.unwant(kind);
        let Some(entry) = self.kinds.get_mut(kind) else { return };
        entry.remove();
        let left = entry.containers();
        self.tell(kind, News::Removed(left));
        self.forget(kind);
        self.begin();
    }

    /// A load ended. One that is not wanted any more is dropped.
    pub fn loaded(&mut self, ticket: Ticket, result: Result<Loaded<C>, Box<Refused>>) {
        self.work.end(ticket);
        self.begin();
        let wants = |entry: &Entry<C>| entry.wanted.is_some_and(|(wanted, _)| wanted == ticket);
        let Some((kind, entry)) = self.kinds.iter_mut().find(|(_, entry)| wants(entry)) else {
            return;
        };
        let kind = kind.clone();
        entry.wanted = None;
        match result {
            Ok(loaded) => {
                self.numbers += 1;
                let hash = loaded.hash.clone();
                if entry.serve(Number(self.numbers), loaded) {
                    self.tell(&kind, News::Serving(hash));
                }
            }
            Err(refused) => {
                let reason = refused.reason.clone();
                let serving = entry.refuse(refused);
                self.tell(&kind, News::Refused { reason, serving });
            }
        }
    }

    /// What a new container of this kind that works for this tenant runs;
    /// [`Catalog::begun`] follows when it was begun.
    ///
    /// # Errors
    /// Why none is started.
    pub fn code(
        &self,
        now: Instant,
        kind: &Kind,
        tenant: Option<&str>,
    ) -> Result<Version<C>, Unserved> {
        let unknown = || Unserved::Unknown { kind: kind.clone(), others: self.served() };
        let entry = self.kinds.get(kind).ok_or_else(unknown)?;
        if let Some(quarantine) = entry.quarantined(now, tenant) {
            let left = quarantine.until.saturating_duration_since(now);
            return Err(Unserved::Quarantined {
                kind: kind.clone(),
                tenant: tenant.map(str::to_owned),
                seconds: left.as_secs() + u64::from(left.subsec_nanos() > 0),
                reason: quarantine.reason.clone(),
            });
        }
        match (entry.serving(), entry.refused()) {
            (Some(version), _) => Ok(version.clone()),
            (None, _) if entry.wanted.is_some() => Err(Unserved::Loading(kind.clone())),
            (None, Some(reason)) => {
                Err(Unserved::Refused { kind: kind.clone(), reason: reason.to_owned() })
            }
            (None, None) => Err(unknown()),
        }
    }

    /// A container of this version was begun.
    pub fn begun(&mut self, kind: &Kind, number: Number, tenant: Option<&str>) {
        self.kinds.entry(kind.clone()).or_insert_with(Entry::removed).begun(number, tenant);
    }

    /// A container of this version has started: the version works.
    pub fn started(&mut self, kind: &Kind, number: Number) {
        if let Some(entry) = self.kinds.get_mut(kind) {
            entry.prove(number);
        }
    }

    /// A container ended.
    pub fn ended(&mut self, now: Instant, kind: &Kind, member: Member<'_>, end: End) {
        let Some(entry) = self.kinds.get_mut(kind) else { return };
        entry.ended(now, member);
        let news = match end {
            End::Orderly => None,
            End::StartFailed(reason) => {
                let given_up = entry.start_failed(member, &reason);
                given_up.map(|hash| News::RolledBack { hash, reason })
            }
            End::Crashed(reason) => {
                let begun = entry.crashed(now, member, &reason);
                let tenant = member.tenant.map(str::to_owned);
                begun.then_some(News::Quarantined { tenant, reason })
            }
        };
        if let Some(news) = news {
            self.tell(kind, news);
        }
        self.forget(kind);
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether there is something to do.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// The kinds of which containers are started, sorted. A quarantine ends by
    /// itself, so it does not count here.
    #[must_use]
    pub fn served(&self) -> Vec<Kind> {
        let served = self.kinds.iter().filter(|(_, entry)| entry.serving().is_some());
        served.map(|(kind, _)| kind.clone()).collect()
    }

    /// How far the loads are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.work.progress()
    }

    /// Everything about every kind, sorted.
    #[must_use]
    pub fn status(&self, now: Instant) -> Vec<(Kind, Status<C>)> {
        self.kinds.iter().map(|(kind, entry)| (kind.clone(), entry.status(now))).collect()
    }

    fn begin(&mut self) {
        while let Some((ticket, kind)) = self.work.begin() {
            let wanted = self.kinds.get(&kind).and_then(|entry| entry.wanted);
            if let Some((_, source)) = wanted {
                self.actions.push_back(Action::Load { ticket, kind, source });
            }
        }
    }

    fn tell(&mut self, kind: &Kind, news: News) {
        self.actions.push_back(Action::Tell(kind.clone(), news));
    }

    /// A removed kind without containers is not known any more.
    fn forget(&mut self, kind: &Kind) {
        let Some(entry) = self.kinds.get(kind).filter(|entry| entry.is_over()) else { return };
        let drained = entry.has_drained();
        self.kinds.remove(kind);
        if drained {
            self.tell(kind, News::Drained);
        }
    }
}

#[cfg(test)]
mod tests;
