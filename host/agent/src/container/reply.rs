//! The way back to whoever asked a container.

use std::{pin::Pin, sync::Arc};

use hulynet_protocol::NetworkError;

use super::handle::Shared;
use crate::network::Answer;

/// Ends when nobody waits any more.
pub(crate) type Gone<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Who waits for the answer to a request.
pub(crate) trait Asker: Send {
    /// Whether the answer is waited for at all; otherwise it is only done.
    fn waits(&self) -> bool {
        true
    }

    /// Nobody waits any more.
    fn is_gone(&self) -> bool;

    /// Ends when nobody waits any more.
    fn gone(&mut self) -> Gone<'_>;

    /// Takes the answer; never waits.
    fn answer(self: Box<Self>, answer: Result<Answer, NetworkError>);
}

/// Answers one request. Dropped without an answer, it answers with the reason
/// why the container ended, once that is known.
pub(crate) struct Reply {
    asker: Option<Box<dyn Asker>>,
    shared: Arc<Shared>,
}

impl Reply {
    pub(super) fn new(asker: Box<dyn Asker>, shared: Arc<Shared>) -> Self {
        Self { asker: Some(asker), shared }
    }

    /// Whether the answer is waited for at all.
    pub(super) fn waits(&self) -> bool {
        self.asker.as_ref().is_some_and(|asker| asker.waits())
    }

    pub(super) fn is_gone(&self) -> bool {
        self.asker.as_ref().is_none_or(|asker| asker.is_gone())
    }

    /// Ends when nobody waits any more.
    pub(super) async fn gone(&mut self) {
        if let Some(asker) = &mut self.asker {
            asker.gone().await;
        }
    }

    /// The request was not taken; here is who asked.
    pub(super) fn withdraw(mut self) -> Option<Box<dyn Asker>> {
        self.asker.take()
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
