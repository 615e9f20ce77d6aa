//! Runs one container of a kind: its state, its lock, its first call.

use std::cell::OnceCell;
use std::future::Future;

use tokio::sync::RwLock;

use crate::{Answer, Connection, Context, Error, ErrorKind, Result, Retry, Termination};

/// A container's state. The lock is fair: `&self` methods share it, `&mut
/// self` methods have it alone, and all get it in the order in which their
/// requests came.
pub type State<K> = RwLock<K>;

/// One request, as the host hands it over.
#[derive(Debug)]
pub struct Request {
    /// What is asked, by name.
    pub operation: String,
    /// Its arguments.
    pub payload: Vec<u8>,
    /// Its circumstances.
    pub context: Context,
}

/// What `#[kind]` makes of a type.
pub trait Kind: Sized + 'static {
    /// The operations, by name.
    const OPERATIONS: &'static [&'static str];

    /// Makes the state.
    fn start(extra: Vec<u8>) -> impl Future<Output = Result<Self>>;

    /// Finds the method for the operation, decodes its arguments, takes the
    /// lock, calls it and encodes its result.
    fn request(state: &State<Self>, request: Request) -> impl Future<Output = Result<Answer>>;

    /// A client connects.
    fn connect(_state: &State<Self>, _connection: Connection) -> impl Future<Output = Result<()>> {
        async { Ok(()) }
    }

    /// A client is gone.
    fn disconnect(_state: &State<Self>, _connection: String) -> impl Future<Output = ()> {
        async {}
    }

    /// Asked when the container was silent for a while.
    fn ping(_state: &State<Self>) -> impl Future<Output = Result<()>> {
        async { Ok(()) }
    }

    /// Nobody holds the container any more.
    fn terminate(_state: &State<Self>, _force: bool) -> impl Future<Output = Termination> {
        async { Termination::Ended }
    }
}

/// Shows the compiler that a kind is used, where no export does.
pub fn used<K: Kind>() {}

/// One container of a kind, from the host's first call to its last.
///
/// In a component there is exactly one, behind the component's exports; a
/// unit test makes its own.
#[derive(Debug)]
pub struct Container<K> {
    state: OnceCell<State<K>>,
}

impl<K> Default for Container<K> {
    fn default() -> Self {
        Self { state: OnceCell::new() }
    }
}

impl<K: Kind> Container<K> {
    /// The first call.
    ///
    /// # Errors
    /// What the kind's `#[start]` says.
    pub async fn start(&self, extra: Vec<u8>) -> Result<()> {
        let kind = K::start(extra).await?;
        self.state.set(State::new(kind)).map_err(|_| {
            Error::new(ErrorKind::Protocol, Retry::Final, "the container was started twice")
        })
    }

    /// Answers a request.
    ///
    /// # Errors
    /// `unknown-operation`, `invalid-arguments`, or what the method says.
    pub async fn request(&self, request: Request) -> Result<Answer> {
        K::request(self.state()?, request).await
    }

    /// Lets a client connect.
    ///
    /// # Errors
    /// What the kind's `#[connect]` says.
    pub async fn connect(&self, connection: Connection) -> Result<()> {
        K::connect(self.state()?, connection).await
    }

    /// Tells that a client is gone.
    pub async fn disconnect(&self, connection: String) {
        if let Ok(state) = self.state() {
            K::disconnect(state, connection).await;
        }
    }

    /// Asks whether it is well.
    ///
    /// # Errors
    /// What the kind's `#[ping]` says.
    pub async fn ping(&self) -> Result<()> {
        K::ping(self.state()?).await
    }

    /// Asks it to end. One that was never started has nothing to finish.
    pub async fn terminate(&self, force: bool) -> Termination {
        match self.state() {
            Ok(state) => K::terminate(state, force).await,
            Err(_) => Termination::Ended,
        }
    }

    fn state(&self) -> Result<&State<K>> {
        self.state.get().ok_or_else(|| {
            Error::new(
                ErrorKind::StartFailed,
                Retry::NotProcessed,
                "the container has not been started",
            )
        })
    }
}
