//! Durable documents, a separate set for each workspace.
//!
//! The host keeps workspaces apart: a handle is only given for a workspace
//! that the account behind it is a member of, and only a container started
//! with the label `workspace=W` may commit to `W`. `caller` is the one whose
//! request is being served; without it the container's own account asks.
//!
//! The limits are those of `wit/documents.wit`; errors tell them.

use serde::Serialize;
use serde_json::Value;

use crate::{Caller, Error, ErrorKind, Result, Retry, host};

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// How many documents match, whatever the limit; present when the options
    /// ask for the total.
    pub total: Option<u64>,
    /// The documents, in the order asked for.
    pub documents: Vec<Value>,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place, from 1, without gaps.
    pub sequence: u64,
    /// The transaction as it was committed.
    pub transaction: Value,
}

/// A set of changes that become durable together or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The sequence number of the first transaction: the head plus one.
    pub first: u64,
    /// What goes into the log, one sequence number each. Every one is an
    /// object with a text `_id` that is not in the log yet. 1 to 1,000.
    pub transactions: Vec<Value>,
    /// Documents as they are afterwards: objects with text `_id` and `_class`.
    pub put: Vec<Value>,
    /// The ids of documents that are gone afterwards.
    pub remove: Vec<String>,
}

/// Why nothing was committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The head is not what the caller thought.
    #[error("the workspace's log is at {head}, not where the changes begin")]
    Conflict {
        /// The head.
        head: u64,
    },
    /// A transaction was committed before.
    #[error("transaction {id:?} is in the log already, at {sequence}")]
    Duplicate {
        /// Its id.
        id: String,
        /// Its sequence number.
        sequence: u64,
    },
    /// Anything else. A container that a later activation replaced gets no
    /// answer: it ends.
    #[error(transparent)]
    Failed(Error),
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Failed(error) => error,
            other => Self::new(ErrorKind::Application, Retry::NotProcessed, other.to_string()),
        }
    }
}

/// What an account may do in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also adds members.
    Owner,
}

/// A workspace of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The workspace.
    pub workspace: String,
    /// What the account may do there.
    pub role: Role,
}

/// The workspace's documents.
///
/// # Errors
/// `permission-denied` when the account is not a member, whether or not the
/// workspace exists.
pub async fn open(workspace: &str, caller: Option<&Caller>) -> Result<Workspace> {
    host::open(workspace, caller.map(|caller| &caller.0)).await.map(Workspace)
}

/// Makes a workspace that the account owns. Making one's own again is no
/// error.
///
/// # Errors
/// `permission-denied` when it belongs to somebody else.
pub async fn create_workspace(workspace: &str, caller: Option<&Caller>) -> Result<()> {
    host::create_workspace(workspace, caller.map(|caller| &caller.0)).await
}

/// Makes another account a member, or changes its role. Owners only.
///
/// # Errors
/// `permission-denied` to others.
pub async fn add_member(
    workspace: &str,
    account: &str,
    role: Role,
    caller: Option<&Caller>,
) -> Result<()> {
    host::add_member(workspace, account, role, caller.map(|caller| &caller.0)).await
}

/// The workspaces of the account.
///
/// # Errors
/// `permission-denied` when there is no account.
pub async fn workspaces(caller: Option<&Caller>) -> Result<Vec<Membership>> {
    host::workspaces(caller.map(|caller| &caller.0)).await
}

/// The documents of one workspace, for as long as this lives.
#[derive(Debug)]
pub struct Workspace(host::Workspace);

impl Workspace {
    /// Searches. `filter` is an object of keys and values or operators (`$in
    /// $nin $ne $exists $gt $gte $lt $lte $like $size $all`); `options` is an
    /// object with `limit`, `sort`, `projection`, `total`.
    ///
    /// # Errors
    /// `invalid-arguments` naming what is not understood.
    pub async fn find<F: Serialize + ?Sized, O: Serialize + ?Sized>(
        &self,
        filter: &F,
        options: &O,
    ) -> Result<Found> {
        let (total, documents) = host::find(&self.0, json(filter)?, json(options)?).await?;
        let documents = documents.iter().map(|document| parse(document)).collect::<Result<_>>()?;
        Ok(Found { total, documents })
    }

    /// Documents by id, in the order of the ids.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, ids: Vec<String>) -> Result<Vec<Option<Value>>> {
        let documents = host::documents(&self.0, ids).await?;
        documents.iter().map(|document| document.as_deref().map(parse).transpose()).collect()
    }

    /// The last sequence number; 0 when nothing was committed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn head(&self) -> Result<u64> {
        host::head(&self.0).await
    }

    /// The sequence numbers of transactions that are in the log, in the order
    /// of the ids.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn lookup(&self, transactions: Vec<String>) -> Result<Vec<Option<u64>>> {
        host::lookup(&self.0, transactions).await
    }

    /// Log entries after a sequence number, in order, at most `limit` and
    /// 1,000. Large entries make the answer shorter: only an empty one is the
    /// end of the log.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn log(&self, after: u64, limit: u32) -> Result<Vec<Entry>> {
        let entries = host::entries(&self.0, after, limit).await?;
        entries
            .into_iter()
            .map(|(sequence, transaction)| {
                Ok(Entry { sequence, transaction: parse(&transaction)? })
            })
            .collect()
    }

    /// Commits; when it returns, the changes survive a crash. Answers the new
    /// head. Once a later activation of this container has written, an earlier
    /// one cannot.
    ///
    /// # Errors
    /// [`CommitError`]; nothing was changed then.
    pub async fn commit(&self, changes: &Changes) -> Result<u64, CommitError> {
        host::commit(&self.0, changes).await
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(Error::invalid_arguments)
}

fn parse(document: &str) -> Result<Value> {
    serde_json::from_str(document).map_err(|cause| {
        Error::new(
            ErrorKind::Internal,
            Retry::Final,
            format!("a stored document is no JSON: {cause}"),
        )
    })
}
