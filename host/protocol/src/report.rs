//! What an agent tells about its kinds, for operators.

use serde::{Deserialize, Serialize};

use crate::Kind;

/// One kind of one agent. Texts are as they stand in manifests and grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindReport {
    /// The kind.
    pub kind: Kind,
    /// Where it is in its life.
    pub state: KindState,
    /// Why it is refused, was rolled back or is quarantined.
    pub reason: Option<String>,
    /// SHA-256 of the code that new containers run, in hexadecimal digits. Where
    /// none are started because the files are refused, it and what follows tell
    /// of these, as far as they could be read, and `limits` are empty. Else
    /// `None`, and what follows empty, when none are started.
    pub hash: Option<String>,
    /// The version, as its manifest tells it.
    pub version: Option<String>,
    /// What it is for, as its manifest tells it.
    pub description: Option<String>,
    /// The trusted key that signed it.
    pub signer: Option<String>,
    /// What it asks for.
    pub asked: String,
    /// What it is granted.
    pub granted: String,
    /// Whether its containers take several requests at a time.
    pub concurrency: String,
    /// How its containers end.
    pub termination: String,
    /// How much one container may use, each limit by its key.
    pub limits: Vec<(String, String)>,
    /// Its live containers.
    pub containers: u64,
    /// Those of them that run the version that new ones run.
    pub newest: u64,
}

/// Where a kind is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KindState {
    /// New files are checked and compiled; what served before goes on.
    Loading,
    /// New containers get the newest version.
    Serving,
    /// The newest files are bad; what served before goes on.
    Refused,
    /// The newest version did not start; the one before serves again.
    RolledBack,
    /// Its containers crash one after the other: none is started for a while.
    Quarantined,
    /// Its file was removed: no new containers, the old ones go on.
    Draining,
}

impl KindState {
    /// The state as people and programs read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Serving => "serving",
            Self::Refused => "refused",
            Self::RolledBack => "rolled back",
            Self::Quarantined => "quarantined",
            Self::Draining => "draining",
        }
    }
}
