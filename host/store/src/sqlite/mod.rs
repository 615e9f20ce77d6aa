//! The embedded engine: one SQLite file for the accounts and one for each
//! workspace, in a directory that several processes may share.
//!
//! | file | what |
//! |---|---|
//! | `accounts.db` | workspaces and their members |
//! | `workspaces/NAME-HASH.db` | documents, log and last writer of one workspace |
//! | `creating.lock` | held while a file is created |
//!
//! Each file is in WAL mode with `synchronous=FULL`: a commit is on the disk
//! before it is acknowledged, and readers and the writer do not wait for each
//! other. Writers of several processes take turns through SQLite's locks.
//! Blocking work runs on a bounded number of threads, and a bounded number of
//! workspaces is kept open.

mod accounts;
mod cache;
mod database;
mod files;
mod find;
mod lane;
mod workspace;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use hulynet_filter::Found;
use hulynet_protocol::{Epoch, Retry};
use serde_json::Value;

use crate::checked::{CheckedCommit, check_ids};
use crate::{
    AccountId, Commit, Committed, Documents, Find, LogEntry, Membership, Role, StoreError,
    Workspace, WorkspaceId,
};
use cache::Cache;
use database::Database;
use files::Files;
use lane::Lane;

/// Threads that may read at once, and writers: so few that they cannot crowd
/// out the rest of the process, and apart, so that long queries do not hold
/// up commits.
const READERS: usize = 8;
const WRITERS: usize = 4;
/// Calls that may wait for a thread; more are refused as busy.
const WAITING: usize = 1_024;

/// The embedded engine of [`Documents`].
pub struct SqliteDocuments {
    shared: Arc<Shared>,
}

struct Shared {
    accounts: Database,
    workspaces: Cache,
    reads: Lane,
    writes: Lane,
}

impl SqliteDocuments {
    /// Opens the store in a directory, which is created when missing. Blocks
    /// while it does; meant for the start of a process.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the directory cannot be used,
    /// [`StoreError::NewerFormat`] or [`StoreError::Damaged`] for its files,
    /// [`StoreError::Busy`] when another process keeps it locked.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let files = Files::prepare(directory)?;
        let accounts = accounts::open(&files)?;
        let shared = Shared {
            accounts,
            workspaces: Cache::new(files),
            reads: Lane::new("reading", READERS, WAITING),
            writes: Lane::new("writing", WRITERS, WAITING),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl std::fmt::Debug for SqliteDocuments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteDocuments").finish_non_exhaustive()
    }
}

#[async_trait]
impl Documents for SqliteDocuments {
    async fn create_workspace(
        &self,
        workspace: &WorkspaceId,
        owner: &AccountId,
    ) -> Result<(), StoreError> {
        let (shared, workspace, owner) = (self.shared.clone(), workspace.clone(), owner.clone());
        let work = move || {
            if accounts::owner(&shared.accounts, &workspace)?.is_none() {
                // The file first: a workspace that is known has its file.
                shared.workspaces.create(&workspace)?;
            }
            accounts::create(&shared.accounts, &workspace, &owner)
        };
        self.shared.writes.run(work).await
    }

    async fn add_member(
        &self,
        workspace: &WorkspaceId,
        by: &AccountId,
        member: &AccountId,
        role: Role,
    ) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let (workspace, by, member) = (workspace.clone(), by.clone(), member.clone());
        let work = move || accounts::add(&shared.accounts, &workspace, &by, &member, role);
        self.shared.writes.run(work).await
    }

    async fn workspaces(&self, account: &AccountId) -> Result<Vec<Membership>, StoreError> {
        let (shared, account) = (self.shared.clone(), account.clone());
        self.shared.reads.run(move || accounts::of(&shared.accounts, &account)).await
    }

    async fn open(
        &self,
        workspace: &WorkspaceId,
        account: &AccountId,
    ) -> Result<Arc<dyn Workspace>, StoreError> {
        let (shared, account) = (self.shared.clone(), account.clone());
        let handle = SqliteWorkspace { shared: self.shared.clone(), id: workspace.clone() };
        let workspace = workspace.clone();
        let work = move || accounts::check_member(&shared.accounts, &workspace, &account);
        self.shared.reads.run(work).await?;
        Ok(Arc::new(handle))
    }
}

/// A handle for a member. It holds no file: the cache opens and closes them.
struct SqliteWorkspace {
    shared: Arc<Shared>,
    id: WorkspaceId,
}

impl SqliteWorkspace {
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (shared, id) = (self.shared.clone(), self.id.clone());
        self.shared.reads.run(move || work(&*shared.workspaces.get(&id)?)).await
    }
}

#[async_trait]
impl Workspace for SqliteWorkspace {
    async fn find(&self, find: Find) -> Result<Found, StoreError> {
        self.read(move |database| find::find(database, find)).await
    }

    async fn get(&self, ids: &[String]) -> Result<Vec<Option<Value>>, StoreError> {
        check_ids(ids)?;
        let ids = ids.to_vec();
        self.read(move |database| workspace::get(database, &ids)).await
    }

    async fn commit(&self, writer: Epoch, commit: Commit) -> Result<Committed, StoreError> {
        let (shared, id) = (self.shared.clone(), self.id.clone());
        let work = move || {
            let commit = CheckedCommit::new(commit)?;
            workspace::commit(&*shared.workspaces.get(&id)?, writer, &commit)
        };
        self.shared.writes.run(work).await
    }

    async fn log(&self, after: u64, limit: u32) -> Result<Vec<LogEntry>, StoreError> {
        if limit == 0 {
            let what = "the limit 0 of a log".to_owned();
            return Err(StoreError::Invalid { what, reason: "gives nothing; ask for 1 or more" });
        }
        self.read(move |database| workspace::log(database, after, limit)).await
    }

    async fn head(&self) -> Result<u64, StoreError> {
        self.read(workspace::head).await
    }

    async fn lookup(&self, transactions: &[String]) -> Result<Vec<Option<u64>>, StoreError> {
        check_ids(transactions)?;
        let ids = transactions.to_vec();
        self.read(move |database| workspace::lookup(database, &ids)).await
    }
}

/// An error of the engine before anything could be written.
fn failed(doing: &str, reason: impl std::fmt::Display) -> StoreError {
    let (doing, reason) = (doing.to_owned(), reason.to_string());
    StoreError::Engine { doing, reason, retry: Retry::NotProcessed }
}
