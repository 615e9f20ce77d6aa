//! Errors between the contract and the wire.

use hulynet_protocol::{ErrorKind, NetworkError, Retry};

use crate::bindings::huly::network::types;

/// An error for a container.
pub(crate) fn to_guest(error: NetworkError) -> types::Error {
    types::Error {
        kind: kind_to_guest(error.kind),
        retry: match error.retry {
            Retry::NotProcessed => types::Retry::NotProcessed,
            Retry::MaybeProcessed => types::Retry::MaybeProcessed,
            Retry::Final => types::Retry::Final,
        },
        message: error.message,
    }
}

/// An error of a container; a message that is too long is cut.
pub(crate) fn from_guest(error: types::Error) -> NetworkError {
    let retry = match error.retry {
        types::Retry::NotProcessed => Retry::NotProcessed,
        types::Retry::MaybeProcessed => Retry::MaybeProcessed,
        types::Retry::Final => Retry::Final,
    };
    NetworkError::new(kind_from_guest(error.kind), retry, error.message)
}

/// Both directions of one list of names, so that they cannot differ.
macro_rules! kinds {
    ($($name:ident),* $(,)?) => {
        fn kind_to_guest(kind: ErrorKind) -> types::ErrorKind {
            match kind { $(ErrorKind::$name => types::ErrorKind::$name,)* }
        }

        fn kind_from_guest(kind: types::ErrorKind) -> ErrorKind {
            match kind { $(types::ErrorKind::$name => ErrorKind::$name,)* }
        }
    };
}

kinds! {
    UnknownKind, UnknownContainer, UnknownOperation, InvalidArguments, PermissionDenied,
    Application, StartFailed, ContainerEnded, StaleEpoch, Busy, TooLarge, DeadlineExceeded,
    Cancelled, Unavailable, Protocol, Internal,
}
