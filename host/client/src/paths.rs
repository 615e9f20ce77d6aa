//! Whether a container is reached directly or through the coordinator. Pure.
//!
//! A new address gets a little patience to answer hello. One that did not
//! answer in time or was lost is used again as soon as it answers; until then
//! everything goes through the coordinator, so that an agent behind a wall
//! costs one pause and not one for each request.

use std::{collections::BTreeMap, time::Instant};

use hulynet_protocol::Endpoint;

/// How a call travels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Through the coordinator.
    Proxied,
    /// Straight to the agent at this address.
    Direct(String),
}

/// What a caller has to do to have a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Take it.
    Take(Path),
    /// Open a connection to the address, then ask again.
    Open(String),
    /// Ask again when the address changed its state, or then.
    Wait(String, Instant),
}

#[derive(Clone, Copy, Debug)]
enum Reach {
    /// Opened; requests wait until then.
    Opening { until: Instant },
    /// Hello was answered.
    Joined,
    /// It does not answer.
    Lost,
}

/// What is known about the addresses of agents.
#[derive(Debug)]
pub struct Paths {
    direct: bool,
    addresses: BTreeMap<String, Reach>,
}

impl Paths {
    /// With `direct` false everything goes through the coordinator.
    #[must_use]
    pub fn new(direct: bool) -> Self {
        Self { direct, addresses: BTreeMap::new() }
    }

    /// How to reach an endpoint now.
    #[must_use]
    pub fn choose(&self, now: Instant, endpoint: &Endpoint) -> Choice {
        let Some(address) = endpoint.address.as_ref().filter(|_| self.direct) else {
            return Choice::Take(Path::Proxied);
        };
        match self.addresses.get(address) {
            None => Choice::Open(address.clone()),
            Some(Reach::Joined) => Choice::Take(Path::Direct(address.clone())),
            Some(Reach::Opening { until }) if *until > now => Choice::Wait(address.clone(), *until),
            Some(Reach::Opening { .. } | Reach::Lost) => Choice::Take(Path::Proxied),
        }
    }

    /// The address of an endpoint that is reached directly now.
    #[must_use]
    pub fn joined_at<'endpoint>(&self, endpoint: &'endpoint Endpoint) -> Option<&'endpoint str> {
        let address = endpoint.address.as_ref().filter(|_| self.direct)?;
        matches!(self.addresses.get(address), Some(Reach::Joined)).then_some(address)
    }

    /// A connection to the address is being made; requests wait for its first
    /// hello until then.
    pub fn opened(&mut self, address: &str, until: Instant) {
        self.addresses.insert(address.to_owned(), Reach::Opening { until });
    }

    /// The address answered hello.
    pub fn joined(&mut self, address: &str) {
        self.set(address, Reach::Joined);
    }

    /// The address does not answer any more.
    pub fn lost(&mut self, address: &str) {
        self.set(address, Reach::Lost);
    }

    /// The connection to the address was given up.
    pub fn closed(&mut self, address: &str) {
        self.addresses.remove(address);
    }

    fn set(&mut self, address: &str, reach: Reach) {
        if let Some(known) = self.addresses.get_mut(address) {
            *known = reach;
        }
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::AgentId;

    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint { agent: AgentId::new("a").unwrap(), address: Some("host:1".into()) }
    }

    fn direct() -> Choice {
        Choice::Take(Path::Direct("host:1".into()))
    }

    const SOON: std::time::Duration = std::time::Duration::from_millis(500);

    #[test]
    fn an_agent_that_answers_is_reached_directly() {
        let now = Instant::now();
        let mut paths = Paths::new(true);
        assert_eq!(paths.choose(now, &endpoint()), Choice::Open("host:1".into()));
        paths.opened("host:1", now + SOON);
        assert_eq!(paths.choose(now, &endpoint()), Choice::Wait("host:1".into(), now + SOON));
        assert_eq!(paths.joined_at(&endpoint()), None);
        paths.joined("host:1");
        assert_eq!(paths.choose(now, &endpoint()), direct());
        assert_eq!(paths.joined_at(&endpoint()), Some("host:1"));
    }

    #[test]
    fn an_agent_that_does_not_answer_in_time_is_reached_through_the_coordinator() {
        let now = Instant::now();
        let mut paths = Paths::new(true);
        paths.opened("host:1", now + SOON);
        assert_eq!(paths.choose(now + SOON, &endpoint()), Choice::Take(Path::Proxied));
        paths.joined("host:1");
        assert_eq!(paths.choose(now + SOON, &endpoint()), direct());
    }

    #[test]
    fn a_lost_agent_is_reached_through_the_coordinator_until_it_answers_again() {
        let now = Instant::now();
        let mut paths = Paths::new(true);
        paths.opened("host:1", now + SOON);
        paths.joined("host:1");
        paths.lost("host:1");
        assert_eq!(paths.choose(now, &endpoint()), Choice::Take(Path::Proxied));
        paths.joined("host:1");
        assert_eq!(paths.choose(now, &endpoint()), direct());
    }

    #[test]
    fn an_agent_without_an_address_and_a_client_without_direct_paths_are_proxied() {
        let now = Instant::now();
        let hidden = Endpoint { address: None, ..endpoint() };
        assert_eq!(Paths::new(true).choose(now, &hidden), Choice::Take(Path::Proxied));
        assert_eq!(Paths::new(false).choose(now, &endpoint()), Choice::Take(Path::Proxied));
    }

    #[test]
    fn news_about_a_closed_address_are_forgotten() {
        let now = Instant::now();
        let mut paths = Paths::new(true);
        paths.opened("host:1", now + SOON);
        paths.closed("host:1");
        paths.joined("host:1");
        assert_eq!(paths.choose(now, &endpoint()), Choice::Open("host:1".into()));
    }
}
