//! `documents`: durable documents, one workspace apart from the other.
//!
//! A handle is only given to a member, and only a container that was started
//! with the label `workspace=W` commits to `W`; its epoch goes with every
//! commit. So a defect in a kind cannot reach another tenant's data.

use std::sync::Arc;

use hulynet_protocol::{AccountId, ErrorKind, NetworkError, WorkspaceId};
use hulynet_store::{Commit, Documents, Find, StoreError, Workspace};
use wasmtime::component::{Accessor, HasSelf, Resource};

use super::{CallerHandle, Context, Thing, labels, to_guest, usage::Open};
use crate::bindings::huly::network::{
    documents::{
        Changes, CommitError, Duplicate, Entry, Found, Host, HostWithStore, HostWorkspace,
        HostWorkspaceWithStore, Membership, Role,
    },
    types::Error,
};

mod convert;

use convert::{commit_error, filter, invalid_name, options, store_error, text};

/// Bytes of a commit that take about a turn to be parsed.
const PARSED_AT_ONCE: usize = 128 * 1024;

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
        let asking = asking(accessor, caller.as_ref())?;
        let opened = async {
            let Asking { documents, account, asked: _asked } = asking?;
            let id = WorkspaceId::new(workspace).map_err(invalid_name)?;
            let documents = documents.open(&id, &account).await.map_err(store_error)?;
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
        let asking = asking(accessor, caller.as_ref())?;
        let created = async {
            let Asking { documents, account, asked: _asked } = asking?;
            let id = WorkspaceId::new(workspace).map_err(invalid_name)?;
            documents.create_workspace(&id, &account).await.map_err(store_error)
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
        let asking = asking(accessor, caller.as_ref())?;
        let role = match role {
            Role::Member => hulynet_store::Role::Member,
            Role::Owner => hulynet_store::Role::Owner,
        };
        let added = async {
            let Asking { documents, account, asked: _asked } = asking?;
            let id = WorkspaceId::new(workspace).map_err(invalid_name)?;
            let member = AccountId::new(member).map_err(invalid_name)?;
            documents.add_member(&id, &account, &member, role).await.map_err(store_error)
        };
        Ok(added.await.map_err(to_guest))
    }

    async fn workspaces(
        accessor: &Access,
        caller: OnBehalf,
    ) -> wasmtime::Result<Result<Vec<Membership>, Error>> {
        let asking = asking(accessor, caller.as_ref())?;
        let listed = async {
            let Asking { documents, account, asked: _asked } = asking?;
            documents.workspaces(&account).await.map_err(store_error)
        };
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
        let opened = opened(accessor, &workspace, query.len() + limits.len())?;
        let found = async {
            let (documents, _asked) = opened?;
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
        let opened = opened(accessor, &workspace, length(&ids))?;
        let found = async {
            let (documents, _asked) = opened?;
            let found = documents.get(&ids).await.map_err(store_error)?;
            Ok(found.into_iter().map(|document| document.map(text)).collect())
        };
        Ok(found.await.map_err(to_guest))
    }

    async fn head(accessor: &Access, workspace: Handle) -> wasmtime::Result<Result<u64, Error>> {
        let opened = opened(accessor, &workspace, 0)?;
        let head = async {
            let (documents, _asked) = opened?;
            documents.head().await.map_err(store_error)
        };
        Ok(head.await.map_err(to_guest))
    }

    async fn lookup(
        accessor: &Access,
        workspace: Handle,
        transactions: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<u64>>, Error>> {
        let opened = opened(accessor, &workspace, length(&transactions))?;
        let found = async {
            let (documents, _asked) = opened?;
            documents.lookup(&transactions).await.map_err(store_error)
        };
        Ok(found.await.map_err(to_guest))
    }

    async fn log(
        accessor: &Access,
        workspace: Handle,
        after: u64,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<Entry>, Error>> {
        let opened = opened(accessor, &workspace, 0)?;
        let entries = async {
            let (documents, _asked) = opened?;
            let entries = documents.log(after, limit).await.map_err(store_error)?;
            let entry = |entry: hulynet_store::LogEntry| Entry {
                sequence: entry.sequence,
                transaction: text(entry.transaction),
            };
            Ok(entries.into_iter().map(entry).collect())
        };
        Ok(entries.await.map_err(to_guest))
    }

    async fn commit(
        accessor: &Access,
        workspace: Handle,
        changes: Changes,
    ) -> wasmtime::Result<Result<u64, CommitError>> {
        let bytes = length(changes.transactions.iter().chain(&changes.put));
        let opened = opened(accessor, &workspace, bytes)?;
        let (epoch, allowed) = accessor.with(|mut access| -> wasmtime::Result<_> {
            let context = access.get();
            let allowed = may_commit(context, &context.table.get(&workspace)?.id);
            Ok((context.activation.epoch, allowed))
        })?;
        let prepared = async {
            allowed?;
            Ok((opened?, parsed(bytes, changes).await?))
        };
        let ((documents, _asked), commit) = match prepared.await {
            Ok(prepared) => prepared,
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

/// Parses a commit. A large one takes longer than a turn, so it is parsed
/// beside the threads on which containers run.
async fn parsed(bytes: usize, changes: Changes) -> Result<Commit, NetworkError> {
    if bytes <= PARSED_AT_ONCE {
        return convert::commit(changes);
    }
    let parsed = tokio::task::spawn_blocking(move || convert::commit(changes)).await;
    parsed.unwrap_or_else(|lost| {
        let text = format!("the commit could not be read: {lost}");
        Err(NetworkError::not_processed(ErrorKind::Internal, text))
    })
}

/// Who asks the store, and that one more answer is waited for.
struct Asking {
    documents: Arc<dyn Documents>,
    account: AccountId,
    asked: Open,
}

fn asking(
    accessor: &Access,
    on_behalf: Option<&Resource<CallerHandle>>,
) -> wasmtime::Result<Result<Asking, NetworkError>> {
    accessor.with(|mut access| {
        let context = access.get();
        let Some(account) = context.account(on_behalf)? else {
            return Ok(Err(NetworkError::refused(
                ErrorKind::PermissionDenied,
                format!(
                    "documents belong to accounts, and nobody's account is known: pass the caller, or \
                     start {} with the label account=NAME",
                    context.activation.id
                ),
            )));
        };
        let documents = context.services.documents.clone();
        Ok(context.usage.open(Thing::Request).map(|asked| Asking { documents, account, asked }))
    })
}

/// The documents of a workspace, and that one more answer is waited for, to so
/// many bytes.
type Opened = Result<(Arc<dyn Workspace>, (Open, Open)), NetworkError>;

fn opened(accessor: &Access, workspace: &Handle, bytes: usize) -> wasmtime::Result<Opened> {
    accessor.with(|mut access| {
        let context = access.get();
        let (documents, usage) = (&context.table.get(workspace)?.documents, &context.usage);
        Ok(usage.open(Thing::Request).and_then(|asked| {
            Ok((documents.clone(), (asked, usage.open_many(Thing::RequestByte, bytes)?)))
        }))
    })
}

fn length<'t>(texts: impl IntoIterator<Item = &'t String>) -> usize {
    texts.into_iter().map(String::len).sum()
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
