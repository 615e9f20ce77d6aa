//! Why the configuration cannot be used.

use std::{io, path::PathBuf};

use super::Origin;

/// A mistake in a flag, the environment or the file. The same start fails
/// again until it is corrected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {cause}; correct the path after --config", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is larger than a configuration is.
    #[error("the configuration file {} is larger than {limit} bytes; is it another file?", path.display())]
    Large {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What TOML says.
        message: String,
    },
    /// The file has a key that no setting has.
    #[error("{}:{line}: there is no setting {key:?}{}; 'hulynet config' lists all of them", path.display(), nearest.map(|nearest| format!(", did you mean {nearest:?}?")).unwrap_or_default())]
    Key {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The setting with the most similar key, if one is.
        nearest: Option<&'static str>,
    },
    /// A value in the file has another type than its setting.
    #[error("{}:{line}: {key} takes {takes}, written as {written}, not {found}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The setting.
        key: &'static str,
        /// What it takes.
        takes: &'static str,
        /// How that is written.
        written: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// A value cannot be read.
    #[error("{origin}: {key} takes {takes}, not {text:?}{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    Value {
        /// The setting.
        key: &'static str,
        /// Where the value stands.
        origin: Origin,
        /// The value.
        text: String,
        /// What the setting takes.
        takes: &'static str,
        /// More about why.
        cause: Option<String>,
    },
    /// A variable of the environment is not text.
    #[error("the environment variable {0} is not valid UTF-8; set it to plain text")]
    Environment(String),
    /// The table and the settings differ, which is a defect of this program.
    #[error("the table of settings is shorter than the settings; this is a defect of hulynet")]
    Table,
}
