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
pub(crate) use errors::{from_guest, to_guest};
pub(crate) use pools::{Pools, Refusal, Share, Whose};
pub(crate) use serving::Serving;
pub(crate) use stream::read_chunks;
pub(crate) use usage::{Thing, Usage};

use crate::bindings::{huly::network, sync::huly::network as serial};

/// A linker with everything that a container may import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Context>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    network::common::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    network::types::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    network::log::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    network::clock::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    network::identity::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    network::connections::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    network::containers::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    network::documents::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    serial::containers_sync::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    serial::documents_sync::add_to_linker::<_, HasSelf<Context>>(&mut linker, |context| context)?;
    Ok(linker)
}
