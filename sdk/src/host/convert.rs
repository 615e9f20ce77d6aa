//! Between the contract's types and the SDK's.

use std::rc::Rc;

use std::time::Duration;

use futures::{StreamExt, stream};

use super::bindings::exports::huly::network::guest;
use super::bindings::huly::network::{common, document_values as documents, identity, log, types};
use crate::kind::Request;
use crate::{
    Answer, Chunks, ContainerId, Context, Epoch, Error, ErrorKind, Labels, Retry, Termination,
};

/// Maps an enum to another of the same variants, in one or both directions.
macro_rules! same {
    ($from:ty => $to:ty { $($variant:ident),+ $(,)? }) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self {
                match value {
                    $(<$from>::$variant => Self::$variant),+
                }
            }
        }
    };
    ($one:ty = $other:ty { $($variant:ident),+ $(,)? }) => {
        same!($one => $other { $($variant),+ });
        same!($other => $one { $($variant),+ });
    };
}

same!(
    common::ErrorKind = ErrorKind {
        UnknownKind,
        UnknownContainer,
        UnknownOperation,
        InvalidArguments,
        PermissionDenied,
        Application,
        StartFailed,
        ContainerEnded,
        StaleEpoch,
        Busy,
        TooLarge,
        DeadlineExceeded,
        Cancelled,
        Unavailable,
        Protocol,
        Internal,
    }
);
same!(common::Retry = Retry { NotProcessed, MaybeProcessed, Final });
same!(Termination => guest::Termination { Ended, NotYet });
same!(crate::log::Level => log::Level { Trace, Debug, Info, Warn, Error });
same!(documents::Role = crate::documents::Role { Member, Owner });

impl From<common::Error> for Error {
    fn from(error: common::Error) -> Self {
        Self { kind: error.kind.into(), retry: error.retry.into(), message: error.message }
    }
}

impl From<Error> for common::Error {
    fn from(error: Error) -> Self {
        Self { kind: error.kind.into(), retry: error.retry.into(), message: error.message }
    }
}

impl From<common::ContainerId> for ContainerId {
    fn from(id: common::ContainerId) -> Self {
        Self { kind: id.kind, uuid: id.uuid }
    }
}

impl From<identity::Identity> for crate::identity::Identity {
    fn from(identity: identity::Identity) -> Self {
        Self {
            id: identity.id.into(),
            epoch: Epoch { term: identity.epoch.term, counter: identity.epoch.counter },
            agent: identity.agent,
            labels: Labels::from_iter(identity.labels),
        }
    }
}

impl From<crate::containers::GetOptions> for common::GetOptions {
    fn from(options: crate::containers::GetOptions) -> Self {
        let requirement = |(key, condition): (String, crate::containers::Condition)| {
            common::Requirement { key, condition: condition.into() }
        };
        Self {
            uuid: options.uuid,
            labels: options.labels.into_iter().collect(),
            select: options.select.into_iter().map(requirement).collect(),
            extra: options.extra,
            near: options.near.into_iter().collect(),
            avoid: options.avoid.into_iter().collect(),
        }
    }
}

impl From<crate::containers::Condition> for common::Condition {
    fn from(condition: crate::containers::Condition) -> Self {
        match condition {
            crate::containers::Condition::OneOf(values) => Self::OneOf(values),
            crate::containers::Condition::NoneOf(values) => Self::NoneOf(values),
            crate::containers::Condition::Present => Self::Present,
            crate::containers::Condition::Absent => Self::Absent,
        }
    }
}

impl From<types::Body> for Answer {
    fn from(body: types::Body) -> Self {
        match body {
            types::Body::Payload(payload) => Self::Payload(payload),
            types::Body::Chunks(reader) => {
                Self::Chunks(Chunks::new(stream::unfold(reader, |mut reader| async {
                    reader.next().await.map(|chunk| (chunk.map_err(Into::into), reader))
                })))
            }
        }
    }
}

impl From<Answer> for types::Body {
    /// Chunks are written by a task that ends with the reader or the stream.
    fn from(answer: Answer) -> Self {
        let mut chunks = match answer {
            Answer::Payload(payload) => return Self::Payload(payload),
            Answer::Chunks(chunks) => chunks,
        };
        let (mut writer, reader) = super::bindings::wit_stream::new();
        wit_bindgen::spawn_local(async move {
            while let Some(chunk) = chunks.next().await {
                let last = chunk.is_err();
                let unread = writer.write_one(chunk.map_err(Into::into)).await;
                if last || unread.is_some() {
                    break;
                }
            }
        });
        Self::Chunks(reader)
    }
}

impl From<guest::Incoming> for Request {
    fn from(request: guest::Incoming) -> Self {
        Self {
            operation: request.operation,
            payload: request.payload,
            context: Context {
                caller: caller(request.caller),
                timeout: Duration::from_millis(request.deadline_ms.into()),
                idempotency: request.idempotency,
                trace: u128::from(request.trace.high) << 64 | u128::from(request.trace.low),
            },
        }
    }
}

impl From<guest::Connection> for crate::Connection {
    fn from(connection: guest::Connection) -> Self {
        Self { id: connection.id, caller: caller(connection.caller) }
    }
}

fn caller(caller: types::Caller) -> crate::Caller {
    crate::Caller(super::Caller(Rc::new(caller)))
}

impl From<documents::Membership> for crate::documents::Membership {
    fn from(membership: documents::Membership) -> Self {
        Self { workspace: membership.workspace, role: membership.role.into() }
    }
}

impl From<&crate::documents::Changes> for documents::Changes {
    fn from(changes: &crate::documents::Changes) -> Self {
        let json = |values: &[serde_json::Value]| values.iter().map(ToString::to_string).collect();
        Self {
            first: changes.first,
            transactions: json(&changes.transactions),
            put: json(&changes.put),
            remove: changes.remove.clone(),
        }
    }
}

impl From<documents::CommitError> for crate::documents::CommitError {
    fn from(error: documents::CommitError) -> Self {
        match error {
            documents::CommitError::Conflict(head) => Self::Conflict { head },
            documents::CommitError::Duplicate(entry) => {
                Self::Duplicate { id: entry.id, sequence: entry.sequence }
            }
            documents::CommitError::Failed(error) => Self::Failed(error.into()),
        }
    }
}
