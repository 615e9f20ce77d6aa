//! How a command fails: one message for people, one exit code for programs.

use std::{io, process::ExitCode};

use hulynet_protocol::{ErrorKind, NetworkError, Retry};
use serde_json::{Value, json};

use crate::{config::ConfigError, output};

/// The exit codes, as `hulynet --help` documents them; 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The network refused, or the operation failed.
    Refused = 1,
    /// The usage, the configuration or the input is wrong.
    Usage = 2,
    /// Nobody answers, or not in time.
    Unreachable = 3,
}

/// Why a command ends without success.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    network: Option<(ErrorKind, Retry)>,
}

impl Failure {
    /// The usage, the configuration or the input is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), network: None }
    }

    /// The operation failed.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { exit: Exit::Refused, message: message.into(), network: None }
    }

    /// It did not happen in time.
    pub(crate) fn late(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, message: message.into(), network: None }
    }

    /// The same failure, told as part of something larger.
    pub(crate) fn within(self, what: impl FnOnce(String) -> String) -> Self {
        Self { message: what(self.message), ..self }
    }

    /// Writes the message on stderr, if there is one, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json && !self.message.is_empty() {
            output::note(&self.json().to_string());
        } else if !self.message.is_empty() {
            output::note(&format!("error: {}{}", self.message, self.advice()));
        }
        ExitCode::from(self.exit as u8)
    }

    /// What the retry class means to a person, where it is of use.
    fn advice(&self) -> &'static str {
        match self.network {
            Some((_, Retry::NotProcessed)) => " (nothing was done: trying again is safe)",
            Some((_, Retry::MaybeProcessed)) => {
                " (it may have been carried out before the answer was lost)"
            }
            Some((_, Retry::Final)) | None => "",
        }
    }

    fn json(&self) -> Value {
        let mut error = json!({ "message": self.message, "exit": self.exit as u8 });
        if let (Some((kind, retry)), Some(fields)) = (self.network, error.as_object_mut()) {
            let retry = match retry {
                Retry::NotProcessed => "not-processed",
                Retry::MaybeProcessed => "maybe-processed",
                Retry::Final => "final",
            };
            fields.insert("kind".into(), kind.as_str().into());
            fields.insert("retry".into(), retry.into());
        }
        json!({ "error": error })
    }
}

/// Which exit code an error of the network stands for.
fn exit(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::Busy => Exit::Unreachable,
        ErrorKind::InvalidArguments => Exit::Usage,
        ErrorKind::UnknownKind
        | ErrorKind::UnknownContainer
        | ErrorKind::UnknownOperation
        | ErrorKind::PermissionDenied
        | ErrorKind::Application
        | ErrorKind::StartFailed
        | ErrorKind::ContainerEnded
        | ErrorKind::StaleEpoch
        | ErrorKind::TooLarge
        | ErrorKind::Cancelled
        | ErrorKind::Protocol
        | ErrorKind::Internal => Exit::Refused,
    }
}

impl From<NetworkError> for Failure {
    fn from(error: NetworkError) -> Self {
        Self {
            exit: exit(error.kind),
            message: error.message,
            network: Some((error.kind, error.retry)),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

/// Standard input or output failed; everything else names what it was about.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // Whoever read the output, `head` for one, has enough of it.
            return Self::refused("");
        }
        Self::refused(format!("standard input or output failed: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_cannot_be_reached_or_is_late_exits_with_three() {
        for kind in [ErrorKind::Unavailable, ErrorKind::DeadlineExceeded, ErrorKind::Busy] {
            assert_eq!(exit(kind), Exit::Unreachable, "{kind}");
        }
    }

    #[test]
    fn a_reader_that_has_enough_is_told_nothing() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.to_string(), "");
        assert!(!Failure::from(io::Error::other("disk full")).to_string().is_empty());
    }

    #[test]
    fn a_refusal_exits_with_one_and_wrong_arguments_with_two() {
        for kind in [
            ErrorKind::UnknownKind,
            ErrorKind::UnknownOperation,
            ErrorKind::Application,
            ErrorKind::PermissionDenied,
        ] {
            assert_eq!(exit(kind), Exit::Refused, "{kind}");
        }
        assert_eq!(exit(ErrorKind::InvalidArguments), Exit::Usage);
        assert_eq!(Failure::from(ConfigError::Table).exit, Exit::Usage);
    }

    #[test]
    fn people_and_programs_are_told_whether_a_retry_is_safe() {
        let failure = Failure::from(NetworkError::not_processed(ErrorKind::Unavailable, "gone"));
        assert!(failure.advice().contains("trying again is safe"));
        let error = json!({ "error": { "message": "gone", "exit": 3, "kind": "unavailable", "retry": "not-processed" } });
        assert_eq!(failure.json(), error);
        assert_eq!(Failure::usage("x").json(), json!({ "error": { "message": "x", "exit": 2 } }));
    }
}
