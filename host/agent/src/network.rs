//! What containers need of the network, and the agent does not know itself:
//! other containers. The program that puts the rooms together implements it
//! with a client of the network.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use hulynet_protocol::{Caller, ContainerId, GetOptions, Kind, Labels, NetworkError};

/// Chunks of an answer, in order; an error is the last item.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, NetworkError>> + Send>>;

/// What a container broadcasts; ends when it ends or moves.
pub type Events = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// The answer to a request.
pub enum Answer {
    /// All of it.
    Payload(Bytes),
    /// In pieces.
    Chunks(Chunks),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Payload(payload) => write!(f, "Payload({} bytes)", payload.len()),
            Self::Chunks(_) => f.write_str("Chunks"),
        }
    }
}

/// A request that a container makes.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The operation, by name.
    pub operation: String,
    /// Its arguments.
    pub payload: Bytes,
    /// In whose name; made by the agent, never by the container.
    pub caller: Caller,
    /// How long to wait for the answer.
    pub timeout: Duration,
}

/// Finds containers.
#[async_trait]
pub trait Network: Send + Sync {
    /// Finds or starts a container and holds it.
    async fn get(
        &self,
        kind: Kind,
        options: GetOptions,
    ) -> Result<Arc<dyn Reference>, NetworkError>;
}

/// A container that is held. Dropping the last clone releases it.
#[async_trait]
pub trait Reference: Send + Sync {
    /// Which one it is.
    fn id(&self) -> ContainerId;

    /// The labels that it was started with.
    fn labels(&self) -> Result<Labels, NetworkError>;

    /// Sends a request and waits for the answer.
    async fn request(&self, request: Outgoing) -> Result<Answer, NetworkError>;

    /// Sends a request without an answer; success means accepted.
    async fn send(&self, request: Outgoing) -> Result<(), NetworkError>;

    /// Receives what it broadcasts; dropping the stream disconnects.
    async fn connect(&self, caller: Caller) -> Result<Events, NetworkError>;
}
