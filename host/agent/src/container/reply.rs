//! The way back to whoever asked a container.

use std::sync::Arc;

use hulynet_protocol::NetworkError;

use super::handle::Shared;
use crate::network::Answer;

/// Who waits for the answer to a request.
pub(crate) trait Asker: Send {
    /// Nobody waits any more.
    fn is_gone(&self) -> bool;

    /// Takes the answer; never waits.
    fn answer(self: Box<Self>, answer: Result<Answer, NetworkError>);
}

/// Answers one request. Dropped without an answer, it answers with the reason
/// why the container ended, once that is known.
pub(super) struct Reply {
    asker: Option<Box<dyn Asker>>,
    shared: Arc<Shared>,
}

impl Reply {
    pub(super) fn new(asker: Box<dyn Asker>, shared: Arc<Shared>) -> Self {
        Self { asker: Some(asker), shared }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.asker.as_ref().is_none_or(|asker| asker.is_gone())
    }

    pub(super) fn send(mut self, answer: Result<Answer, NetworkError>) {
        if let Some(asker) = self.asker.take() {
            asker.answer(answer);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(asker) = self.asker.take() {
            self.shared.orphan(asker);
        }
    }
}
