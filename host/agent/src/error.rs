//! Why an agent cannot run.

use std::{io, path::PathBuf};

/// Why an agent cannot start, or a kind cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The plugin directory cannot be read.
    #[error(
        "the plugin directory {} cannot be read ({cause}); create it or name another one",
        path.display()
    )]
    Plugins {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The cache directory cannot be used.
    #[error(
        "the cache directory {} cannot be used ({cause}); it must be writable by this user alone \
         (mode 0700)",
        path.display()
    )]
    Cache {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A file cannot be written.
    #[error("{} cannot be written: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// What was named is no `.wasm` file, or cannot be read.
    #[error("{0}")]
    Input(String),
    /// A kind is not signed as it must be.
    #[error("{0}")]
    Unsigned(String),
    /// No engine could be made.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// A thread could not be started.
    #[error("a thread cannot be started ({0}); raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
    /// No coordinator is configured.
    #[error("no coordinator is named; give at least one HOST:PORT")]
    NoCoordinator,
    /// The bus cannot listen.
    #[error(transparent)]
    Bus(#[from] hulynet_bus::BusError),
}
