//! `documents`: durable documents, one workspace apart from the other.
//!
//! A handle is only given to a member, and only a container that was started
//! with the label `workspace=W` commits to `W`; its epoch goes with every
//! commit. So a defect in a kind cannot reach another tenant's data.

use std::sync::Arc;

use hulynet_protocol::{AccountId, ErrorKind, NetworkError, WorkspaceId};
use hulynet_store::{Commit, Documents, Find, StoreError, Workspace};
use wasmtime::component::{Accessor, HasSelf, Resource};

use super::{CallerHandle, Context, labels, to_guest};
use crate::bindings::huly::network::{
    documents::{
        Changes, CommitError, Duplicate, Entry, Found, Host, HostWithStore, HostWorkspace,
        HostWorkspaceWithStore, Membership, Role,
    },
    types::Error,
};

mod convert;

use convert::{commit_error, filter, invalid_name, options, store_error, text};

/// The documents of one workspace, for one container.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct WorkspaceHandle {
    id: WorkspaceId,
    documents: Arc<dyn Workspace>,
}

type Access = Accessor<Context, HasSelf<Context>>;
type Handle = Resource<WorkspaceHandle>;
type OnBehalf = Option<Resource<CallerHandle>>;

impl Host for Context {}

impl HostWithStore<Context> for HasSelf<Context> {
    async fn open(
        accessor: &Access,
        workspace: String,
        caller: OnBehalf,
    ) -> wasmtime::Result<Result<Handle, Error>> {
        let (documents, account) = asking(accessor, caller.as_ref())?;
        let opened = async {
            let id = WorkspaceId::new(workspace).map_err(invalid_name)?;
            let documents = documents.open(&id, &account?).await.map_err(store_error)?;
            Ok(WorkspaceHandle { id, documents })
        };
        match opened.await {
            Ok(handle) => accessor.with(|mut access| Ok(Ok(access.get().table.push(handle)?))),
            Err(error) => Ok(Err(to_guest(error))),
        }
    }

    async fn create_workspace(
        accessor: &Access,
        workspace: String,
        caller: OnBehalf,
    ) -> wasmtime::Result<Result<(), Error>> {
        let (documents, account) = asking(accessor, caller.as_ref())?;
        let created = async {
            let id = WorkspaceId::new(workspace).map_err(invalid_name)?;
            documents.create_workspace(&id, &account?).await.map_err(store_error)
        };
        Ok(created.await.map_err(to_guest))
    }

    async fn add_member(
        accessor: &Access,
        workspace: String,
        member: String,
        role: Role,
        caller: OnBehalf,
    ) -> wasmtime::Result<Result<(), Error>> {
        let (documents, account) = asking(accessor, caller.as_ref())?;
        let role = match role {
            Role::Member => hulynet_store::Role::Member,
            Role::Owner => hulynet_store::Role::Owner,
        };
        let added = async {
            let id = WorkspaceId::new(workspace).map_err(invalid_name)?;
            let member = AccountId::new(member).map_err(invalid_name)?;
            documents.add_member(&id, &account?, &member, role).await.map_err(store_error)
        };
        Ok(added.await.map_err(to_guest))
    }

    async fn workspaces(
        accessor: &Access,
        caller: OnBehalf,
    ) -> wasmtime::Result<Result<Vec<Membership>, Error>> {
        let (documents, account) = asking(accessor, caller.as_ref())?;
        let listed = async { documents.workspaces(&account?).await.map_err(store_error) };
        Ok(listed.await.map(convert::memberships).map_err(to_guest))
    }
}

impl HostWorkspace for Context {
    fn drop(&mut self, workspace: Handle) -> wasmtime::Result<()> {
        self.table.delete(workspace)?;
        Ok(())
    }
}

