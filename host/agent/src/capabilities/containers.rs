//! `containers`: finding other containers and talking to them.
//!
//! A request carries this container's identity and either its own account or
//! that of a caller that it serves; it cannot name another one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use hulynet_protocol::{Caller, ErrorKind, NetworkError, limits};
use wasmtime::component::{Accessor, HasSelf, Resource, StreamReader};

use super::{
    CallerHandle, Context, caller::container_id, stream::Producer, to_guest, wanted::wanted,
};
use crate::{
    bindings::huly::network::{
        containers::{
            GetOptions as GuestOptions, Host, HostReference, HostReferenceWithStore, HostWithStore,
        },
        types::{Body, ContainerId, Error},
    },
    network::{Answer, Outgoing, Reference},
};

/// A container that this one holds; released when it is dropped.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ReferenceHandle(Arc<dyn Reference>);

type Access = Accessor<Context, HasSelf<Context>>;
type Events = StreamReader<Vec<u8>>;

impl Host for Context {}

impl HostWithStore<Context> for HasSelf<Context> {
    async fn get(
        accessor: &Access,
        kind: String,
        options: GuestOptions,
    ) -> wasmtime::Result<Result<Resource<ReferenceHandle>, Error>> {
        let prepared = accessor.with(|mut access| {
            let context = access.get();
            wanted(&context.activation, &context.services.terms, &kind, options)
                .map(|wanted| (context.services.network.clone(), wanted))
        });
        let (network, (kind, options)) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(to_guest(error))),
        };
        match network.get(kind, options).await {
            Ok(reference) => accessor
                .with(|mut access| Ok(Ok(access.get().table.push(ReferenceHandle(reference))?))),
            Err(error) => Ok(Err(to_guest(error))),
        }
    }
}

impl HostReference for Context {
    fn id(&mut self, reference: Resource<ReferenceHandle>) -> wasmtime::Result<ContainerId> {
        Ok(container_id(&self.table.get(&reference)?.0.id()))
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
        let prepared =
            prepare(accessor, &reference, operation, payload, on_behalf.as_ref(), timeout)?;
        let (reference, outgoing) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(to_guest(error))),
        };
        match reference.request(outgoing).await {
            Ok(Answer::Payload(payload)) => Ok(Ok(Body::Payload(payload.into()))),
            Ok(Answer::Chunks(chunks)) => {
                let items = chunks.map(|chunk| chunk.map(Vec::from).map_err(to_guest));
                let reader =
                    accessor.with(|access| StreamReader::new(access, Producer(Box::pin(items))))?;
                Ok(Ok(Body::Chunks(reader)))
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
        let prepared = prepare(accessor, &reference, operation, payload, on_behalf.as_ref(), None)?;
        let (reference, outgoing) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(to_guest(error))),
        };
        Ok(reference.send(outgoing).await.map_err(to_guest))
    }

    async fn connect(
        accessor: &Access,
        reference: Resource<ReferenceHandle>,
    ) -> wasmtime::Result<Result<Events, Error>> {
        let (reference, caller) = accessor.with(|mut access| -> wasmtime::Result<_> {
            let context = access.get();
            Ok((context.table.get(&reference)?.0.clone(), context.acting(None)?))
        })?;
        match reference.connect(caller).await {
            Ok(events) => {
                let payloads = Producer(Box::pin(events.map(Vec::from)));
                Ok(Ok(accessor.with(|access| StreamReader::new(access, payloads))?))
            }
            Err(error) => Ok(Err(to_guest(error))),
        }
    }
}

/// To whom, and what.
type Prepared = (Arc<dyn Reference>, Outgoing);

/// The reference and the checked request.
fn prepare(
    accessor: &Access,
    reference: &Resource<ReferenceHandle>,
    operation: String,
    payload: Vec<u8>,
    on_behalf: Option<&Resource<CallerHandle>>,
    timeout: Option<Duration>,
) -> wasmtime::Result<Result<Prepared, NetworkError>> {
    accessor.with(|mut access| {
        let context = access.get();
        let reference = context.table.get(reference)?.0.clone();
        let caller = context.acting(on_behalf)?;
        let timeout = timeout.unwrap_or(context.services.limits.request);
        Ok(outgoing(operation, payload.into(), caller, timeout)
            .map(|outgoing| (reference, outgoing)))
    })
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
