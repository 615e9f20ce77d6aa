//! What containers of both worlds have done with documents: checked while the
//! container is at hand, then done without it.

use std::{sync::Arc, time::Instant};

use hulynet_protocol::{AccountId, Epoch, ErrorKind, NetworkError, WORKSPACE, WorkspaceId};
use hulynet_store::{Documents, Find, StoreError, Workspace};

use super::{
    Changes, CommitError, Entry, Found, Handle, Membership, Role, WorkspaceHandle,
    beside::{self, AT_ONCE, long_as_text},
    convert::{self, commit_error, filter, invalid_name, options, store_error, text},
};
use crate::capabilities::{Context, to_guest, usage::Calling};

/// Who asks the store, and that one more answer is waited for.
pub(super) struct Asking {
    documents: Arc<dyn Documents>,
    account: AccountId,
    _calling: Calling,
}

impl Asking {
    /// For this account.
    pub(super) fn of(context: &Context, account: Option<AccountId>) -> Result<Self, NetworkError> {
        let Some(account) = account else {
            return Err(NetworkError::refused(
                ErrorKind::PermissionDenied,
                format!(
                    "documents belong to accounts, and nobody's account is known: pass the caller, or \
                     start {} with the label account=NAME",
                    context.activation.id
                ),
            ));
        };
        let documents = context.services.documents.clone();
        Ok(Self { documents, account, _calling: context.usage.call(Instant::now(), 0)? })
    }

    pub(super) async fn open(self, workspace: String) -> Result<WorkspaceHandle, NetworkError> {
        let id = WorkspaceId::new(workspace).map_err(invalid_name)?;
        let documents = self.documents.open(&id, &self.account).await.map_err(store_error)?;
        Ok(WorkspaceHandle { id, documents })
    }

    pub(super) async fn create_workspace(self, workspace: String) -> Result<(), NetworkError> {
        let id = WorkspaceId::new(workspace).map_err(invalid_name)?;
        self.documents.create_workspace(&id, &self.account).await.map_err(store_error)
    }

    pub(super) async fn add_member(
        self,
        workspace: String,
        member: String,
        role: Role,
    ) -> Result<(), NetworkError> {
        let id = WorkspaceId::new(workspace).map_err(invalid_name)?;
        let member = AccountId::new(member).map_err(invalid_name)?;
        let role = match role {
            Role::Member => hulynet_store::Role::Member,
            Role::Owner => hulynet_store::Role::Owner,
        };
        self.documents.add_member(&id, &self.account, &member, role).await.map_err(store_error)
    }

    pub(super) async fn workspaces(self) -> Result<Vec<Membership>, NetworkError> {
        let listed = self.documents.workspaces(&self.account).await.map_err(store_error);
        listed.map(convert::memberships)
    }
}

/// The documents of a workspace, and that one more answer is waited for.
pub(super) struct Opened {
    documents: Arc<dyn Workspace>,
    _calling: Calling,
}

impl Opened {
    /// Of this handle.
    pub(super) fn of(
        context: &Context,
        workspace: &Handle,
        bytes: usize,
    ) -> wasmtime::Result<Result<Self, NetworkError>> {
        let documents = &context.table.get(workspace)?.documents;
        let calling = context.usage.call(Instant::now(), bytes);
        Ok(calling.map(|calling| Self { documents: documents.clone(), _calling: calling }))
    }

    pub(super) async fn find(self, query: String, limits: String) -> Result<Found, NetworkError> {
        let long = query.len() + limits.len() > AT_ONCE;
        let find = move || Ok(Find { filter: filter(&query)?, options: options(&limits)? });
        let find = beside::done(long, find).await.flatten()?;
        let found = self.documents.find(find).await.map_err(store_error)?;
        let long = long_as_text(&found.documents);
        beside::done(long, || convert::found(found)).await
    }

    pub(super) async fn get(self, ids: Vec<String>) -> Result<Vec<Option<String>>, NetworkError> {
        let found = self.documents.get(&ids).await.map_err(store_error)?;
        let long = long_as_text(found.iter().flatten());
        let texts = move || found.into_iter().map(|document| document.map(text)).collect();
        beside::done(long, texts).await
    }

    pub(super) async fn head(self) -> Result<u64, NetworkError> {
        self.documents.head().await.map_err(store_error)
    }

    pub(super) async fn lookup(
        self,
        transactions: Vec<String>,
    ) -> Result<Vec<Option<u64>>, NetworkError> {
        self.documents.lookup(&transactions).await.map_err(store_error)
    }

    pub(super) async fn log(self, after: u64, limit: u32) -> Result<Vec<Entry>, NetworkError> {
        let entries = self.documents.log(after, limit).await.map_err(store_error)?;
        let long = long_as_text(entries.iter().map(|entry| &entry.transaction));
        let entry = |entry: hulynet_store::LogEntry| Entry {
            sequence: entry.sequence,
            transaction: text(entry.transaction),
        };
        beside::done(long, move || entries.into_iter().map(entry).collect()).await
    }
}

/// A commit that the container may make.
pub(super) struct Committing {
    opened: Opened,
    epoch: Epoch,
    changes: Changes,
    bytes: usize,
}

impl Committing {
    /// To the workspace of this handle.
    pub(super) fn of(
        context: &Context,
        workspace: &Handle,
        changes: Changes,
    ) -> wasmtime::Result<Result<Self, NetworkError>> {
        let bytes = length(changes.transactions.iter().chain(&changes.put));
        let opened = Opened::of(context, workspace, bytes)?;
        let allowed = may_commit(context, &context.table.get(workspace)?.id);
        let epoch = context.activation.epoch;
        Ok(allowed.and(opened).map(|opened| Self { opened, epoch, changes, bytes }))
    }

    /// Commits. The failure is a trap.
    pub(super) async fn commit(self) -> wasmtime::Result<Result<u64, CommitError>> {
        let (long, changes) = (self.bytes > AT_ONCE, self.changes);
        let commit = match beside::done(long, || convert::commit(changes)).await.flatten() {
            Ok(commit) => commit,
            Err(error) => return Ok(Err(CommitError::Failed(to_guest(error)))),
        };
        match self.opened.documents.commit(self.epoch, commit).await {
            // It was replaced and not told yet. Whatever else it answers may be
            // old, so it ends here.
            Err(error @ StoreError::StaleEpoch { .. }) => Err(wasmtime::Error::new(error)),
            committed => Ok(committed.map(|committed| committed.head).map_err(commit_error)),
        }
    }
}

/// Bytes of these texts.
pub(super) fn length<'t>(texts: impl IntoIterator<Item = &'t String>) -> usize {
    texts.into_iter().map(String::len).sum()
}

fn may_commit(context: &Context, workspace: &WorkspaceId) -> Result<(), NetworkError> {
    let activation = &context.activation;
    if activation.labels.get(WORKSPACE).map(String::as_str) == Some(workspace.as_str()) {
        return Ok(());
    }
    Err(NetworkError::refused(
        ErrorKind::PermissionDenied,
        format!(
            "the container {} may not commit to the workspace {workspace}; only one that was started \
             with the label workspace={workspace} may",
            activation.id
        ),
    ))
}
