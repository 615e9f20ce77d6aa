//! One kind of the catalog.

use std::{collections::BTreeMap, time::Instant};

use super::{
    parties::{Failures, Parties},
    trouble::Quarantine,
    work::Ticket,
};
use crate::{Capabilities, ContainerLimits, Manifest, PublicKey, directory::Source};

/// Tells the versions of all kinds of an agent apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub(super) u64);

/// A container, as its kind counts it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The version that it was started from.
    pub number: Number,
    /// For whom it works.
    pub tenant: Option<&'a str>,
    /// What it may use.
    pub limits: &'a ContainerLimits,
}

/// What a load made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<C> {
    /// Of the content of all its files.
    pub hash: String,
    /// The code.
    pub code: C,
}

/// Why files are not served, and what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: String,
    /// What is known of them.
    pub found: Found,
}

/// What is found in the files of a kind, as far as they were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// SHA-256 of the code.
    pub hash: Option<String>,
    /// What the kind says about itself.
    pub manifest: Option<Manifest>,
    /// The trusted key that signed it.
    pub signer: Option<PublicKey>,
    /// What it asks for.
    pub asked: Capabilities,
    /// What the operator grants to it.
    pub granted: Capabilities,
}

/// A version that containers are started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version<C> {
    /// Its name among all versions.
    pub number: Number,
    /// Of the content of all its files.
    pub hash: String,
    /// The code.
    pub code: C,
}

/// Where a kind is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// New files are checked and compiled.
    Loading,
    /// The newest version serves.
    Serving,
    /// The newest files are bad.
    Refused(Box<Refused>),
    /// The newest version did not start.
    RolledBack(String),
    /// Its containers crash one after the other.
    Quarantined(String),
    /// Its file was removed.
    Draining,
}

/// Everything about a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status<C> {
    /// Where it is in its life.
    pub state: State,
    /// What new containers get, if they get anything.
    pub serving: Option<Version<C>>,
    /// The live containers of that version.
    pub newest: usize,
    /// The live containers of all versions.
    pub containers: usize,
}

/// A version that serves, and what is known of its starts.
#[derive(Debug)]
struct Tried<C> {
    version: Version<C>,
    proven: bool,
    failures: Failures,
}

/// Why the newest files do not serve.
#[derive(Debug)]
enum Verdict {
    Refused(Box<Refused>),
    RolledBack(String),
}

/// One kind.
#[derive(Debug)]
pub(super) struct Entry<C> {
    /// The load that is wanted.
    pub(super) wanted: Option<(Ticket, Source)>,
    serving: Option<Tried<C>>,
    /// What serves again when the newest version does not start.
    before: Option<Version<C>>,
    verdict: Option<Verdict>,
    parties: Parties,
    /// The live containers of each version.
    live: BTreeMap<Number, usize>,
    removed: bool,
    /// Whether containers were left when it was removed.
    drains: bool,
}

impl<C> Default for Entry<C> {
    fn default() -> Self {
        Self {
            wanted: None,
            serving: None,
            before: None,
            verdict: None,
            parties: Parties::default(),
            live: BTreeMap::new(),
            removed: false,
            drains: false,
        }
    }
}

impl<C: Clone> Entry<C> {
    /// One whose file is not there.
    pub(super) fn removed() -> Self {
        Self { removed: true, ..Self::default() }
    }

    /// Its files are to be loaded.
    pub(super) fn want(&mut self, ticket: Ticket, source: Source) {
        self.wanted = Some((ticket, source));
        (self.removed, self.drains) = (false, false);
    }

    /// A version was loaded; answers whether it is another one than serves, or
    /// is the newest one again.
    pub(super) fn serve(&mut self, number: Number, loaded: Loaded<C>) -> bool {
        let was_bad = self.verdict.take().is_some();
        let Loaded { hash, code } = loaded;
        if self.serving.as_ref().is_some_and(|tried| tried.version.hash == hash) {
            return was_bad;
        }
        let version = Version { number, hash, code };
        let old =
            self.serving.replace(Tried { version, proven: false, failures: Failures::default() });
        // A version that never started is nothing to go back to, unless there
        // is no other.
        if let Some(old) = old.filter(|old| old.proven || self.before.is_none()) {
            self.before = Some(old.version);
        }
        // A new version is not judged by the crashes of the old one.
        self.parties.forgive();
        true
    }

