use std::sync::Arc;

use async_trait::async_trait;
use hulynet_filter::{Filter, Found, Options};
use hulynet_protocol::Epoch;
use serde_json::Value;

use crate::{AccountId, Membership, Role, StoreError, WorkspaceId};

/// Accounts and their workspaces. An engine implements it once; everything
/// that a guest does goes through a [`Workspace`] that [`Documents::open`]
/// hands out after it has checked the membership.
#[async_trait]
pub trait Documents: Send + Sync {
    /// Creates a workspace. Repeated by the same owner it does nothing.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when it belongs to another account.
    async fn create_workspace(
        &self,
        workspace: &WorkspaceId,
        owner: &AccountId,
    ) -> Result<(), StoreError>;

    /// Adds a member, or gives a member another role. Only an owner may, and
    /// nobody changes their own role, so that an owner always remains.
    ///
    /// # Errors
    /// [`StoreError::NoSuchWorkspace`] when `by` is not a member,
    /// [`StoreError::Forbidden`] when it is no owner or means itself.
    async fn add_member(
        &self,
        workspace: &WorkspaceId,
        by: &AccountId,
        member: &AccountId,
        role: Role,
    ) -> Result<(), StoreError>;

    /// The workspaces of an account, ordered by name.
    ///
    /// # Errors
    /// Those of the engine.
    async fn workspaces(&self, account: &AccountId) -> Result<Vec<Membership>, StoreError>;

    /// Opens a workspace for a member.
    ///
    /// # Errors
    /// [`StoreError::NoSuchWorkspace`], the same for a workspace that does
    /// not exist and for an account that is not a member.
    async fn open(
        &self,
        workspace: &WorkspaceId,
        account: &AccountId,
    ) -> Result<Arc<dyn Workspace>, StoreError>;
}

/// The documents and the log of one workspace.
///
/// What a call returns was durable before: a commit that was acknowledged
/// survives the loss of the process. Limits: [`crate::limits`].
#[async_trait]
pub trait Workspace: Send + Sync {
    /// Answers a query.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] when the answer exceeds
    /// [`crate::limits::MAX_FOUND`] or [`crate::limits::MAX_FOUND_BYTES`].
    async fn find(&self, find: Find) -> Result<Found, StoreError>;

    /// The documents with these ids, in their order; all from one moment.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for too many ids or too many bytes.
    async fn get(&self, ids: &[String]) -> Result<Vec<Option<Value>>, StoreError>;

    /// Writes transactions and their effects, all or nothing.
    ///
    /// The writer's epoch is remembered with the data: from then on a lower
    /// one is refused, which ends the writer that has been replaced.
    ///
    /// # Errors
    /// In this order: [`StoreError::Invalid`] or [`StoreError::TooLarge`],
    /// [`StoreError::StaleEpoch`], [`StoreError::Duplicate`],
    /// [`StoreError::Conflict`]; with none of them anything is written.
    async fn commit(&self, writer: Epoch, commit: Commit) -> Result<Committed, StoreError>;

    /// The log after a sequence number, in order: at most `limit` entries,
    /// fewer when they are large ([`crate::limits::MAX_LOG_ENTRIES`],
    /// [`crate::limits::MAX_LOG_BYTES`]) but at least one if there is one.
    /// Go on from the last one received; an empty answer is the end.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a limit of 0; those of the engine.
    async fn log(&self, after: u64, limit: u32) -> Result<Vec<LogEntry>, StoreError>;

    /// The last sequence number in the log, 0 when it is empty.
    ///
    /// # Errors
    /// Those of the engine.
    async fn head(&self) -> Result<u64, StoreError>;

    /// The sequence numbers of transactions, in the order of their ids;
    /// `None` for one that is not in the log.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for too many ids.
    async fn lookup(&self, transactions: &[String]) -> Result<Vec<Option<u64>>, StoreError>;
}

/// A query.
#[derive(Debug, Clone, Default)]
pub struct Find {
    /// Which documents.
    pub filter: Filter,
    /// How many, in which order, with which fields.
    pub options: Options,
}

/// One atomic change of a workspace.
///
/// U+0000 in texts is replaced by U+FFFD on the way in, because some engines
/// cannot keep it.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The sequence number of the first transaction: one after the head.
    pub first: u64,
    /// The transactions, at least one, each an object with its own `_id`.
    pub transactions: Vec<Value>,
    /// Whole documents with `_id` and `_class`, new or replacing; each id at
    /// most once.
    pub put: Vec<Value>,
    /// Ids of documents to remove; one that does not exist is no error.
    pub remove: Vec<String>,
}

/// What a commit has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The sequence number of its last transaction, now the head of the log.
    pub head: u64,
}

/// One transaction in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Its sequence number, from 1 without gaps.
    pub sequence: u64,
    /// The transaction.
    pub transaction: Value,
}
