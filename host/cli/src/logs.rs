//! Log lines on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, Settings};
use crate::failure::Failure;

/// Begins logging as the settings say; colours only on a terminal.
pub(crate) fn begin(settings: &Settings, serves: bool) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(settings.log.directives(serves))
        .map_err(|error| Failure::usage(format!("log: {error}")))?;
    let lines =
        fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let begun = match settings.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    begun.map_err(|error| Failure::refused(format!("logging cannot begin: {error}")))
}
