//! Containers as they are named on the command line.

use std::str::FromStr;

use hulynet_protocol::{ContainerId, Kind, Uuid};

/// `KIND` or `KIND/UUID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    /// The kind.
    pub(crate) kind: Kind,
    /// Which container of it, or any.
    pub(crate) uuid: Option<Uuid>,
}

/// `KIND/UUID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exact(pub(crate) ContainerId);

/// `UUID` or `KIND/UUID`: a uuid is unique in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Of which kind it must be.
    pub(crate) kind: Option<Kind>,
    /// Its name.
    pub(crate) uuid: Uuid,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, uuid) = match text.split_once('/') {
            Some((kind, uuid)) => (Some(Kind::new(kind).map_err(|e| e.to_string())?), uuid),
            None => (None, text),
        };
        Ok(Self { kind, uuid: Uuid::new(uuid).map_err(|error| error.to_string())? })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, uuid) = match text.split_once('/') {
            Some((kind, uuid)) => (kind, Some(Uuid::new(uuid).map_err(|error| error.to_string())?)),
            None => (text, None),
        };
        Ok(Self { kind: Kind::new(kind).map_err(|error| error.to_string())?, uuid })
    }
}

impl FromStr for Exact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Selector { kind, uuid } = text.parse()?;
        let uuid = uuid.ok_or_else(|| format!("{text:?} names a kind but no container; write KIND/UUID, as 'hulynet list' shows them"))?;
        Ok(Self(ContainerId { kind, uuid }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slash_ends_the_kind() {
        let selector: Selector = "transactor/transactor:a/b".parse().unwrap();
        assert_eq!(selector.kind.as_str(), "transactor");
        assert_eq!(selector.uuid.unwrap().as_str(), "transactor:a/b");
        assert_eq!("echo".parse::<Selector>().unwrap().uuid, None);
    }

    #[test]
    fn neither_part_may_be_empty() {
        assert!("".parse::<Selector>().unwrap_err().contains("the kind"));
        assert!("/a".parse::<Selector>().unwrap_err().contains("the kind"));
        assert!("echo/".parse::<Selector>().unwrap_err().contains("uuid"));
    }

    #[test]
    fn a_uuid_names_a_container_with_or_without_its_kind() {
        assert_eq!("a".parse::<Named>().unwrap().kind, None);
        let named: Named = "echo/a".parse().unwrap();
        assert_eq!((named.kind.unwrap().as_str(), named.uuid.as_str()), ("echo", "a"));
        assert!("echo/".parse::<Named>().unwrap_err().contains("uuid"));
    }

    #[test]
    fn one_container_is_named_by_kind_and_uuid() {
        assert!("echo".parse::<Exact>().unwrap_err().contains("KIND/UUID"));
        assert_eq!("echo/a".parse::<Exact>().unwrap().0.to_string(), "echo/a");
    }
}
