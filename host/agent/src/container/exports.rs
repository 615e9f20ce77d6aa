//! What containers export: the worlds say the same with types of their own.

use wasmtime::{
    Engine, Store,
    component::{
        Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Lower, TypedFunc,
    },
};

use crate::{
    bindings::{exports::huly::network::guest::Termination, huly::network::common::Error},
    capabilities::Context,
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
    pub(super) async fn instantiate<R, A, C>(
        &self,
        store: &mut Store<Context>,
    ) -> wasmtime::Result<Exports<R, A, C>>
    where
        R: ComponentType + Lower + 'static,
        A: ComponentType + Lift + 'static,
        C: ComponentType + Lower + 'static,
    {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        Ok(Exports {
            start: instance.get_typed_func(&mut *store, self.start)?,
            request: instance.get_typed_func(&mut *store, self.request)?,
            connect: instance.get_typed_func(&mut *store, self.connect)?,
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

pub(super) type Outcome = Result<(), Error>;

/// The exports of one container: requests `R` with answers `A`, and
/// connections `C`, as its world has them.
pub(super) struct Exports<R, A, C> {
    pub(super) start: TypedFunc<(Vec<u8>,), (Outcome,)>,
    pub(super) request: TypedFunc<(R,), (Result<A, Error>,)>,
    pub(super) connect: TypedFunc<(C,), (Outcome,)>,
    pub(super) disconnect: TypedFunc<(String,), ()>,
    pub(super) ping: TypedFunc<(), (Outcome,)>,
    pub(super) terminate: TypedFunc<(bool,), (Termination,)>,
}
