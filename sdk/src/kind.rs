//! Runs one container of a kind: its state, its lock, its first call.

use std::cell::OnceCell;
use std::future::Future;
use std::pin::pin;

use futures::future::{Either, select};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{Answer, Connection, Context, Error, ErrorKind, Result, Retry, Termination, host};

/// A container's state. The lock is fair: `&self` methods share it, `&mut
/// self` methods have it alone, and all get it in the order in which their
/// requests came.
pub type State<K> = RwLock<K>;

/// The state for a `&mut self` method.
///
/// # Errors
/// `busy` when the request would wait for one that waits for it.
pub async fn alone<'s, K>(
    state: &'s State<K>,
    context: &Context,
) -> Result<RwLockWriteGuard<'s, K>> {
    if let Ok(state) = state.try_write() {
        return Ok(state);
    }
    refuse_circle(context)?;
    Ok(state.write().await)
}

/// The state for a `&self` method.
///
/// # Errors
/// As [`alone`].
pub async fn shared<'s, K>(
    state: &'s State<K>,
    context: &Context,
) -> Result<RwLockReadGuard<'s, K>> {
    if let Ok(state) = state.try_read() {
        return Ok(state);
    }
    refuse_circle(context)?;
    Ok(state.read().await)
}

/// The state is taken. When the container's own request came back through
/// others, whoever has the state may wait for this one: both would wait until
/// their deadline.
fn refuse_circle(context: &Context) -> Result<()> {
    let path = context.caller.path();
    if path.is_empty() {
        return Ok(());
    }
    let me = host::identity().id;
    if !path.contains(&me) {
        return Ok(());
    }
    let steps = path.iter().chain([&me]).map(|id| format!("{}/{}", id.kind, id.uuid));
    let way = steps.collect::<Vec<_>>().join(" → ");
    Err(Error::new(
        ErrorKind::Busy,
        Retry::Final,
        format!(
            "the request came back to its own container and would wait for itself: {way}; let the \
             methods on the way take &self, or ask after the answer"
        ),
    ))
}

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

    /// Answers a request. When its caller gives up, the method is dropped where
    /// it waits, and lets go of what it holds.
    ///
    /// # Errors
    /// `unknown-operation`, `invalid-arguments`, `busy` when it would wait for
    /// itself, or what the method says.
    pub async fn request(&self, request: Request) -> Result<Answer> {
        let caller = request.context.caller.0.clone();
        let working = pin!(K::request(self.state()?, request));
        // Asked first: one that answers at once costs no question to the host.
        match select(working, pin!(caller.given_up())).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(Error::new(
                ErrorKind::Cancelled,
                Retry::MaybeProcessed,
                "nobody waits for the answer any more",
            )),
        }
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::testing;

    fn context(path: &[&str]) -> Context {
        let kind = host::identity().id.kind;
        let id = |uuid: &&str| crate::ContainerId { kind: kind.clone(), uuid: (*uuid).to_owned() };
        let mut context = testing::context(None);
        context.caller.0.path = path.iter().map(id).collect();
        context
    }

    #[test]
    fn a_request_that_would_wait_for_itself_is_refused_and_others_wait() {
        let state = State::new(0);
        let me = host::identity().id.uuid;
        let circle = context(&[&me, "b"]);
        let first = alone(&state, &context(&[])).now_or_never().unwrap().unwrap();
        let error = alone(&state, &circle).now_or_never().unwrap().unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::Final));
        assert!(error.message.contains(&format!("{me} → ")), "{}", error.message);
        assert!(shared(&state, &circle).now_or_never().unwrap().is_err());
        assert!(alone(&state, &context(&["b"])).now_or_never().is_none(), "it waits");
        drop(first);
        drop(alone(&state, &circle).now_or_never().unwrap().unwrap());
        let _reading = shared(&state, &context(&[])).now_or_never().unwrap().unwrap();
        let _again = shared(&state, &circle).now_or_never().unwrap().unwrap();
    }
}
