//! Errors between the contract and the wire.

use hulynet_protocol::{ErrorKind, NetworkError, Retry};

use crate::bindings::huly::network::common;

/// What an operator does about a limit of the containers of a kind.
pub(crate) fn raise(limit: &str) -> String {
    format!(
        "raise the limit {limit} of its kind in the agent's grants, and in its manifest where that \
         lowers it, and start the agent again"
    )
}

/// An error for a container.
pub(crate) fn to_guest(error: NetworkError) -> common::Error {
    common::Error {
        kind: kind_to_guest(error.kind),
        retry: match error.retry {
            Retry::NotProcessed => common::Retry::NotProcessed,
            Retry::MaybeProcessed => common::Retry::MaybeProcessed,
            Retry::Final => common::Retry::Final,
        },
        message: error.message,
    }
}

/// An error of a container; a message that is too long is cut.
pub(crate) fn from_guest(error: common::Error) -> NetworkError {
    let retry = match error.retry {
        common::Retry::NotProcessed => Retry::NotProcessed,
        common::Retry::MaybeProcessed => Retry::MaybeProcessed,
        common::Retry::Final => Retry::Final,
    };
    NetworkError::new(kind_from_guest(error.kind), retry, error.message)
}

/// Both directions of one list of names, so that they cannot differ.
macro_rules! kinds {
    ($($name:ident),* $(,)?) => {
        fn kind_to_guest(kind: ErrorKind) -> common::ErrorKind {
            match kind { $(ErrorKind::$name => common::ErrorKind::$name,)* }
        }

        fn kind_from_guest(kind: common::ErrorKind) -> ErrorKind {
            match kind { $(common::ErrorKind::$name => ErrorKind::$name,)* }
        }
    };
}

kinds! {
    UnknownKind, UnknownContainer, UnknownOperation, InvalidArguments, PermissionDenied,
    Application, StartFailed, ContainerEnded, StaleEpoch, Busy, TooLarge, DeadlineExceeded,
    Cancelled, Unavailable, Protocol, Internal,
}
