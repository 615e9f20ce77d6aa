//! `types.caller`: in whose name a request is made. The host alone makes
//! these, so a container can pass one on but cannot forge one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hulynet_protocol::Caller;
use tokio::sync::Notify;
use wasmtime::component::{Accessor, HasSelf, Resource};

use super::Context;
use crate::bindings::huly::network::{
    common::{self, ContainerId},
    types::{Host, HostCaller, HostCallerWithStore},
};

/// The caller of a request that a container serves.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub struct CallerHandle {
    pub(crate) caller: Caller,
    /// Whether the answer is waited for at all.
    pub(crate) waits: bool,
    pub(crate) given_up: Arc<GivenUp>,
}

impl CallerHandle {
    /// The containers that wait for the answer.
    pub(crate) fn waiting(&self) -> &[hulynet_protocol::ContainerId] {
        if self.waits { &self.caller.path } else { &[] }
    }
}

/// Whether nobody waits for the answer to a request any more.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    given_up: AtomicBool,
    told: Notify,
}

impl GivenUp {
    /// Nobody waits any more.
    pub(crate) fn tell(&self) {
        self.given_up.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    /// Ends when nobody waits any more.
    async fn wait(&self) {
        // Made first: it hears what is told from now on.
        let told = self.told.notified();
        if !self.given_up.load(Ordering::Acquire) {
            told.await;
        }
    }
}

impl common::Host for Context {}

impl Host for Context {}

impl HostCaller for Context {
    fn account(&mut self, caller: Resource<CallerHandle>) -> wasmtime::Result<Option<String>> {
        let caller = &self.table.get(&caller)?.caller;
        Ok(caller.account.as_ref().map(|account| account.as_str().to_owned()))
    }

    fn container(
        &mut self,
        caller: Resource<CallerHandle>,
    ) -> wasmtime::Result<Option<ContainerId>> {
        let caller = &self.table.get(&caller)?.caller;
        Ok(caller.container().map(container_id))
    }

    fn path(&mut self, caller: Resource<CallerHandle>) -> wasmtime::Result<Vec<ContainerId>> {
        Ok(self.table.get(&caller)?.waiting().iter().map(container_id).collect())
    }

    fn drop(&mut self, caller: Resource<CallerHandle>) -> wasmtime::Result<()> {
        self.table.delete(caller)?;
        Ok(())
    }
}

impl HostCallerWithStore<Context> for HasSelf<Context> {
    async fn given_up(
        accessor: &Accessor<Context, Self>,
        caller: Resource<CallerHandle>,
    ) -> wasmtime::Result<()> {
        let given_up = accessor.with(|mut access| -> wasmtime::Result<_> {
            Ok(access.get().table.get(&caller)?.given_up.clone())
        })?;
        given_up.wait().await;
        Ok(())
    }
}

/// A container's identity for a container.
pub(crate) fn container_id(id: &hulynet_protocol::ContainerId) -> ContainerId {
    ContainerId { kind: id.kind.as_str().to_owned(), uuid: id.uuid.as_str().to_owned() }
}
