//! Typed clients: what `#[interface]` of the SDK makes works with a
//! [`Reference`].

use futures::StreamExt;
use hulynet_protocol::{ErrorKind, NetworkError, Retry};
use hulynet_sdk as sdk;

use crate::{Answer, Reference, Request};

impl sdk::Transport for Reference {
    async fn request(&self, operation: &str, payload: Vec<u8>) -> sdk::Result<sdk::Answer> {
        match self.perform(Request::new(operation, payload)).await.map_err(error)? {
            Answer::Payload(payload) => Ok(sdk::Answer::Payload(payload.into())),
            Answer::Stream(chunks) => {
                let chunks = chunks.into_stream().map(|chunk| match chunk {
                    Ok(chunk) => Ok(chunk.into()),
                    Err(failed) => Err(error(failed)),
                });
                Ok(sdk::Answer::Chunks(sdk::Chunks::new(chunks)))
            }
        }
    }
}

fn error(error: NetworkError) -> sdk::Error {
    let retry = match error.retry {
        Retry::NotProcessed => sdk::Retry::NotProcessed,
        Retry::MaybeProcessed => sdk::Retry::MaybeProcessed,
        Retry::Final => sdk::Retry::Final,
    };
    sdk::Error::new(kind(error.kind), retry, error.message)
}

fn kind(kind: ErrorKind) -> sdk::ErrorKind {
    match kind {
        ErrorKind::UnknownKind => sdk::ErrorKind::UnknownKind,
        ErrorKind::UnknownContainer => sdk::ErrorKind::UnknownContainer,
        ErrorKind::UnknownOperation => sdk::ErrorKind::UnknownOperation,
        ErrorKind::InvalidArguments => sdk::ErrorKind::InvalidArguments,
        ErrorKind::PermissionDenied => sdk::ErrorKind::PermissionDenied,
        ErrorKind::Application => sdk::ErrorKind::Application,
        ErrorKind::StartFailed => sdk::ErrorKind::StartFailed,
        ErrorKind::ContainerEnded => sdk::ErrorKind::ContainerEnded,
        ErrorKind::StaleEpoch => sdk::ErrorKind::StaleEpoch,
        ErrorKind::Busy => sdk::ErrorKind::Busy,
        ErrorKind::TooLarge => sdk::ErrorKind::TooLarge,
        ErrorKind::DeadlineExceeded => sdk::ErrorKind::DeadlineExceeded,
        ErrorKind::Cancelled => sdk::ErrorKind::Cancelled,
        ErrorKind::Unavailable => sdk::ErrorKind::Unavailable,
        ErrorKind::Protocol => sdk::ErrorKind::Protocol,
        ErrorKind::Internal => sdk::ErrorKind::Internal,
    }
}
