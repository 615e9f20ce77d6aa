//! `clock`: timers that hold nobody up. The time itself is that of WASI, which
//! every kind has.

use std::time::Duration;

use wasmtime::component::{Accessor, HasSelf};

use super::{Context, Thing, to_guest};
use crate::bindings::huly::network::{
    clock::{Host, HostWithStore},
    common::Error,
};

impl Host for Context {}

impl HostWithStore<Context> for HasSelf<Context> {
    async fn sleep(
        accessor: &Accessor<Context, Self>,
        milliseconds: u64,
    ) -> wasmtime::Result<Result<(), Error>> {
        let timer = accessor.with(|mut access| access.get().usage.open(Thing::Timer));
        let _timer = match timer {
            Ok(timer) => timer,
            Err(error) => return Ok(Err(to_guest(error))),
        };
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        Ok(Ok(()))
    }
}
