//! The stand-in where there is no agent. What kinds tell it is kept for the
//! test that runs on the same thread.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::containers::GetOptions;
use crate::documents::{Changes, CommitError, Membership, Role};
use crate::identity::Identity;
use crate::log::Level;
use crate::send::BoxStream;
use crate::testing::Sent;
use crate::{Answer, ContainerId, Epoch, Error, ErrorKind, Labels, Result, Retry};

/// A future that a kind has spawned.
pub(crate) type Spawned = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    pub(crate) static SENT: RefCell<Vec<Sent>> = const { RefCell::new(Vec::new()) };
    pub(crate) static SPAWNED: RefCell<Vec<Spawned>> = const { RefCell::new(Vec::new()) };
    pub(crate) static LABELS: RefCell<Labels> = const { RefCell::new(Labels::new()) };
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    pub(crate) account: Option<String>,
    pub(crate) path: Vec<ContainerId>,
}

impl Caller {
    pub(crate) fn account(&self) -> Option<String> {
        self.account.clone()
    }

    pub(crate) fn container(&self) -> Option<ContainerId> {
        self.path.last().cloned()
    }

    pub(crate) fn path(&self) -> Vec<ContainerId> {
        self.path.clone()
    }

    /// Nobody gives up in a unit test, unless the test drops the request.
    pub(crate) async fn given_up(&self) {
        std::future::pending().await
    }
}

/// There is nothing to refer to.
#[derive(Debug)]
pub(crate) enum Reference {}

/// There is nothing to open.
#[derive(Debug)]
pub(crate) enum Workspace {}

fn absent<T>(what: &str) -> Result<T> {
    let message =
        format!("{what}: there is no network in a native build; run the kind in an agent");
    Err(Error::new(ErrorKind::Unavailable, Retry::NotProcessed, message))
}

pub(crate) fn log(level: Level, message: &str, fields: &[(String, String)]) {
    let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    eprintln!("{level:?}: {message}{fields}");
}

pub(crate) async fn sleep(_milliseconds: u64) -> Result<()> {
    Ok(())
}

pub(crate) fn identity() -> Identity {
    Identity {
        id: ContainerId { kind: "test".to_owned(), uuid: "test".to_owned() },
        epoch: Epoch { term: 0, counter: 1 },
        agent: "test".to_owned(),
        labels: LABELS.with_borrow(Clone::clone),
    }
}

pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    SPAWNED.with_borrow_mut(|spawned| spawned.push(Box::pin(future)));
}

pub(crate) fn broadcast(payload: &[u8]) -> Result<()> {
    SENT.with_borrow_mut(|sent| sent.push(Sent { connection: None, payload: payload.to_vec() }));
    Ok(())
}

pub(crate) fn send(connection: &str, payload: &[u8]) -> Result<()> {
    let connection = Some(connection.to_owned());
    SENT.with_borrow_mut(|sent| sent.push(Sent { connection, payload: payload.to_vec() }));
    Ok(())
}

pub(crate) async fn get(kind: &str, _options: GetOptions) -> Result<Reference> {
    absent(&format!("getting a container of kind {kind:?}"))
}

pub(crate) fn id(reference: &Reference) -> ContainerId {
    match *reference {}
}

pub(crate) async fn request(
    reference: &Reference,
    _operation: &str,
    _payload: Vec<u8>,
    _caller: Option<&Caller>,
    _timeout: Option<Duration>,
) -> Result<Answer> {
    match *reference {}
}

pub(crate) async fn send_request(
    reference: &Reference,
    _operation: &str,
    _payload: Vec<u8>,
    _caller: Option<&Caller>,
) -> Result<()> {
    match *reference {}
}

pub(crate) async fn connect(reference: &Reference) -> Result<BoxStream<Vec<u8>>> {
    match *reference {}
}

pub(crate) async fn open(workspace: &str, _caller: Option<&Caller>) -> Result<Workspace> {
    absent(&format!("opening workspace {workspace:?}"))
}

pub(crate) async fn create_workspace(workspace: &str, _caller: Option<&Caller>) -> Result<()> {
    absent(&format!("creating workspace {workspace:?}"))
}

pub(crate) async fn add_member(
    workspace: &str,
    account: &str,
    _role: Role,
    _caller: Option<&Caller>,
) -> Result<()> {
    absent(&format!("adding {account:?} to workspace {workspace:?}"))
}

pub(crate) async fn workspaces(_caller: Option<&Caller>) -> Result<Vec<Membership>> {
    absent("listing workspaces")
}

pub(crate) async fn find(
    workspace: &Workspace,
    _filter: String,
    _options: String,
) -> Result<(Option<u64>, Vec<String>)> {
    match *workspace {}
}

pub(crate) async fn documents(
    workspace: &Workspace,
    _ids: Vec<String>,
) -> Result<Vec<Option<String>>> {
    match *workspace {}
}

pub(crate) async fn head(workspace: &Workspace) -> Result<u64> {
    match *workspace {}
}

pub(crate) async fn lookup(
    workspace: &Workspace,
    _transactions: Vec<String>,
) -> Result<Vec<Option<u64>>> {
    match *workspace {}
}

pub(crate) async fn entries(
    workspace: &Workspace,
    _after: u64,
    _limit: u32,
) -> Result<Vec<(u64, String)>> {
    match *workspace {}
}

pub(crate) async fn commit(workspace: &Workspace, _changes: &Changes) -> Result<u64, CommitError> {
    match *workspace {}
}
