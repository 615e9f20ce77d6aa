//! `identity`: who this container is.

use super::{Context, caller::container_id, labels};
use crate::bindings::huly::network::{
    common::Epoch,
    identity::{Host, Identity},
};

impl Host for Context {
    fn get(&mut self) -> wasmtime::Result<Identity> {
        let activation = &self.activation;
        Ok(Identity {
            id: container_id(&activation.id),
            epoch: Epoch { term: activation.epoch.term, counter: activation.epoch.counter },
            agent: self.services.agent.as_str().to_owned(),
            labels: labels::to_guest(&activation.labels),
        })
    }
}
