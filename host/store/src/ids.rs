use std::fmt;

use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Bytes of the name of a workspace or an account.
const MAX_BYTES: usize = 128;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks a name: not empty, at most 128 bytes, no control
            /// characters.
            ///
            /// # Errors
            /// [`StoreError::InvalidName`].
            pub fn new(name: impl Into<String>) -> Result<Self, StoreError> {
                check(name.into(), $what).map(Self)
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = StoreError;

            fn try_from(name: String) -> Result<Self, StoreError> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}

name! {
    /// The name of a workspace, the unit of tenancy.
    WorkspaceId, "workspace"
}
name! {
    /// The name of an account, which belongs to workspaces.
    AccountId, "account"
}

fn check(name: String, what: &'static str) -> Result<String, StoreError> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_BYTES {
        "is longer than 128 bytes"
    } else if name.chars().any(char::is_control) {
        "has control characters"
    } else {
        return Ok(name);
    };
    let name = name.chars().take(40).collect();
    Err(StoreError::InvalidName { what, name, reason })
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_shown_or_stored_are_refused() {
        for name in ["", "a\nb", "a\0", &"x".repeat(129)] {
            assert!(matches!(WorkspaceId::new(name), Err(StoreError::InvalidName { .. })), "{name:?}");
        }
        assert!(serde_json::from_str::<AccountId>("\"\"").is_err());
        assert_eq!(AccountId::new("../../etc").unwrap().as_str(), "../../etc");
    }
}
