//! What a container exports, whichever of the two worlds it is of.
//!
//! The worlds differ in how requests and connections look; everything else is
//! the same to the host. All calls are made the same way, too: the engine lets
//! those of the world `container-sync` wait for one another, and whoever makes
//! them makes one at a time.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Instant,
};

use hulynet_protocol::Caller;
use wasmtime::{
    AsContextMut, Engine, Store,
    component::{
        Accessor, Component, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Lower,
        TypedFunc,
    },
};

use super::{handle::Incoming, reply::Reply};
use crate::{
    bindings::{
        exports::huly::network::guest,
        huly::network::{common::Error, types::Body},
        sync::exports::huly::network::guest_sync,
    },
    capabilities::{CallerHandle, Context, GivenUp, Serving, container_id},
    world::World,
};

/// Code that containers are started from, and where its exports are.
#[derive(Clone)]
pub(crate) struct Linked {
    pre: InstancePre<Context>,
    /// Which world it is of.
    pub(crate) world: World,
    start: ComponentExportIndex,
    request: ComponentExportIndex,
    connect: ComponentExportIndex,
    disconnect: ComponentExportIndex,
    ping: ComponentExportIndex,
    terminate: ComponentExportIndex,
}

impl Linked {
    /// Looks for the exports of a component of this world.
    ///
    /// # Errors
    /// One is missing.
    pub(crate) fn new(pre: InstancePre<Context>, world: World) -> wasmtime::Result<Self> {
        let find = |name| find(pre.component(), world, name);
        Ok(Self {
            world,
            start: find("start")?,
            request: find("request")?,
            connect: find("connect")?,
            disconnect: find("disconnect")?,
            ping: find("ping")?,
            terminate: find("terminate")?,
            pre,
        })
    }

    /// The engine that it was compiled for.
    pub(super) fn engine(&self) -> &Engine {
        self.pre.engine()
    }

    /// Makes an instance.
    ///
    /// # Errors
    /// There is no room, its own code fails, or an export has another type.
    pub(super) async fn instantiate(
        &self,
        store: &mut Store<Context>,
    ) -> wasmtime::Result<Exports> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let calls = match self.world {
            World::Container => Calls::Concurrent {
                request: instance.get_typed_func(&mut *store, self.request)?,
                connect: instance.get_typed_func(&mut *store, self.connect)?,
            },
            World::ContainerSync => Calls::Serial {
                request: instance.get_typed_func(&mut *store, self.request)?,
                connect: instance.get_typed_func(&mut *store, self.connect)?,
            },
        };
        Ok(Exports {
            calls,
            start: instance.get_typed_func(&mut *store, self.start)?,
            disconnect: instance.get_typed_func(&mut *store, self.disconnect)?,
            ping: instance.get_typed_func(&mut *store, self.ping)?,
            terminate: instance.get_typed_func(&mut *store, self.terminate)?,
        })
    }
}

fn find(component: &Component, world: World, name: &str) -> wasmtime::Result<ComponentExportIndex> {
    component
        .get_export_index(None, world.guest())
        .and_then(|guest| component.get_export_index(Some(&guest), name))
        .ok_or_else(|| wasmtime::Error::msg(format!("{} has no function {name}", world.guest())))
}

type Access = Accessor<Context>;
type Outcome = Result<(), Error>;

/// The exports of one container.
pub(super) struct Exports {
    calls: Calls,
    start: TypedFunc<(Vec<u8>,), (Outcome,)>,
    disconnect: TypedFunc<(String,), ()>,
    ping: TypedFunc<(), (Outcome,)>,
    terminate: TypedFunc<(bool,), (guest::Termination,)>,
}

enum Calls {
    Concurrent {
        request: TypedFunc<(guest::Incoming,), (Result<Body, Error>,)>,
        connect: TypedFunc<(guest::Connection,), (Outcome,)>,
    },
    Serial {
        request: TypedFunc<(guest_sync::Incoming,), (Result<Vec<u8>, Error>,)>,
        connect: TypedFunc<(guest_sync::Connection,), (Outcome,)>,
    },
}

impl Exports {
    /// Whether it hears nothing else until a call is done.
    pub(super) fn are_serial(&self) -> bool {
        matches!(self.calls, Calls::Serial { .. })
    }

    /// Starts the container.
    pub(super) async fn start(&self, access: &Access, extra: Vec<u8>) -> wasmtime::Result<Outcome> {
        Ok(self.start.call_concurrent(access, (extra,)).await?.0)
    }

