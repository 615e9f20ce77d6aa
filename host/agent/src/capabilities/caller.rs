//! `types.caller`: in whose name a request is made. The host alone makes
//! these, so a container can pass one on but cannot forge one.

use hulynet_protocol::Caller;
use wasmtime::component::Resource;

use super::Context;
use crate::bindings::huly::network::types::{ContainerId, Host, HostCaller};

/// The caller of a request that a container serves.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub struct CallerHandle(pub(crate) Caller);

impl Host for Context {}

impl HostCaller for Context {
    fn account(&mut self, caller: Resource<CallerHandle>) -> wasmtime::Result<Option<String>> {
        let caller = &self.table.get(&caller)?.0;
        Ok(caller.account.as_ref().map(|account| account.as_str().to_owned()))
    }

    fn container(
        &mut self,
        caller: Resource<CallerHandle>,
    ) -> wasmtime::Result<Option<ContainerId>> {
        let caller = &self.table.get(&caller)?.0;
        Ok(caller.container.as_ref().map(container_id))
    }

    fn drop(&mut self, caller: Resource<CallerHandle>) -> wasmtime::Result<()> {
        self.table.delete(caller)?;
        Ok(())
    }
}

/// A container's identity for a container.
pub(crate) fn container_id(id: &hulynet_protocol::ContainerId) -> ContainerId {
    ContainerId { kind: id.kind.as_str().to_owned(), uuid: id.uuid.as_str().to_owned() }
}
