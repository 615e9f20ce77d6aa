//! `documents-sync`: the same for containers that do one thing at a time.

use wasmtime::component::Resource;

use super::{
    Changes, CommitError, Entry, Found, Handle, Membership, Role, WorkspaceHandle,
    work::{Asking, Committing, Opened, length},
};
use crate::{
    bindings::{
        huly::network::common::Error,
        sync::huly::network::documents_sync::{Host, HostWorkspace},
    },
    capabilities::{Context, serving::within, to_guest},
};

impl Context {
    fn asking_documents(&self, on_behalf: bool) -> Result<Asking, hulynet_protocol::NetworkError> {
        Asking::of(self, self.asking(on_behalf).account)
    }
}

impl Host for Context {
    async fn open(
        &mut self,
        workspace: String,
        on_behalf: bool,
    ) -> wasmtime::Result<Result<Resource<WorkspaceHandle>, Error>> {
        let asking = self.asking_documents(on_behalf);
        match within(self.deadline(), async { asking?.open(workspace).await }).await {
            Ok(handle) => Ok(Ok(self.table.push(handle)?)),
            Err(error) => Ok(Err(to_guest(error))),
        }
    }

    async fn create_workspace(
        &mut self,
        workspace: String,
        on_behalf: bool,
    ) -> wasmtime::Result<Result<(), Error>> {
        let asking = self.asking_documents(on_behalf);
        let created = async { asking?.create_workspace(workspace).await };
        Ok(within(self.deadline(), created).await.map_err(to_guest))
    }

    async fn add_member(
        &mut self,
        workspace: String,
        member: String,
        role: Role,
        on_behalf: bool,
    ) -> wasmtime::Result<Result<(), Error>> {
        let asking = self.asking_documents(on_behalf);
        let added = async { asking?.add_member(workspace, member, role).await };
        Ok(within(self.deadline(), added).await.map_err(to_guest))
    }

    async fn workspaces(
        &mut self,
        on_behalf: bool,
    ) -> wasmtime::Result<Result<Vec<Membership>, Error>> {
        let asking = self.asking_documents(on_behalf);
        let listed = async { asking?.workspaces().await };
        Ok(within(self.deadline(), listed).await.map_err(to_guest))
    }
}

impl HostWorkspace for Context {
    async fn find(
        &mut self,
        workspace: Handle,
        query: String,
        limits: String,
    ) -> wasmtime::Result<Result<Found, Error>> {
        let opened = Opened::of(self, &workspace, query.len() + limits.len())?;
        let found = async { opened?.find(query, limits).await };
        Ok(within(self.deadline(), found).await.map_err(to_guest))
    }

    async fn get(
        &mut self,
        workspace: Handle,
        ids: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<String>>, Error>> {
        let opened = Opened::of(self, &workspace, length(&ids))?;
        let found = async { opened?.get(ids).await };
        Ok(within(self.deadline(), found).await.map_err(to_guest))
    }

    async fn head(&mut self, workspace: Handle) -> wasmtime::Result<Result<u64, Error>> {
        let opened = Opened::of(self, &workspace, 0)?;
        let head = async { opened?.head().await };
        Ok(within(self.deadline(), head).await.map_err(to_guest))
    }

    async fn lookup(
        &mut self,
        workspace: Handle,
        transactions: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<u64>>, Error>> {
        let opened = Opened::of(self, &workspace, length(&transactions))?;
        let found = async { opened?.lookup(transactions).await };
        Ok(within(self.deadline(), found).await.map_err(to_guest))
    }

    async fn log(
        &mut self,
        workspace: Handle,
        after: u64,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<Entry>, Error>> {
        let opened = Opened::of(self, &workspace, 0)?;
        let entries = async { opened?.log(after, limit).await };
        Ok(within(self.deadline(), entries).await.map_err(to_guest))
    }

    async fn commit(
        &mut self,
        workspace: Handle,
        changes: Changes,
    ) -> wasmtime::Result<Result<u64, CommitError>> {
        let committing = Committing::of(self, &workspace, changes)?;
        let committed = async { Ok(committing?.commit().await) };
        let committed = within(self.deadline(), committed).await;
        committed.unwrap_or_else(|error| Ok(Err(CommitError::Failed(to_guest(error)))))
    }

    fn drop(&mut self, workspace: Handle) -> wasmtime::Result<()> {
        self.table.delete(workspace)?;
        Ok(())
    }
}
