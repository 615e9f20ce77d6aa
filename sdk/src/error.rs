//! The one error that crosses the network, as kinds and typed clients see it.

use std::fmt;

/// The longest message of an error, in bytes; a longer one is cut.
const MESSAGE_BYTES: usize = 4 * 1024;

/// A result whose error can cross the network.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The container ended while it had the request.
    ContainerEnded,
    /// The request named an activation that is not the live one.
    StaleEpoch,
    /// A queue on the way is full.
    Busy,
    /// A payload or result is over its limit.
    TooLarge,
    /// The deadline passed.
    DeadlineExceeded,
    /// The caller gave up.
    Cancelled,
    /// The other side cannot be reached.
    Unavailable,
    /// The other side broke the protocol.
    Protocol,
    /// A defect of the host.
    Internal,
}

/// Whether a failed request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Nothing was done: repeat it whenever it suits.
    NotProcessed,
    /// It may have been done: repeat it only when it is idempotent.
    MaybeProcessed,
    /// It was understood and refused: it fails again.
    Final,
}

/// Why a request failed.
///
/// An error type of your own becomes one with `impl From<MyError> for Error`,
/// usually through [`Error::application`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// For programs.
    pub kind: ErrorKind,
    /// Whether a repetition is safe.
    pub retry: Retry,
    /// For people: names the thing and the remedy.
    pub message: String,
}

impl Error {
    /// An error; a message over 4 KiB is cut.
    #[must_use]
    pub fn new(kind: ErrorKind, retry: Retry, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        Self { kind, retry, message }
    }

    /// The container's own refusal, for example
    /// `read().map_err(Error::application)?`. The same request fails again.
    #[must_use]
    pub fn application(cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Application, Retry::Final, cause.to_string())
    }

    /// Arguments that the operation does not take.
    #[must_use]
    pub fn invalid_arguments(cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::InvalidArguments, Retry::Final, cause.to_string())
    }

    /// The caller may not do this.
    #[must_use]
    pub fn permission_denied(cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::PermissionDenied, Retry::Final, cause.to_string())
    }

    /// An answer that is not what the operation promises.
    pub(crate) fn protocol(cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Protocol, Retry::MaybeProcessed, cause.to_string())
    }

    /// An operation that the kind does not have.
    #[must_use]
    pub fn unknown_operation(operation: &str, known: &[&str]) -> Self {
        let known = if known.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {}", known.join(", "))
        };
        Self::new(
            ErrorKind::UnknownOperation,
            Retry::Final,
            format!("this container has no operation {operation:?}; {known}"),
        )
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::application(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::application(message)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::application(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_giant_message_is_cut_between_characters() {
        assert_eq!(Error::application("é".repeat(MESSAGE_BYTES)).message.len(), MESSAGE_BYTES);
    }

    #[test]
    fn an_unknown_operation_is_answered_with_the_known_ones() {
        let error = Error::unknown_operation("sum", &["add", "value"]);
        assert_eq!(error.message, r#"this container has no operation "sum"; it has add, value"#);
    }
}
