//! `containers`: finding other containers and talking to them.
//!
//! A request carries this container's identity and either its own account or
//! that of a caller that it serves; it cannot name another one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use hulynet_agent_kinds::Capability;
use hulynet_protocol::{Caller, ErrorKind, GetOptions, Kind, NetworkError, limits};
use wasmtime::component::{Accessor, HasSelf, Lift, Lower, Resource, StreamReader};

use super::{
    CallerHandle, Context, Thing,
    caller::container_id,
    paths::acting,
    stream::Producer,
    tenancy::Tenant,
    to_guest,
    usage::{Calling, Open},
    wanted::wanted,
};
use crate::{
    bindings::huly::network::{
        common::{ContainerId, Error},
        containers::{
            GetOptions as GuestOptions, Host, HostReference, HostReferenceWithStore, HostWithStore,
        },
        types::Body,
    },
    network::{Answer, Network, Outgoing, Reference},
};

mod sync;

/// A container that this one holds; released when it is dropped.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ReferenceHandle {
    reference: Arc<dyn Reference>,
    _held: Open,
}

type Access = Accessor<Context, HasSelf<Context>>;
type Events = StreamReader<Vec<u8>>;

impl Host for Context {}

impl HostWithStore<Context> for HasSelf<Context> {
    async fn get(
        accessor: &Access,
        kind: String,
        options: GuestOptions,
    ) -> wasmtime::Result<Result<Resource<ReferenceHandle>, Error>> {
        let wanted = accessor.with(|mut access| Wanted::of(access.get(), &kind, options));
        let found = async { wanted?.find().await };
        match found.await {
            Ok(handle) => accessor.with(|mut access| Ok(Ok(access.get().table.push(handle)?))),
            Err(error) => Ok(Err(to_guest(error))),
        }
    }
}

/// A container that is looked for.
struct Wanted {
    network: Arc<dyn Network>,
    /// Whose containers it may be; `None` is everybody's.
    only: Option<Tenant>,
    kind: Kind,
    options: GetOptions,
    _asked: Open,
    held: Open,
}

impl Wanted {
    /// Checks what a container asks for.
    fn of(context: &Context, kind: &str, options: GuestOptions) -> Result<Self, NetworkError> {
        let services = &context.services;
        let (kind, mut options) = wanted(&context.activation, &services.terms, kind, options)?;
        let tenant = Tenant::new(context.activation.clone(), services.documents.clone());
        if !services.grants.shares(&kind) {
            tenant.bind(&mut options);
        }
        context.usage.get(Instant::now())?;
        Ok(Self {
            network: services.network.clone(),
            only: (!services.terms.has(Capability::OtherTenants)).then_some(tenant),
            kind,
            options,
            _asked: context.usage.open(Thing::Request)?,
            held: context.usage.open(Thing::Reference)?,
        })
    }

    /// Finds or starts it.
    async fn find(self) -> Result<ReferenceHandle, NetworkError> {
        if let Some(tenant) = &self.only {
            tenant.check_wanted(&self.options).await?;
        }
        let reference = self.network.get(self.kind, self.options).await?;
        if let Some(tenant) = &self.only {
            tenant.check(&reference.labels()?).await?;
        }
        Ok(ReferenceHandle { reference, _held: self.held })
    }
}

/// Which one a reference is of.
fn id(context: &Context, reference: &Resource<ReferenceHandle>) -> wasmtime::Result<ContainerId> {
    Ok(container_id(&context.table.get(reference)?.reference.id()))
}

impl HostReference for Context {
    fn id(&mut self, reference: Resource<ReferenceHandle>) -> wasmtime::Result<ContainerId> {
        id(self, &reference)
    }

    fn drop(&mut self, reference: Resource<ReferenceHandle>) -> wasmtime::Result<()> {
        self.table.delete(reference)?;
        Ok(())
    }
}

