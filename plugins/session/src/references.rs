//! The containers that a session works with, held so that a request need not
//! look for them first.

use std::sync::{Mutex, MutexGuard, PoisonError};

use huly_api::names;
use huly_model::Recent;
use hulynet_sdk::containers::{self, GetOptions, Reference};
use hulynet_sdk::{Error, ErrorKind, Result, Retry};

/// How many transactors are held at most; holding one keeps it alive.
const TRANSACTORS: usize = 256;

/// Under this name the query is held; no workspace is called so, because a
/// name is never empty.
const QUERY: &str = "";

/// References that are held.
#[derive(Debug)]
pub(crate) struct References(Mutex<Recent<Reference>>);

impl Default for References {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(TRANSACTORS + 1)))
    }
}

/// Whether a reference that is held will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Yes.
    First,
    /// No: it led to a container that is gone.
    Again,
}

/// Does something with a container, and once again with a reference of its
/// own if the container that was held is gone and nothing was done.
pub(crate) async fn retrying<T>(attempt: impl AsyncFn(Attempt) -> Result<T>) -> Result<T> {
    match attempt(Attempt::First).await {
        Err(error) if is_gone(&error) => attempt(Attempt::Again).await,
        done => done,
    }
}

/// True if another reference may lead where this one did not.
fn is_gone(error: &Error) -> bool {
    let gone = [
        ErrorKind::UnknownContainer,
        ErrorKind::ContainerEnded,
        ErrorKind::StaleEpoch,
        ErrorKind::Unavailable,
    ];
    error.retry == Retry::NotProcessed && gone.contains(&error.kind)
}

impl References {
    /// The transactor of a workspace.
    pub(crate) async fn transactor(&self, workspace: &str, attempt: Attempt) -> Result<Reference> {
        let options =
            GetOptions::uuid(names::transactor(workspace)).label(names::WORKSPACE, workspace);
        self.get(workspace, names::TRANSACTOR, options, attempt).await
    }

    /// A query.
    pub(crate) async fn query(&self, attempt: Attempt) -> Result<Reference> {
        self.get(QUERY, names::QUERY, GetOptions::default(), attempt).await
    }

    async fn get(
        &self,
        name: &str,
        kind: &str,
        options: GetOptions,
        attempt: Attempt,
    ) -> Result<Reference> {
        match attempt {
            Attempt::First => {
                if let Some(reference) = self.held().get(name) {
                    return Ok(reference.clone());
                }
            }
            Attempt::Again => drop(self.held().remove(name)),
        }
        let reference = containers::get(kind, options).await?;
        self.held().insert(name, reference.clone());
        Ok(reference)
    }

    fn held(&self) -> MutexGuard<'_, Recent<Reference>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    async fn attempts(kind: ErrorKind, retry: Retry) -> Vec<Attempt> {
        let seen = RefCell::new(Vec::new());
        let outcome = retrying(async |attempt| {
            seen.borrow_mut().push(attempt);
            Err::<(), _>(Error::new(kind, retry, "no"))
        })
        .await;
        assert!(outcome.is_err());
        seen.into_inner()
    }

    #[tokio::test]
    async fn a_container_that_is_gone_is_looked_for_once_more() {
        assert_eq!(
            attempts(ErrorKind::UnknownContainer, Retry::NotProcessed).await,
            [Attempt::First, Attempt::Again]
        );
        assert_eq!(
            attempts(ErrorKind::StaleEpoch, Retry::NotProcessed).await,
            [Attempt::First, Attempt::Again]
        );
    }

    #[tokio::test]
    async fn what_may_have_been_done_or_was_refused_is_not_repeated() {
        assert_eq!(
            attempts(ErrorKind::ContainerEnded, Retry::MaybeProcessed).await,
            [Attempt::First]
        );
        assert_eq!(attempts(ErrorKind::Application, Retry::Final).await, [Attempt::First]);
        assert_eq!(attempts(ErrorKind::Busy, Retry::NotProcessed).await, [Attempt::First]);
    }
}
