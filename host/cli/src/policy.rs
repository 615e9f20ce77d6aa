//! Settings of the network's rules: how containers are placed, how many an
//! agent takes, which are singletons.

use hulynet_coordinator::registry::Placement;
use hulynet_protocol::ContainerId;

use crate::{
    target::Exact,
    units::{Toml, Typed, Unreadable},
};

/// How an agent is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlacementPolicy(pub(crate) Placement);

impl Typed for PlacementPolicy {
    const TAKES: &'static str = "round-robin or least-loaded";

    fn read(text: &str) -> Result<Self, Unreadable> {
        match text {
            "round-robin" => Ok(Self(Placement::RoundRobin)),
            "least-loaded" => Ok(Self(Placement::LeastLoaded)),
            _ => Err(Unreadable::default()),
        }
    }

    fn show(&self) -> String {
        match self.0 {
            Placement::RoundRobin => "round-robin",
            Placement::LeastLoaded => "least-loaded",
        }
        .to_owned()
    }
}

/// How many, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u32);

impl Typed for Count {
    const TAKES: &'static str = "a number, at least 1";

    fn read(text: &str) -> Result<Self, Unreadable> {
        match text.parse() {
            Ok(count @ 1..) => Ok(Self(count)),
            _ => Err(Unreadable::default()),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// The containers that an agent offers as singletons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Singletons(pub(crate) Vec<ContainerId>);

impl Typed for Singletons {
    const TAKES: &'static str = "containers such as indexer/main, several separated by commas";
    const TOML: Toml = Toml::List;

    fn read(text: &str) -> Result<Self, Unreadable> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let exact = parts.map(|part| part.parse::<Exact>().map(|exact| exact.0));
        exact.collect::<Result<_, _>>().map(Self).map_err(|cause| Unreadable(Some(cause)))
    }

    fn show(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_shown_as_they_are_written() {
        for text in ["round-robin", "least-loaded"] {
            assert_eq!(PlacementPolicy::read(text).unwrap().show(), text);
        }
        assert!(PlacementPolicy::read("random").is_err());
        assert_eq!(Count::read("16").unwrap().show(), "16");
        for none in ["0", "-1", "1.5", ""] {
            assert!(Count::read(none).is_err(), "{none:?}");
        }
        assert_eq!(Singletons::read("a/1, b/2").unwrap().show(), "a/1,b/2");
        assert_eq!(Singletons::read("").unwrap(), Singletons::default());
        assert!(Singletons::read("a").unwrap_err().0.unwrap().contains("KIND/UUID"));
    }
}
