//! What containers may use, one module each. Nothing is ambient: a component
//! that imports anything else is refused when it is loaded.

mod caller;
mod clock;
mod connections;
mod containers;
mod context;
mod documents;
mod environment;
mod errors;
mod http;
mod identity;
mod labels;
mod log;
mod memory;
mod output;
mod paths;
mod pools;
mod random;
mod rate;
mod resident;
mod serving;
mod stream;
mod tenancy;
mod usage;
mod wanted;

use wasmtime::{
    Engine,
    component::{HasSelf, Linker},
};

#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use caller::CallerHandle;
pub(crate) use caller::{GivenUp, container_id};
pub(crate) use connections::{Connections, Exit, Left, Sink};
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use containers::ReferenceHandle;
pub(crate) use context::{Context, Services};
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use documents::WorkspaceHandle;
pub(crate) use errors::{from_guest, raise, to_guest};
pub(crate) use pools::{Pools, Refusal, Share, Whose};
pub(crate) use resident::{of_machine, of_process};
pub(crate) use serving::Serving;
pub(crate) use stream::read_chunks;
pub(crate) use usage::{Thing, Usage};
#[cfg(test)]
pub(crate) use {
    http::{HEAD, OWN_LOOKUPS},
    memory::{INSTANCES, MEMORIES, TABLE, TABLES},
    random::DRAW,
};

use crate::{
    bindings::{huly::network, sync::huly::network as sync},
    engine::Engines,
    world::World,
};

/// What containers may import.
pub(crate) struct Linkers {
    concurrent: Linker<Context>,
    serial: Linker<Context>,
}

impl Linkers {
    /// With everything that is offered.
    ///
    /// # Errors
    /// A defect: something is offered twice.
    pub(crate) fn new(engines: &Engines) -> wasmtime::Result<Self> {
        let mut concurrent = common(engines.of(World::Container))?;
        network::types::add_to_linker::<_, This>(&mut concurrent, |context| context)?;
        network::clock::add_to_linker::<_, This>(&mut concurrent, |context| context)?;
        network::containers::add_to_linker::<_, This>(&mut concurrent, |context| context)?;
        network::documents::add_to_linker::<_, This>(&mut concurrent, |context| context)?;
        let mut serial = common(engines.of(World::ContainerSync))?;
        sync::containers_sync::add_to_linker::<_, This>(&mut serial, |context| context)?;
        sync::documents_sync::add_to_linker::<_, This>(&mut serial, |context| context)?;
        Ok(Self { concurrent, serial })
    }

    /// For containers of this world.
    pub(crate) fn of(&self, world: World) -> &Linker<Context> {
        match world {
            World::Container => &self.concurrent,
            World::ContainerSync => &self.serial,
        }
    }
}

type This = HasSelf<Context>;

/// What containers of both worlds may import.
fn common(engine: &Engine) -> wasmtime::Result<Linker<Context>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    network::common::add_to_linker::<_, This>(&mut linker, |context| context)?;
    network::log::add_to_linker::<_, This>(&mut linker, |context| context)?;
    network::identity::add_to_linker::<_, This>(&mut linker, |context| context)?;
    network::connections::add_to_linker::<_, This>(&mut linker, |context| context)?;
    Ok(linker)
}
