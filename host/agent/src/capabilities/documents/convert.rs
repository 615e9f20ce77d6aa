//! Documents between the contract (JSON texts) and the store (values).

use hulynet_protocol::{ErrorKind, IdError, NetworkError};
use hulynet_store::{
    Filter, Options, StoreError,
    limits::{MAX_COMMIT_BYTES, MAX_TRANSACTION_BYTES},
};
use serde_json::Value;

use super::{Changes, Commit, CommitError, Duplicate, Found, Membership, Role, to_guest};

/// A query's filter.
pub(super) fn filter(text: &str) -> Result<Filter, NetworkError> {
    Filter::parse(&parse("the filter", text)?).map_err(|error| invalid(error.to_string()))
}

/// A query's options.
pub(super) fn options(text: &str) -> Result<Options, NetworkError> {
    Options::parse(&parse("the options", text)?).map_err(|error| invalid(error.to_string()))
}

/// A JSON text, looked at only when its size is one that the store may take:
/// values take many times the memory of their text.
pub(super) fn parse(what: &str, text: &str) -> Result<Value, NetworkError> {
    check_size(what, text.len(), MAX_TRANSACTION_BYTES)?;
    serde_json::from_str(text).map_err(|error| invalid(format!("{what} is not JSON: {error}")))
}

/// A value as JSON text.
pub(super) fn text(value: Value) -> String {
    value.to_string()
}

/// What a search found.
pub(super) fn found(found: hulynet_store::Found) -> Found {
    Found { total: found.total, documents: found.documents.into_iter().map(text).collect() }
}

/// The workspaces of an account.
pub(super) fn memberships(memberships: Vec<hulynet_store::Membership>) -> Vec<Membership> {
    let convert = |membership: hulynet_store::Membership| Membership {
        workspace: membership.workspace.into(),
        role: match membership.role {
            hulynet_store::Role::Member => Role::Member,
            hulynet_store::Role::Owner => Role::Owner,
        },
    };
    memberships.into_iter().map(convert).collect()
}

/// What a container wants to commit.
pub(super) fn commit(changes: Changes) -> Result<Commit, NetworkError> {
    let texts = changes.transactions.iter().chain(&changes.put);
    check_size("the commit", texts.map(String::len).sum(), MAX_COMMIT_BYTES)?;
    let values = |what: &str, texts: Vec<String>| {
        texts.iter().map(|text| parse(what, text)).collect::<Result<Vec<_>, _>>()
    };
    Ok(Commit {
        first: changes.first,
        transactions: values("a transaction", changes.transactions)?,
        put: values("a document", changes.put)?,
        remove: changes.remove,
    })
}

/// Why a commit was refused.
pub(super) fn commit_error(error: StoreError) -> CommitError {
    match error {
        StoreError::Conflict { head, .. } => CommitError::Conflict(head),
        StoreError::Duplicate { id, sequence } => {
            CommitError::Duplicate(Duplicate { id, sequence })
        }
        error => CommitError::Failed(to_guest(store_error(error))),
    }
}

/// The error of a name that no workspace or account can have.
pub(super) fn invalid_name(error: IdError) -> NetworkError {
    store_error(error.into())
}

/// An error of the store for the network.
pub(super) fn store_error(error: StoreError) -> NetworkError {
    let kind = match &error {
        StoreError::InvalidName(_) | StoreError::Invalid { .. } => ErrorKind::InvalidArguments,
        StoreError::AlreadyExists { .. }
        | StoreError::NoSuchWorkspace { .. }
        | StoreError::Forbidden { .. } => ErrorKind::PermissionDenied,
        StoreError::StaleEpoch { .. } => ErrorKind::StaleEpoch,
        StoreError::TooLarge { .. } => ErrorKind::TooLarge,
        StoreError::Busy { .. } => ErrorKind::Busy,
        StoreError::Conflict { .. }
        | StoreError::Duplicate { .. }
        | StoreError::NewerFormat { .. }
        | StoreError::Damaged { .. }
        | StoreError::Engine { .. } => ErrorKind::Internal,
    };
    NetworkError::new(kind, error.retry(), error.to_string())
}

fn check_size(what: &str, bytes: usize, limit: usize) -> Result<(), NetworkError> {
    if bytes <= limit {
        return Ok(());
    }
    Err(NetworkError::refused(
        ErrorKind::TooLarge,
        format!("{what} has {bytes} bytes, over the limit of {limit} bytes; send it in parts"),
    ))
}

fn invalid(message: String) -> NetworkError {
    NetworkError::refused(ErrorKind::InvalidArguments, message)
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::Retry;

    use super::*;

    #[test]
    fn what_is_not_json_is_named_with_its_place() {
        let error = filter("{\"a\": }").unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArguments);
        assert!(error.message.starts_with("the filter is not JSON: "), "{error}");
        assert!(options("{\"limit\": \"x\"}").is_err());
        let changes =
            Changes { first: 1, transactions: vec!["x".to_owned()], put: vec![], remove: vec![] };
        assert!(commit(changes).unwrap_err().message.starts_with("a transaction is not JSON"));
    }

    #[test]
    fn what_the_store_would_refuse_for_its_size_is_not_even_read() {
        let error = filter(&"[".repeat(MAX_TRANSACTION_BYTES + 1)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge);
        let put = vec!["[".repeat(MAX_TRANSACTION_BYTES); 9];
        let changes = Changes { first: 1, transactions: vec![], put, remove: vec![] };
        let error = commit(changes).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge);
        assert!(error.message.starts_with("the commit has "), "{error}");
    }

    #[test]
    fn who_is_not_a_member_is_denied_whether_or_not_the_workspace_exists() {
        let error = store_error(StoreError::NoSuchWorkspace {
            workspace: "w".to_owned(),
            account: "a".to_owned(),
        });
        assert_eq!((error.kind, error.retry), (ErrorKind::PermissionDenied, Retry::Final));
    }

    #[test]
    fn a_conflict_tells_the_head_and_a_busy_store_may_be_asked_again() {
        let conflict = commit_error(StoreError::Conflict { first: 1, head: 7 });
        assert!(matches!(conflict, CommitError::Conflict(7)));
        assert_eq!(store_error(StoreError::Busy { what: "writing" }).retry, Retry::NotProcessed);
    }
}
