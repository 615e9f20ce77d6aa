//! Other containers, as a container sees them: each says what it was asked.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream;
use hulynet_agent::{Answer, Events, Network, Outgoing, Reference};
use hulynet_protocol::{Caller, ContainerId, GetOptions, Kind, Labels, NetworkError, Uuid};

pub struct Others;

/// Which one, and how it was asked for.
struct Other(ContainerId, String);

#[async_trait]
impl Network for Others {
    async fn get(
        &self,
        kind: Kind,
        options: GetOptions,
    ) -> Result<Arc<dyn Reference>, NetworkError> {
        assert_ne!(kind.as_str(), "defect", "a defect of the host, made by the test");
        let GetOptions { uuid, labels, select, near, avoid, .. } = options;
        let wanted = format!("{labels:?} with {select} near {near:?} avoiding {avoid:?}");
        let uuid = uuid.unwrap_or_else(Uuid::random);
        Ok(Arc::new(Other(ContainerId { kind, uuid }, wanted)))
    }
}

#[async_trait]
impl Reference for Other {
    fn id(&self) -> ContainerId {
        self.0.clone()
    }

    /// Those that its name says: `KEY=VALUE`.
    fn labels(&self) -> Result<Labels, NetworkError> {
        let pair = self.0.uuid.as_str().split_once('=');
        Ok(pair.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    async fn request(&self, request: Outgoing) -> Result<Answer, NetworkError> {
        let Outgoing { operation, payload, caller, timeout } = request;
        let text = format!(
            "{} {operation} {} for {:?} by {:?} within {timeout:?}",
            self.0,
            String::from_utf8_lossy(&payload),
            caller.account.as_ref().map(|account| account.as_str()),
            caller.container().map(ToString::to_string),
        );
        match operation.as_str() {
            "stream" => {
                let chunks = ["one ", "two ", "three"].map(|text| Ok(text.into()));
                Ok(Answer::Chunks(Box::pin(stream::iter(chunks))))
            }
            "who" => Ok(Answer::Payload(self.1.clone().into())),
            "never" => std::future::pending().await,
            _ => Ok(Answer::Payload(text.into())),
        }
    }

    async fn send(&self, _: Outgoing) -> Result<(), NetworkError> {
        Ok(())
    }

    async fn connect(&self, _: Caller) -> Result<Events, NetworkError> {
        Ok(Box::pin(stream::iter(["first", "second"].map(Into::into))))
    }
}
