//! The one error that crosses the wire.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Whether the failed request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Retry {
    /// Nothing was done: send it again whenever it suits. Clients do so by
    /// themselves.
    NotProcessed,
    /// It may have been done before the answer was lost: repeat it only when
    /// it is idempotent.
    MaybeProcessed,
    /// It was understood and refused: the same request fails again.
    Final,
}

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// No agent serves the kind.
    UnknownKind,
    /// No such container is live.
    UnknownContainer,
    /// The container has no such operation.
    UnknownOperation,
    /// The arguments do not have the form that the operation takes.
    InvalidArguments,
    /// The caller may not do this.
    PermissionDenied,
    /// The container refused or failed the request in its own code.
    Application,
    /// The container could not be started.
    StartFailed,
    /// The container ended (trap, limit or termination) while it had the
    /// request.
    ContainerEnded,
    /// The request carried an epoch that is not the live one.
    StaleEpoch,
    /// A queue on the way is full.
    Busy,
    /// A payload, header or result is over its limit.
    TooLarge,
    /// The deadline passed.
    DeadlineExceeded,
    /// The caller gave up.
    Cancelled,
    /// The peer cannot be reached or was lost.
    Unavailable,
    /// The peer does not speak this protocol or this version of it.
    Protocol,
    /// A defect of this software.
    Internal,
}

impl ErrorKind {
    /// The kind as people and programs read it, in kebab-case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownKind => "unknown-kind",
            Self::UnknownContainer => "unknown-container",
            Self::UnknownOperation => "unknown-operation",
            Self::InvalidArguments => "invalid-arguments",
            Self::PermissionDenied => "permission-denied",
            Self::Application => "application",
            Self::StartFailed => "start-failed",
            Self::ContainerEnded => "container-ended",
            Self::StaleEpoch => "stale-epoch",
            Self::Busy => "busy",
            Self::TooLarge => "too-large",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::Cancelled => "cancelled",
            Self::Unavailable => "unavailable",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request failed: for programs its kind and whether a retry is safe,
/// for people a message that names the thing and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct NetworkError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether sending it again is safe.
    pub retry: Retry,
    /// For people.
    pub message: String,
}

impl NetworkError {
    /// An error; a message over [`limits::ERROR_BYTES`] is cut.
    #[must_use]
    pub fn new(kind: ErrorKind, retry: Retry, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > limits::ERROR_BYTES {
            message.truncate(message.floor_char_boundary(limits::ERROR_BYTES));
        }
        Self { kind, retry, message }
    }

    /// An error after which the same request fails again.
    #[must_use]
    pub fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, Retry::Final, message)
    }

    /// An error of a request that was not begun.
    #[must_use]
    pub fn not_processed(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, Retry::NotProcessed, message)
    }

    /// An error of a request that may have been carried out.
    #[must_use]
    pub fn maybe_processed(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, Retry::MaybeProcessed, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_giant_message_is_cut_between_characters() {
        let error = NetworkError::refused(ErrorKind::Application, "é".repeat(limits::ERROR_BYTES));
        assert_eq!(error.message.len(), limits::ERROR_BYTES);
    }
}
