//! Who this container is.

use crate::{ContainerId, Epoch, Labels};

/// What the host knows of this activation. It does not change while the
/// container lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its identity.
    pub id: ContainerId,
    /// This activation.
    pub epoch: Epoch,
    /// The agent that runs it.
    pub agent: String,
    /// The labels it was started with. With `account` it acts for that
    /// account; with `workspace` it may commit to that workspace's documents.
    pub labels: Labels,
}

/// This container.
#[must_use]
pub fn identity() -> Identity {
    crate::host::identity()
}
