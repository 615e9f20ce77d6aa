//! What an agent can still take, as it reports it.

use serde::{Deserialize, Serialize};

/// How busy an agent is and whether it takes new containers. It travels with
/// every registration and every renewal of the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// How much of its capacity is in use, in millionths; over 1,000,000 when
    /// it is overloaded.
    pub used: u32,
    /// Whether it takes new containers.
    pub intake: Intake,
}

/// Whether an agent takes new containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Intake {
    /// It does.
    #[default]
    Open,
    /// It has no room until one of its containers ends.
    Full,
    /// It finishes its work: an operator wants it so, or it leaves.
    Draining,
}

impl Intake {
    /// The state as people and programs read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Full => "full",
            Self::Draining => "draining",
        }
    }
}
