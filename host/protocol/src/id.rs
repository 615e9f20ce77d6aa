//! Validated names.
//!
//! Every id is a string that was checked once, where it entered: not empty,
//! bounded, without control characters. Decoding checks too, so an id from a
//! hostile frame cannot be malformed.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use crate::limits;

/// Why a text cannot be an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("{what} is empty; give it at least one character")]
    Empty {
        /// Which kind of id.
        what: &'static str,
    },
    /// The text is longer than allowed.
    #[error("{what} is {length} bytes long; at most {limit} are allowed")]
    TooLong {
        /// Which kind of id.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The text contains a character that is not allowed.
    #[error("{what} contains {character:?}, which is not allowed")]
    Character {
        /// Which kind of id.
        what: &'static str,
        /// The offending character.
        character: char,
    },
}

fn check(what: &'static str, text: &str, limit: usize) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > limit {
        return Err(IdError::TooLong { what, length: text.len(), limit });
    }
    match text.chars().find(|c| c.is_control()) {
        Some(character) => Err(IdError::Character { what, character }),
        None => Ok(()),
    }
}

/// Reads an id out of a text, without a copy of it in between.
struct Checked<T>(fn(&str) -> Result<T, IdError>);

impl<T> Visitor<'_> for Checked<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $limit:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Checked(|text| Self::new(text)))
            }
        }

        impl $name {
            /// Checks the text and makes the id.
            ///
            /// # Errors
            /// [`IdError`] when the text is empty, too long, or contains a
            /// control character.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                check($what, text, $limit)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.as_str())
            }
        }
    };
}

macro_rules! random {
    ($name:ident) => {
        impl $name {
            /// A new id that no one else has (a random UUID, version 4).
            #[must_use]
            pub fn random() -> Self {
                let mut buffer = uuid::Uuid::encode_buffer();
                Self(Arc::from(&*uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer)))
            }
        }
    };
}

id!(
    /// What a container is an instance of: the stem of a plugin's file name.
    Kind, "the kind", limits::KIND_BYTES
);
id!(
    /// The name of a container, unique in the whole network. Any text: Huly
    /// writes `transactor:ws1`, the coordinator makes random UUIDs.
    Uuid, "the container's uuid", limits::ID_BYTES
);
id!(
    /// Names an agent for as long as its process lives.
    AgentId, "the agent's id", limits::ID_BYTES
);
id!(
    /// Names a client across its connections and reconnects.
    ClientId, "the client's id", limits::ID_BYTES
);
id!(
    /// Names one run of a server; a new run has a new id, which is how peers
    /// notice that they must introduce themselves again.
    ServerId, "the server's id", limits::ID_BYTES
);
id!(
    /// Names one connection between a client and a container.
    ConnectionId, "the connection's id", limits::ID_BYTES
);
id!(
    /// In whose name a request is made; the documents capability decides by it
    /// which workspaces may be read.
    AccountId, "the account's name", limits::NAME_BYTES
);
id!(
    /// A set of documents and its members: the unit of tenancy.
    WorkspaceId, "the workspace's name", limits::NAME_BYTES
);
random!(Uuid);
random!(AgentId);
random!(ClientId);
random!(ServerId);
random!(ConnectionId);

/// The identity of a container: at most one activation of it is live.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerId {
    /// What it is an instance of.
    pub kind: Kind,
    /// Its name in the network.
    pub uuid: Uuid,
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_never_empty_too_long_or_unprintable() {
        assert_eq!(Kind::new(""), Err(IdError::Empty { what: "the kind" }));
        assert!(matches!(Kind::new("x".repeat(129)), Err(IdError::TooLong { length: 129, .. })));
        assert!(matches!(Uuid::new("a\nb"), Err(IdError::Character { character: '\n', .. })));
        assert!(matches!(WorkspaceId::new("x".repeat(129)), Err(IdError::TooLong { .. })));
        assert_eq!(Uuid::new("transactor:ws1").unwrap().as_str(), "transactor:ws1");
    }

    #[test]
    fn decoding_checks_like_making() {
        let bytes = postcard::to_allocvec("").unwrap();
        assert!(postcard::from_bytes::<Kind>(&bytes).is_err());
    }
}
