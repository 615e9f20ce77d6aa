//! `documents`: durable documents, one workspace apart from the other.
//!
//! A handle is only given to a member, and only a container that was started
//! with the label `workspace=W` commits to `W`; its epoch goes with every
//! commit. So a defect in a kind cannot reach another tenant's data.

use std::sync::Arc;

use hulynet_protocol::{NetworkError, WorkspaceId};
use hulynet_store::{Commit, Workspace};
use wasmtime::component::{Accessor, HasSelf, Resource};

use super::{CallerHandle, Context, to_guest};
use crate::bindings::huly::network::{
    common::Error,
    document_values::Duplicate,
    documents::{
        Changes, CommitError, Entry, Found, Host, HostWithStore, HostWorkspace,
        HostWorkspaceWithStore, Membership, Role,
    },
};

mod beside;
mod convert;
mod sync;
mod work;

use work::{Asking, Committing, Opened, length};

/// The documents of one workspace, for one container.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct WorkspaceHandle {
    id: WorkspaceId,
    documents: Arc<dyn Workspace>,
}

type Access = Accessor<Context, HasSelf<Context>>;
type Handle = Resource<WorkspaceHandle>;
type OnBehalf = Option<Resource<CallerHandle>>;

/// Who asks.
fn asking(
    accessor: &Access,
    on_behalf: Option<&Resource<CallerHandle>>,
) -> wasmtime::Result<Result<Asking, NetworkError>> {
    accessor.with(|mut access| {
        let context = access.get();
        let account = context.account(on_behalf)?;
        Ok(Asking::of(context, account))
    })
}

/// The documents that a handle is of.
fn opened(
    accessor: &Access,
    workspace: &Handle,
    bytes: usize,
) -> wasmtime::Result<Result<Opened, NetworkError>> {
    accessor.with(|mut access| Opened::of(access.get(), workspace, bytes))
}

impl Host for Context {}

impl HostWithStore<Context> for HasSelf<Context> {
    async fn open(
        accessor: &Access,
        workspace: String,
        caller: OnBehalf,
    ) -> wasmtime::Result<Result<Handle, Error>> {
        let asking = asking(accessor, caller.as_ref())?;
        match async { asking?.open(workspace).await }.await {
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
        let created = async { asking?.create_workspace(workspace).await };
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
        let added = async { asking?.add_member(workspace, member, role).await };
        Ok(added.await.map_err(to_guest))
    }

    async fn workspaces(
        accessor: &Access,
        caller: OnBehalf,
    ) -> wasmtime::Result<Result<Vec<Membership>, Error>> {
        let asking = asking(accessor, caller.as_ref())?;
        let listed = async { asking?.workspaces().await };
        Ok(listed.await.map_err(to_guest))
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
        let found = async { opened?.find(query, limits).await };
        Ok(found.await.map_err(to_guest))
    }

    async fn get(
        accessor: &Access,
        workspace: Handle,
        ids: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<String>>, Error>> {
        let opened = opened(accessor, &workspace, length(&ids))?;
        let found = async { opened?.get(ids).await };
        Ok(found.await.map_err(to_guest))
    }

    async fn head(accessor: &Access, workspace: Handle) -> wasmtime::Result<Result<u64, Error>> {
        let opened = opened(accessor, &workspace, 0)?;
        let head = async { opened?.head().await };
        Ok(head.await.map_err(to_guest))
    }

    async fn lookup(
        accessor: &Access,
        workspace: Handle,
        transactions: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<u64>>, Error>> {
        let opened = opened(accessor, &workspace, length(&transactions))?;
        let found = async { opened?.lookup(transactions).await };
        Ok(found.await.map_err(to_guest))
    }

    async fn log(
        accessor: &Access,
        workspace: Handle,
        after: u64,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<Entry>, Error>> {
        let opened = opened(accessor, &workspace, 0)?;
        let entries = async { opened?.log(after, limit).await };
        Ok(entries.await.map_err(to_guest))
    }

    async fn commit(
        accessor: &Access,
        workspace: Handle,
        changes: Changes,
    ) -> wasmtime::Result<Result<u64, CommitError>> {
        let committing =
            accessor.with(|mut access| Committing::of(access.get(), &workspace, changes))?;
        match committing {
            Ok(committing) => committing.commit().await,
            Err(error) => Ok(Err(CommitError::Failed(to_guest(error)))),
        }
    }
}
