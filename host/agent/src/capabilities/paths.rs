//! Which containers wait for which request in progress, so that a request that
//! is made meanwhile carries them on. The engine tells which call an import
//! belongs to; a container has no say in it.

use std::collections::BTreeMap;

use hulynet_protocol::{Caller, ContainerId};
use wasmtime::{
    AsContextMut,
    component::{Accessor, GuestTaskId, HasSelf, Resource},
};

use super::{CallerHandle, Context};

/// The calls in progress that containers wait for. Calls of others have no
/// entry: nobody is behind them.
#[derive(Debug, Default)]
pub(crate) struct Paths(BTreeMap<GuestTaskId, Vec<ContainerId>>);

impl Paths {
    /// A call began.
    pub(crate) fn began(&mut self, call: GuestTaskId, path: Vec<ContainerId>) {
        self.0.insert(call, path);
    }

    /// A call ended.
    pub(crate) fn ended(&mut self, call: GuestTaskId) {
        self.0.remove(&call);
    }
}

/// In whose name the container asks others: that of the caller that it serves,
/// or its own. Who waits is found out by the host.
pub(crate) fn acting(
    accessor: &Accessor<Context, HasSelf<Context>>,
    on_behalf: Option<&Resource<CallerHandle>>,
) -> wasmtime::Result<Caller> {
    accessor.with(|mut access| {
        let call = access.as_context_mut().async_call_stack()?.last();
        let context = access.get();
        let account = context.account(on_behalf)?;
        let waiting = call.and_then(|call| context.paths.0.get(&call));
        let mut path = waiting.cloned().unwrap_or_default();
        path.push(context.activation.id.clone());
        Ok(Caller { account, path })
    })
}
