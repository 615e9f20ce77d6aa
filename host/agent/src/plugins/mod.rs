//! The kinds of an agent: every `*.wasm` in the plugin directory, named by its
//! stem.
//!
//! The directory is looked at again and again. A file is loaded when it looked
//! the same twice, so half-written ones are left alone; one that is refused is
//! reported once and tried again when it changes. A replaced file is validated
//! first: until then, and when it is bad, the old version serves. Containers
//! that run keep the version that they were started with.

mod cache;
mod load;
mod validate;
mod watch;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use hulynet_protocol::Kind;
use wasmtime::{Engine, component::Linker};

use crate::{bindings::ContainerPre, capabilities::Context, error::AgentError};

use self::{
    cache::Cache,
    watch::{Change, Stamp, Watch},
};
pub(crate) use load::Loader;

/// The code of a kind, ready to start containers from.
pub(crate) type Code = ContainerPre<Context>;

/// The plugin directory and what was loaded from it.
pub(crate) struct Plugins {
    directory: PathBuf,
    watch: Watch,
    loader: Arc<Loader>,
    loaded: BTreeMap<Kind, Code>,
}

impl Plugins {
    /// Loads what is there now.
    ///
    /// # Errors
    /// [`AgentError`] when a directory cannot be used. Files that are refused
    /// are reported and left out.
    pub(crate) async fn open(
        directory: &Path,
        cache: &Path,
        file_bytes: u64,
        engine: Engine,
        linker: Linker<Context>,
    ) -> Result<Self, AgentError> {
        let cache = Cache::open(cache)?;
        let mut plugins = Self {
            directory: directory.to_owned(),
            watch: Watch::default(),
            loader: Arc::new(Loader { engine, linker, cache, file_bytes }),
            loaded: BTreeMap::new(),
        };
        let listing = plugins.list()?;
        if listing.is_empty() {
            tracing::warn!(
                "the plugin directory {} has no .wasm file: no kind is served; build the kinds with \
                 `cargo xtask kinds` or drop a .wasm file into it",
                directory.display()
            );
        }
        // What is there at the start is taken as complete.
        plugins.watch.observe(&listing);
        plugins.apply(&listing).await;
        Ok(plugins)
    }

    /// Looks again. Answers whether there are other kinds than before.
    pub(crate) async fn scan(&mut self) -> bool {
        match self.list() {
            Ok(listing) => self.apply(&listing).await,
            Err(error) => {
                tracing::warn!("{error}");
                false
            }
        }
    }

    /// All code by kind.
    pub(crate) fn loaded(&self) -> &BTreeMap<Kind, Code> {
        &self.loaded
    }

    async fn apply(&mut self, listing: &BTreeMap<PathBuf, Stamp>) -> bool {
        let before = self.loaded.len();
        let mut changed = false;
        for change in self.watch.observe(listing) {
            match change {
                Change::Complete(path) => changed |= self.load(&path).await,
                Change::Gone(path) => changed |= self.remove(&path),
            }
        }
        changed || before != self.loaded.len()
    }

    async fn load(&mut self, path: &Path) -> bool {
        let (loader, file) = (self.loader.clone(), path.to_owned());
        // Compiling takes long and is no work for the threads of the agent.
        let loaded = tokio::task::spawn_blocking(move || loader.load(&file)).await;
        match loaded {
            Ok(Ok((kind, code))) => {
                tracing::info!(%kind, "serving {}", path.display());
                self.loaded.insert(kind, code).is_none()
            }
            Ok(Err(refusal)) => {
                tracing::error!("refused: {refusal}");
                false
            }
            Err(panicked) => {
                tracing::error!("refused: {} cannot be compiled: {panicked}", path.display());
                false
            }
        }
    }

    fn remove(&mut self, path: &Path) -> bool {
        let Ok(kind) = load::kind_of(path) else { return false };
        let removed = self.loaded.remove(&kind).is_some();
        if removed {
            tracing::info!(%kind, "no new containers: {} was removed", path.display());
        }
        removed
    }

    fn list(&self) -> Result<BTreeMap<PathBuf, Stamp>, AgentError> {
        list(&self.directory)
            .map_err(|cause| AgentError::Plugins { path: self.directory.clone(), cause })
    }
}

fn list(directory: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut listing = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        // A file that vanishes meanwhile, or a dangling link, is not there.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() {
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            listing.insert(path, Stamp { length: metadata.len(), modified });
        }
    }
    Ok(listing)
}
