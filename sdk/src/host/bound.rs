//! The agent, through the contract.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures::{StreamExt, stream};

use super::bindings::huly::network as wit;
use crate::containers::GetOptions;
use crate::documents::{Changes, CommitError, Membership, Role};
use crate::identity::Identity;
use crate::log::Level;
use crate::send::BoxStream;
use crate::{Answer, ContainerId, Result};

pub(crate) use wit::containers::Reference;
pub(crate) use wit::documents::Workspace;

/// Shared between the request and whoever waits for its being given up.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Rc<wit::types::Caller>);

impl Caller {
    pub(crate) fn account(&self) -> Option<String> {
        self.0.account()
    }

    pub(crate) fn container(&self) -> Option<ContainerId> {
        self.0.container().map(Into::into)
    }

    pub(crate) fn path(&self) -> Vec<ContainerId> {
        self.0.path().into_iter().map(Into::into).collect()
    }

    pub(crate) async fn given_up(&self) {
        self.0.given_up().await;
    }
}

pub(crate) fn log(level: Level, message: &str, fields: &[(String, String)]) {
    wit::log::write(level.into(), message, fields);
}

pub(crate) async fn sleep(milliseconds: u64) -> Result<()> {
    Ok(wit::clock::sleep(milliseconds).await?)
}

pub(crate) fn identity() -> Identity {
    wit::identity::get().into()
}

pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    wit_bindgen::spawn_local(future);
}

pub(crate) fn broadcast(payload: &[u8]) -> Result<()> {
    Ok(wit::connections::broadcast(payload)?)
}

pub(crate) fn send(connection: &str, payload: &[u8]) -> Result<()> {
    Ok(wit::connections::send(connection, payload)?)
}

pub(crate) async fn get(kind: &str, options: GetOptions) -> Result<Reference> {
    Ok(wit::containers::get(kind.to_owned(), options.into()).await?)
}

pub(crate) fn id(reference: &Reference) -> ContainerId {
    reference.id().into()
}

pub(crate) async fn request(
    reference: &Reference,
    operation: &str,
    payload: Vec<u8>,
    caller: Option<&Caller>,
    timeout: Option<Duration>,
) -> Result<Answer> {
    let timeout = timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
    let body = reference
        .request(operation.to_owned(), payload, caller.map(|caller| &*caller.0), timeout)
        .await?;
    Ok(body.into())
}

pub(crate) async fn send_request(
    reference: &Reference,
    operation: &str,
    payload: Vec<u8>,
    caller: Option<&Caller>,
) -> Result<()> {
    Ok(reference.send(operation.to_owned(), payload, caller.map(|caller| &*caller.0)).await?)
}

pub(crate) async fn connect(reference: &Reference) -> Result<BoxStream<Vec<u8>>> {
    let events = reference.connect().await?;
    Ok(stream::unfold(events, |mut events| async {
        events.next().await.map(|event| (event, events))
    })
    .boxed_local())
}

pub(crate) async fn open(workspace: &str, caller: Option<&Caller>) -> Result<Workspace> {
    Ok(wit::documents::open(workspace.to_owned(), caller.map(|caller| &*caller.0)).await?)
}

pub(crate) async fn create_workspace(workspace: &str, caller: Option<&Caller>) -> Result<()> {
    Ok(wit::documents::create_workspace(workspace.to_owned(), caller.map(|caller| &*caller.0))
        .await?)
}

pub(crate) async fn add_member(
    workspace: &str,
    account: &str,
    role: Role,
    caller: Option<&Caller>,
) -> Result<()> {
    let caller = caller.map(|caller| &*caller.0);
    Ok(wit::documents::add_member(workspace.to_owned(), account.to_owned(), role.into(), caller)
        .await?)
}

pub(crate) async fn workspaces(caller: Option<&Caller>) -> Result<Vec<Membership>> {
    let memberships = wit::documents::workspaces(caller.map(|caller| &*caller.0)).await?;
    Ok(memberships.into_iter().map(Into::into).collect())
}

pub(crate) async fn find(
    workspace: &Workspace,
    filter: String,
    options: String,
) -> Result<(Option<u64>, Vec<String>)> {
    let found = workspace.find(filter, options).await?;
    Ok((found.total, found.documents))
}

pub(crate) async fn documents(
    workspace: &Workspace,
    ids: Vec<String>,
) -> Result<Vec<Option<String>>> {
    Ok(workspace.get(ids).await?)
}

pub(crate) async fn head(workspace: &Workspace) -> Result<u64> {
    Ok(workspace.head().await?)
}

pub(crate) async fn lookup(
    workspace: &Workspace,
    transactions: Vec<String>,
) -> Result<Vec<Option<u64>>> {
    Ok(workspace.lookup(transactions).await?)
}

pub(crate) async fn entries(
    workspace: &Workspace,
    after: u64,
    limit: u32,
) -> Result<Vec<(u64, String)>> {
    let entries = workspace.log(after, limit).await?;
    Ok(entries.into_iter().map(|entry| (entry.sequence, entry.transaction)).collect())
}

pub(crate) async fn commit(workspace: &Workspace, changes: &Changes) -> Result<u64, CommitError> {
    Ok(workspace.commit(changes.into()).await?)
}
