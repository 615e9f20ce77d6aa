//! The catalog of kinds, shared by the watcher of the directory, which fills
//! it, and those who start containers.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicU64},
    time::Instant,
};

use hulynet_agent_kinds::{
    Catalog, Terms,
    catalog::{End, Found, Member, Number, Refused, State, Status, Unserved, Version},
};
use hulynet_protocol::{ErrorKind, Kind, KindReport, KindState, NetworkError};
use tokio::sync::Notify;

use crate::{
    capabilities::Services,
    container::{Linked, Pace},
};

/// A version of a kind.
pub(crate) struct Code {
    /// Ready to start containers from.
    pub(crate) linked: Linked,
    /// What its containers may do.
    pub(crate) terms: Terms,
    /// What its files are.
    pub(crate) found: Found,
    /// What its containers are made with, where their tenant has no terms of
    /// its own.
    pub(crate) services: OnceLock<Arc<Services>>,
    /// How long its containers compute.
    pub(crate) pace: Pace,
}

/// The kinds. Locked for moments and never across an await.
pub(crate) struct Kinds {
    catalog: Mutex<Catalog<Arc<Code>>>,
    /// The catalog may have something to do.
    acted: Notify,
    /// How many were compiled, and not taken from the cache.
    pub(crate) compiled: Arc<AtomicU64>,
}

impl Kinds {
    /// None yet; so many are loaded at a time.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            catalog: Mutex::new(Catalog::new(slots)),
            acted: Notify::new(),
            compiled: Arc::default(),
        }
    }

    /// The kinds of which containers are started, sorted.
    pub(crate) fn served(&self) -> Vec<Kind> {
        self.lock().served()
    }

    /// Begins a container of what serves now for a tenant: `begin` makes it, and whatever it
    /// makes is counted until [`Kinds::ended`].
    ///
    /// # Errors
    /// Why there is no code, and what `begin` refuses.
    pub(crate) fn begin<T>(
        &self,
        kind: &Kind,
        tenant: Option<&str>,
        begin: impl FnOnce(Version<Arc<Code>>) -> Result<T, NetworkError>,
    ) -> Result<T, NetworkError> {
        let mut catalog = self.lock();
        let version = catalog.code(Instant::now(), kind, tenant).map_err(unserved)?;
        let number = version.number;
        let begun = begin(version)?;
        catalog.begun(kind, number, tenant);
        Ok(begun)
    }

    /// A container has started.
    pub(crate) fn started(&self, kind: &Kind, number: Number) {
        self.lock().started(kind, number);
    }

    /// A container ended.
    pub(crate) fn ended(&self, kind: &Kind, member: Member<'_>, end: End) {
        let mut catalog = self.lock();
        catalog.ended(Instant::now(), kind, member, end);
        if catalog.has_actions() {
            self.acted.notify_one();
        }
    }

    /// Ends when the catalog may have something to do.
    pub(super) async fn acted(&self) {
        self.acted.notified().await;
    }

    /// Everything about every kind, for operators.
    pub(crate) fn reports(&self) -> Vec<KindReport> {
        let status = self.lock().status(Instant::now());
        status.into_iter().map(|(kind, status)| report(kind, status)).collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Catalog<Arc<Code>>> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unserved(why: Unserved) -> NetworkError {
    let kind = match &why {
        Unserved::Unknown { .. } => ErrorKind::UnknownKind,
        Unserved::Loading(_) => ErrorKind::Unavailable,
        Unserved::Refused { .. } | Unserved::Quarantined { .. } => ErrorKind::StartFailed,
    };
    NetworkError::not_processed(kind, why.to_string())
}

fn report(kind: Kind, status: Status<Arc<Code>>) -> KindReport {
    let code = status.serving.map(|version| version.code);
    let served = code.as_ref().map(|code| code.found.clone());
    let goes_on = if served.is_some() { "; the version before goes on serving" } else { "" };
    let (state, reason, refused) = match status.state {
        State::Loading => (KindState::Loading, None, None),
        State::Serving => (KindState::Serving, None, None),
        State::Draining => (KindState::Draining, None, None),
        State::Refused(refused) => {
            let Refused { reason, found } = *refused;
            // The report has room for one version, and that is the one that
            // serves.
            let beside = if served.is_some() { beside(&found) } else { String::new() };
            (KindState::Refused, Some(reason + goes_on + &beside), Some(found))
        }
        State::RolledBack(reason) => (KindState::RolledBack, Some(reason + goes_on), None),
        State::Quarantined(reason) => (KindState::Quarantined, Some(reason), None),
    };
    let Found { hash, manifest, signer, asked, granted } = served.or(refused).unwrap_or_default();
    let manifest = manifest.unwrap_or_default();
    let terms = code.as_ref().map(|code| &code.terms);
    let limits = terms.map(|terms| terms.limits.shown()).unwrap_or_default();
    KindReport {
        kind,
        state,
        reason,
        hash,
        version: manifest.version,
        description: manifest.description,
        signer: signer.map(|key| key.to_string()),
        asked: asked.to_string(),
        granted: granted.to_string(),
        concurrency: terms.map_or(manifest.concurrency, Terms::concurrency).as_str().to_owned(),
        termination: manifest.termination.as_str().to_owned(),
        limits: limits.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        containers: status.containers as u64,
        newest: status.newest as u64,
    }
}

/// What is known of refused files while another version serves.
fn beside(found: &Found) -> String {
    let Found { hash, manifest, asked, .. } = found;
    let version = manifest.as_ref().and_then(|manifest| manifest.version.as_ref());
    let facts = [
        hash.as_ref().map(|hash| format!("the hash {hash}")),
        version.map(|version| format!("the version {version:?}")),
        Some(format!("asks for {asked}")).filter(|_| !asked.is_empty()),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    if facts.is_empty() {
        String::new()
    } else {
        format!("; the refused file: {}", facts.join(", "))
    }
}
