//! The transactor of one workspace: applies transactions one batch at a time,
//! and tells its connections once they are durable.
//!
//! What a batch means is decided by `huly-model`; here is only the order of
//! the steps. It remembers nothing between batches: another activation may
//! have written meanwhile, and the store is the one that knows. Two fences
//! make that safe: the network keeps one live transactor of a workspace (its
//! uuid is bound to the workspace), and the store refuses a commit of an
//! earlier activation, or one that begins anywhere but after the head that was
//! read before the documents.

use std::collections::BTreeMap;

use huly_api::{Applied, Event, Transactor, names};
use huly_model::{Batch, BatchError, Logged};
use hulynet_sdk::documents::{Changes, CommitError, Workspace};
use hulynet_sdk::prelude::*;
use hulynet_sdk::{ErrorKind, Retry};
use serde_json::Value;

/// How often a batch begins anew because another activation wrote meanwhile.
/// Once that one has ended nothing can write in between.
const ATTEMPTS: usize = 4;

/// The transactor of a workspace.
#[derive(Debug)]
pub struct WorkspaceTransactor {
    workspace: String,
}

#[kind]
impl Transactor for WorkspaceTransactor {
    #[start]
    fn bind() -> Result<Self> {
        let workspace = names::bound_to(names::TRANSACTOR, names::WORKSPACE, &identity())?;
        Ok(Self { workspace })
    }

    /// Events are for members.
    #[connect]
    async fn admit(&self, connection: &Connection) -> Result<()> {
        documents::open(&self.workspace, Some(&connection.caller)).await.map(drop)
    }

    async fn tx(&mut self, context: &Context, transactions: Vec<Value>) -> Result<Vec<Applied>> {
        let batch = Batch::parse(transactions).map_err(refusal)?;
        let documents = documents::open(&self.workspace, Some(&context.caller)).await?;
        for _ in 0..ATTEMPTS {
            let logged = decide(&documents, batch.clone()).await?;
            if logged.transactions.is_empty() {
                return Ok(logged.applied);
            }
            let (changes, applied) = changes(logged);
            match documents.commit(&changes).await {
                Ok(_) => {
                    self.announce(changes);
                    return Ok(applied);
                }
                Err(CommitError::Conflict { .. } | CommitError::Duplicate { .. }) => {}
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
        let message = format!(
            "another activation keeps writing to workspace `{}`; try again",
            self.workspace
        );
        Err(Error::new(ErrorKind::Busy, Retry::NotProcessed, message))
    }
}

impl WorkspaceTransactor {
    /// Tells the connections. What is durable stays so: an event that cannot
    /// be sent is a gap that sessions fill from the log.
    fn announce(&self, changes: Changes) {
        for (sequence, tx) in (changes.first..).zip(changes.transactions) {
            let event = Event { workspace: self.workspace.clone(), sequence, tx };
            if let Err(error) = connections::broadcast(&event) {
                log::warn!("an event was not sent: {error}"; sequence = sequence);
            }
        }
    }
}

/// Reads what the batch needs and applies it. The head is read first: had
/// anything been written after it, the commit would be refused.
async fn decide(documents: &Workspace, batch: Batch) -> Result<Logged> {
    let head = documents.head().await?;
    let (ids, wants) = (batch.ids(), batch.wants());
    let logged = pairs(ids.clone(), documents.lookup(ids).await?);
    let existing = pairs(wants.clone(), documents.get(wants).await?);
    batch.apply(head, logged, existing).map_err(refusal)
}

/// The keys that have a value.
fn pairs<T>(keys: Vec<String>, values: Vec<Option<T>>) -> BTreeMap<String, T> {
    keys.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?))).collect()
}

fn changes(logged: Logged) -> (Changes, Vec<Applied>) {
    let Logged { first, transactions, put, remove, applied } = logged;
    (Changes { first, transactions, put, remove }, applied)
}

fn refusal(error: BatchError) -> Error {
    match error {
        BatchError::Inapplicable { .. } => Error::application(error),
        BatchError::Malformed { .. } | BatchError::TooMany { .. } => {
            Error::invalid_arguments(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use hulynet_sdk::testing::context;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_is_no_transaction_is_refused_by_its_index_before_anything_is_read() {
        let mut transactor = WorkspaceTransactor { workspace: "w".into() };
        let create = json!({
            "_id": "t1", "_class": "core:class:TxCreateDoc", "objectId": "d", "objectClass": "c",
            "objectSpace": "s", "modifiedBy": "a", "modifiedOn": 1, "attributes": {}
        });
        let refused = transactor
            .tx(&context(Some("a")), vec![create, json!({"_id": "t2"})])
            .await
            .unwrap_err();
        assert_eq!((refused.kind, refused.retry), (ErrorKind::InvalidArguments, Retry::Final));
        assert!(
            refused.message.starts_with("transaction 1 of the batch: field `_class` is missing"),
            "{refused}"
        );
    }
}