impl HostReferenceWithStore<Context> for HasSelf<Context> {
    async fn request(
        accessor: &Access,
        reference: Resource<ReferenceHandle>,
        operation: String,
        payload: Vec<u8>,
        on_behalf: Option<Resource<CallerHandle>>,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Body, Error>> {
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let caller = acting(accessor, on_behalf.as_ref())?;
        let prepared = accessor.with(|mut access| {
            prepare(access.get(), &reference, operation, payload, caller, timeout)
        })?;
        let (reference, outgoing, _calling) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(to_guest(error))),
        };
        match reference.request(outgoing).await {
            Ok(Answer::Payload(payload)) => Ok(Ok(Body::Payload(payload.into()))),
            Ok(Answer::Chunks(chunks)) => {
                let items = chunks.map(|chunk| chunk.map(Vec::from).map_err(to_guest));
                Ok(reading(accessor, items)?.map(Body::Chunks))
            }
            Err(error) => Ok(Err(to_guest(error))),
        }
    }

    async fn send(
        accessor: &Access,
        reference: Resource<ReferenceHandle>,
        operation: String,
        payload: Vec<u8>,
        on_behalf: Option<Resource<CallerHandle>>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let caller = acting(accessor, on_behalf.as_ref())?;
        let prepared = accessor.with(|mut access| {
            prepare(access.get(), &reference, operation, payload, caller, None)
        })?;
        let (reference, outgoing, _calling) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(to_guest(error))),
        };
        Ok(reference.send(outgoing).await.map_err(to_guest))
    }

    async fn connect(
        accessor: &Access,
        reference: Resource<ReferenceHandle>,
    ) -> wasmtime::Result<Result<Events, Error>> {
        let caller = acting(accessor, None)?;
        let reference = accessor.with(|mut access| -> wasmtime::Result<_> {
            Ok(access.get().table.get(&reference)?.reference.clone())
        })?;
        let _calling = match calling(accessor) {
            Ok(calling) => calling,
            Err(error) => return Ok(Err(to_guest(error))),
        };
        match reference.connect(caller).await {
            Ok(events) => reading(accessor, events.map(Vec::from)),
            Err(error) => Ok(Err(to_guest(error))),
        }
    }
}

/// One more answer is waited for.
fn calling(accessor: &Access) -> Result<Calling, NetworkError> {
    accessor.with(|mut access| access.get().usage.call(Instant::now(), 0))
}

/// Hands a stream to the container; what does not fit is not read.
fn reading<T: Lift + Lower + Send + Sync + 'static>(
    accessor: &Access,
    items: impl Stream<Item = T> + Send + 'static,
) -> wasmtime::Result<Result<StreamReader<T>, Error>> {
    accessor.with(|mut access| match access.get().usage.open(Thing::Stream) {
        Ok(open) => Ok(Ok(StreamReader::new(access, Producer::new(items, open))?)),
        Err(error) => Ok(Err(to_guest(error))),
    })
}

/// To whom, and what; and that one more answer is waited for.
type Prepared = (Arc<dyn Reference>, Outgoing, Calling);

/// The reference and the checked request.
fn prepare(
    context: &Context,
    reference: &Resource<ReferenceHandle>,
    operation: String,
    payload: Vec<u8>,
    caller: Caller,
    timeout: Option<Duration>,
) -> wasmtime::Result<Result<Prepared, NetworkError>> {
    let reference = context.table.get(reference)?.reference.clone();
    let timeout = timeout.unwrap_or_else(|| context.limits().request);
    let usage = &context.usage;
    Ok(outgoing(operation, payload.into(), caller, timeout).and_then(|outgoing| {
        let calling = usage.call(Instant::now(), outgoing.payload.len())?;
        Ok((reference, outgoing, calling))
    }))
}

fn outgoing(
    operation: String,
    payload: Bytes,
    caller: Caller,
    timeout: Duration,
) -> Result<Outgoing, NetworkError> {
    if operation.len() > limits::OPERATION_BYTES {
        return Err(NetworkError::refused(
            ErrorKind::InvalidArguments,
            format!("the operation's name is over {} bytes", limits::OPERATION_BYTES),
        ));
    }
    if payload.len() > limits::PAYLOAD_BYTES {
        return Err(NetworkError::refused(
            ErrorKind::TooLarge,
            format!(
                "a payload of {} bytes; at most {} are allowed",
                payload.len(),
                limits::PAYLOAD_BYTES
            ),
        ));
    }
    Ok(Outgoing { operation, payload, caller, timeout })
}