impl HostWorkspaceWithStore<Context> for HasSelf<Context> {
    async fn find(
        accessor: &Access,
        workspace: Handle,
        query: String,
        limits: String,
    ) -> wasmtime::Result<Result<Found, Error>> {
        let documents = opened(accessor, &workspace)?;
        let found = async {
            let find = Find { filter: filter(&query)?, options: options(&limits)? };
            documents.find(find).await.map_err(store_error)
        };
        Ok(found.await.map(convert::found).map_err(to_guest))
    }

    async fn get(
        accessor: &Access,
        workspace: Handle,
        ids: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<String>>, Error>> {
        let documents = opened(accessor, &workspace)?;
        let found = documents.get(&ids).await;
        Ok(found
            .map(|found| found.into_iter().map(|document| document.map(text)).collect())
            .map_err(|error| to_guest(store_error(error))))
    }

    async fn head(accessor: &Access, workspace: Handle) -> wasmtime::Result<Result<u64, Error>> {
        let documents = opened(accessor, &workspace)?;
        Ok(documents.head().await.map_err(|error| to_guest(store_error(error))))
    }

    async fn lookup(
        accessor: &Access,
        workspace: Handle,
        transactions: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<u64>>, Error>> {
        let documents = opened(accessor, &workspace)?;
        let found = documents.lookup(&transactions).await;
        Ok(found.map_err(|error| to_guest(store_error(error))))
    }

    async fn log(
        accessor: &Access,
        workspace: Handle,
        after: u64,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<Entry>, Error>> {
        let documents = opened(accessor, &workspace)?;
        let entries = documents.log(after, limit).await;
        Ok(entries
            .map(|entries| {
                let entry = |entry: hulynet_store::LogEntry| Entry {
                    sequence: entry.sequence,
                    transaction: text(entry.transaction),
                };
                entries.into_iter().map(entry).collect()
            })
            .map_err(|error| to_guest(store_error(error))))
    }

    async fn commit(
        accessor: &Access,
        workspace: Handle,
        changes: Changes,
    ) -> wasmtime::Result<Result<u64, CommitError>> {
        let (documents, epoch, allowed) = accessor.with(|mut access| -> wasmtime::Result<_> {
            let context = access.get();
            let handle = context.table.get(&workspace)?;
            let allowed = may_commit(context, &handle.id);
            Ok((handle.documents.clone(), context.activation.epoch, allowed))
        })?;
        let commit = match allowed.and_then(|()| convert::commit(changes)) {
            Ok(commit) => commit,
            Err(error) => return Ok(Err(CommitError::Failed(to_guest(error)))),
        };
        match documents.commit(epoch, commit).await {
            // It was replaced and not told yet. Whatever else it answers may be
            // old, so it ends here.
            Err(error @ StoreError::StaleEpoch { .. }) => Err(wasmtime::Error::new(error)),
            committed => Ok(committed.map(|committed| committed.head).map_err(commit_error)),
        }
    }
}

/// Who asks, and the store.
type Asking = (Arc<dyn Documents>, Result<AccountId, NetworkError>);

fn asking(
    accessor: &Access,
    on_behalf: Option<&Resource<CallerHandle>>,
) -> wasmtime::Result<Asking> {
    accessor.with(|mut access| {
        let context = access.get();
        let caller = context.acting(on_behalf)?;
        let account = match caller.account {
            Some(account) => Ok(account),
            None => Err(NetworkError::refused(
                ErrorKind::PermissionDenied,
                format!(
                    "documents belong to accounts, and nobody's account is known: pass the caller, or \
                     start {} with the label account=NAME",
                    context.activation.id
                ),
            )),
        };
        Ok((context.services.documents.clone(), account))
    })
}

fn opened(accessor: &Access, workspace: &Handle) -> wasmtime::Result<Arc<dyn Workspace>> {
    accessor.with(|mut access| Ok(access.get().table.get(workspace)?.documents.clone()))
}

fn may_commit(context: &Context, workspace: &WorkspaceId) -> Result<(), NetworkError> {
    let activation = &context.activation;
    if activation.labels.get(labels::WORKSPACE).map(String::as_str) == Some(workspace.as_str()) {
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