    /// Asks the container; it is told when nobody waits for `reply` any more.
    pub(super) async fn request(
        &self,
        access: &Access,
        incoming: Incoming,
        deadline_ms: u32,
        reply: &mut Reply,
    ) -> wasmtime::Result<Result<Body, Error>> {
        let Incoming { operation, payload, caller, deadline, idempotency, trace } = incoming;
        let (payload, trace) = (payload.into(), hexadecimal(trace));
        match &self.calls {
            Calls::Concurrent { request, .. } => {
                let given_up = Arc::<GivenUp>::default();
                let path = caller.path.clone();
                let waited_for = !path.is_empty();
                let caller = CallerHandle { caller, given_up: given_up.clone() };
                let call = access.with(|mut access| -> wasmtime::Result<_> {
                    let caller = access.get().table.push(caller)?;
                    let incoming = guest::Incoming {
                        operation,
                        payload,
                        caller,
                        deadline_ms,
                        idempotency,
                        trace,
                    };
                    let call =
                        request.start_call_concurrent(access.as_context_mut(), (incoming,))?;
                    if waited_for {
                        access.get().paths.began(call.task(), path);
                    }
                    Ok(call)
                })?;
                let task = call.task();
                let mut answering = pin!(request.finish_call_concurrent(access, call));
                let answered = match at_once(answering.as_mut()).await {
                    Some(answered) => answered,
                    None => tokio::select! {
                        biased;
                        answered = &mut answering => answered,
                        () = reply.gone() => {
                            given_up.tell();
                            answering.await
                        }
                    },
                };
                if waited_for {
                    access.with(|mut access| access.get().paths.ended(task));
                }
                Ok(answered?.0)
            }
            Calls::Serial { request, .. } => {
                let incoming = guest_sync::Incoming {
                    operation,
                    payload,
                    caller: guest_caller(&caller),
                    deadline_ms,
                    idempotency,
                    trace,
                };
                let serving = Serving { caller, deadline };
                Ok(serially(access, serving, *request, (incoming,)).await?.0.map(Body::Payload))
            }
        }
    }

    /// Tells the container that a client connects.
    pub(super) async fn connect(
        &self,
        access: &Access,
        id: String,
        caller: Caller,
        deadline: Instant,
    ) -> wasmtime::Result<Outcome> {
        match &self.calls {
            Calls::Concurrent { connect, .. } => {
                // Whoever accepts a client does not work for it: there is
                // nothing to give up.
                let caller = CallerHandle { caller, given_up: Arc::default() };
                let caller = access.with(|mut access| access.get().table.push(caller))?;
                let connection = guest::Connection { id, caller };
                Ok(connect.call_concurrent(access, (connection,)).await?.0)
            }
            Calls::Serial { connect, .. } => {
                let connection = guest_sync::Connection { id, caller: guest_caller(&caller) };
                let serving = Serving { caller, deadline };
                Ok(serially(access, serving, *connect, (connection,)).await?.0)
            }
        }
    }

    /// Tells the container that a client is gone.
    pub(super) async fn disconnect(&self, access: &Access, id: String) -> wasmtime::Result<()> {
        self.disconnect.call_concurrent(access, (id,)).await
    }

    /// Asks the container how it is.
    pub(super) async fn ping(&self, access: &Access) -> wasmtime::Result<Outcome> {
        Ok(self.ping.call_concurrent(access, ()).await?.0)
    }

    /// Asks the container to end; answers whether it does.
    pub(super) async fn terminate(&self, access: &Access, force: bool) -> wasmtime::Result<bool> {
        let (termination,) = self.terminate.call_concurrent(access, (force,)).await?;
        Ok(matches!(termination, guest::Termination::Ended))
    }
}

/// A trace's number in 32 digits, without the detour of a format.
fn hexadecimal(trace: u128) -> String {
    uuid::Uuid::from_u128(trace).simple().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned()
}

/// The answer of a container that needs no pause for it. It computes between two
/// looks at it, so the second one tells. Whoever takes longer is worth the timer
/// that watches whether somebody still waits.
async fn at_once<T>(mut answering: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut looked = false;
    poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if looked => Poll::Ready(None),
        Poll::Pending => {
            looked = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// Calls a container that serves nobody else meanwhile.
async fn serially<P, R>(
    access: &Access,
    serving: Serving,
    function: TypedFunc<P, R>,
    arguments: P,
) -> wasmtime::Result<R>
where
    P: ComponentNamedList + Lower + 'static,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    access.with(|mut access| access.get().serving = Some(serving));
    let answered = function.call_concurrent(access, arguments).await;
    access.with(|mut access| access.get().serving = None);
    answered
}

fn guest_caller(caller: &Caller) -> guest_sync::Caller {
    guest_sync::Caller {
        account: caller.account.as_ref().map(|account| account.as_str().to_owned()),
        container: caller.container().map(container_id),
    }
}
