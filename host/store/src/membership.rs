//! Who may do what in a workspace.

use hulynet_protocol::WorkspaceId;
use serde::{Deserialize, Serialize};

/// What an account may do in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May do everything, and may add members.
    Owner,
    /// May read and write documents.
    Member,
}

/// A workspace that an account belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// What the account may do there.
    pub role: Role,
}