    /// The newest files are bad; answers whether a version serves all the same.
    pub(super) fn refuse(&mut self, refused: Box<Refused>) -> bool {
        self.verdict = Some(Verdict::Refused(refused));
        self.serving.is_some()
    }

    /// The file was removed.
    pub(super) fn remove(&mut self) {
        (self.wanted, self.serving, self.before, self.verdict) = (None, None, None, None);
        self.removed = true;
        self.drains = self.containers() > 0;
    }

    pub(super) fn begun(&mut self, number: Number, tenant: Option<&str>) {
        *self.live.entry(number).or_default() += 1;
        self.parties.begun(tenant);
    }

    pub(super) fn ended(&mut self, now: Instant, member: Member<'_>) {
        self.parties.ended(now, member.tenant);
        if let Some(live) = self.live.get_mut(&member.number) {
            *live -= 1;
            if *live == 0 {
                self.live.remove(&member.number);
            }
        }
    }

    /// A container of this version has started.
    pub(super) fn prove(&mut self, number: Number) {
        if let Some(tried) = self.serving.as_mut().filter(|tried| tried.version.number == number) {
            tried.proven = true;
            // Whatever served before is not needed any more.
            self.before = None;
        }
    }

    /// A container did not start; answers the hash of its version if the one
    /// before serves again.
    pub(super) fn start_failed(&mut self, member: Member<'_>, reason: &str) -> Option<String> {
        let Member { number, tenant, limits } = member;
        let tried = self.serving.as_mut().filter(|tried| tried.version.number == number);
        let tried = tried.filter(|tried| !tried.proven)?;
        if !tried.failures.are_enough_with(tenant, limits.failed_starts, &self.parties) {
            return None;
        }
        let version = self.before.take()?;
        let back = Tried { version, proven: true, failures: Failures::default() };
        let given_up = self.serving.replace(back)?;
        self.verdict = Some(Verdict::RolledBack(reason.to_owned()));
        Some(given_up.version.hash)
    }

    /// A container crashed; answers whether that began a quarantine.
    pub(super) fn crashed(&mut self, now: Instant, member: Member<'_>, reason: &str) -> bool {
        self.parties.crash(now, member.tenant, member.limits, reason)
    }

    pub(super) fn serving(&self) -> Option<&Version<C>> {
        self.serving.as_ref().map(|tried| &tried.version)
    }

    /// Why the newest files are not served.
    pub(super) fn refused(&self) -> Option<&str> {
        match &self.verdict {
            Some(Verdict::Refused(refused)) => Some(&refused.reason),
            Some(Verdict::RolledBack(reason)) => Some(reason),
            None => None,
        }
    }

    pub(super) fn quarantined(&self, now: Instant, tenant: Option<&str>) -> Option<&Quarantine> {
        self.parties.quarantined(now, tenant)
    }

    /// The live containers of all versions.
    pub(super) fn containers(&self) -> usize {
        self.live.values().sum()
    }

    /// Whether it was removed and nothing of it is left.
    pub(super) fn is_over(&self) -> bool {
        self.removed && self.wanted.is_none() && self.live.is_empty()
    }

    /// Whether containers were left when it was removed.
    pub(super) fn has_drained(&self) -> bool {
        self.drains
    }

    pub(super) fn status(&self, now: Instant) -> Status<C> {
        let serving = self.serving().cloned();
        let state = match (self.parties.any_quarantine(now), &self.wanted, &self.verdict) {
            (Some((None, quarantine)), ..) => State::Quarantined(quarantine.reason.clone()),
            (Some((Some(tenant), quarantine)), ..) => {
                State::Quarantined(format!("for the tenant {tenant:?}: {}", quarantine.reason))
            }
            (None, Some(_), _) => State::Loading,
            (None, None, Some(Verdict::Refused(refused))) => State::Refused(refused.clone()),
            (None, None, Some(Verdict::RolledBack(reason))) => State::RolledBack(reason.clone()),
            (None, None, None) if serving.is_some() => State::Serving,
            (None, None, None) => State::Draining,
        };
        let newest = serving.as_ref().and_then(|version| self.live.get(&version.number));
        let newest = newest.copied().unwrap_or_default();
        Status { state, serving, newest, containers: self.containers() }
    }
}
