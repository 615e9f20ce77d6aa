//! Names of this world. All are well formed.
#![expect(clippy::unwrap_used, reason = "every caller passes letters, digits and dashes")]

use hulynet_protocol::{AgentId, ClientId, ConnectionId, ContainerId, Kind, Selector, Uuid};

use crate::plan::UUIDS;

pub(crate) fn kind(name: &str) -> Kind {
    Kind::new(name).unwrap()
}

pub(crate) fn uuid(name: &str) -> Uuid {
    Uuid::new(name).unwrap()
}

pub(crate) fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

/// The name of a process: those of one peer differ.
pub(crate) fn peer(index: usize, life: u64) -> ClientId {
    ClientId::new(format!("p{index}-{life}")).unwrap()
}

/// The name of a coordinator, under which agents know what it proxies.
pub(crate) fn coordinator(server: u64) -> ClientId {
    ClientId::new(format!("server{server}")).unwrap()
}

/// A client's connection to a container.
pub(crate) fn connection(number: u64) -> ConnectionId {
    ConnectionId::new(format!("n{number}")).unwrap()
}

/// Who asks the registry for the checks.
pub(crate) fn probe() -> ClientId {
    ClientId::new("probe").unwrap()
}

pub(crate) fn container(number: u64) -> ContainerId {
    let name = if number.is_multiple_of(2) { "alpha" } else { "beta" };
    ContainerId { kind: kind(name), uuid: uuid(&format!("c{}", number % UUIDS)) }
}

/// What every agent offers in some runs.
pub(crate) fn singleton() -> ContainerId {
    ContainerId { kind: kind("alpha"), uuid: uuid("singleton") }
}

/// Containers with this label that are not marked.
pub(crate) fn labelled(label: u64) -> Selector {
    format!("l in ({label}),!spot").parse().unwrap()
}
