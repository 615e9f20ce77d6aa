//! `containers-sync`: the same for containers that do one thing at a time.

use std::time::Duration;

use futures::StreamExt;
use hulynet_protocol::{ErrorKind, NetworkError, limits::PAYLOAD_BYTES};
use wasmtime::component::Resource;

use super::{Prepared, ReferenceHandle, Wanted, prepare};
use crate::{
    bindings::{
        huly::network::common::{ContainerId, Error, GetOptions},
        sync::huly::network::containers_sync::{Host, HostReference},
    },
    capabilities::{Context, serving::within, to_guest},
    network::Answer,
};

impl Host for Context {
    async fn get(
        &mut self,
        kind: String,
        options: GetOptions,
    ) -> wasmtime::Result<Result<Resource<ReferenceHandle>, Error>> {
        let wanted = Wanted::of(self, &kind, options);
        let found = within(self.deadline(), async { wanted?.find().await });
        match found.await {
            Ok(handle) => Ok(Ok(self.table.push(handle)?)),
            Err(error) => Ok(Err(to_guest(error))),
        }
    }
}

impl HostReference for Context {
    fn id(&mut self, reference: Resource<ReferenceHandle>) -> wasmtime::Result<ContainerId> {
        super::id(self, &reference)
    }

    async fn request(
        &mut self,
        reference: Resource<ReferenceHandle>,
        operation: String,
        payload: Vec<u8>,
        on_behalf: bool,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let caller = self.asking(on_behalf);
        let prepared = prepare(self, &reference, operation, payload, caller, timeout)?;
        let answered = async {
            let (reference, outgoing, _calling): Prepared = prepared?;
            whole(reference.request(outgoing).await?).await
        };
        Ok(within(self.deadline(), answered).await.map_err(to_guest))
    }

    async fn send(
        &mut self,
        reference: Resource<ReferenceHandle>,
        operation: String,
        payload: Vec<u8>,
        on_behalf: bool,
    ) -> wasmtime::Result<Result<(), Error>> {
        let caller = self.asking(on_behalf);
        let prepared = prepare(self, &reference, operation, payload, caller, None)?;
        let sent = async {
            let (reference, outgoing, _calling): Prepared = prepared?;
            reference.send(outgoing).await
        };
        Ok(within(self.deadline(), sent).await.map_err(to_guest))
    }

    fn drop(&mut self, reference: Resource<ReferenceHandle>) -> wasmtime::Result<()> {
        self.table.delete(reference)?;
        Ok(())
    }
}

/// All of an answer.
async fn whole(answer: Answer) -> Result<Vec<u8>, NetworkError> {
    let mut chunks = match answer {
        Answer::Payload(payload) => return Ok(payload.into()),
        Answer::Chunks(chunks) => chunks,
    };
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if all.len() + chunk.len() > PAYLOAD_BYTES {
            return Err(NetworkError::maybe_processed(
                ErrorKind::TooLarge,
                format!("the streamed answer has over {PAYLOAD_BYTES} bytes; ask for less of it"),
            ));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}
