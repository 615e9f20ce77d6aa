//! What an agent owes its coordinator and when it must fence itself. Pure.
//!
//! The lease is renewed by every answered call, counted from the moment at
//! which the call was sent: the coordinator cannot have counted from earlier.
//! Two thirds of it after the last renewal the agent stops serving, before the
//! coordinator may start its containers elsewhere.

use std::time::{Duration, Instant};

use hulynet_mutants::{Mutant, mutant};
use hulynet_protocol::{ContainerId, Epoch};

/// Endings that one call reports.
const REPORTED: usize = 10_000;

/// An agent's standing with its coordinator.
#[derive(Debug, Default)]
pub struct Membership {
    joined: bool,
    registered: bool,
    /// The kinds changed, or the coordinator forgot the agent.
    register: bool,
    beat: bool,
    asking: bool,
    lease: Option<(Instant, Duration)>,
    ended: Vec<(ContainerId, Epoch)>,
}

/// What to ask the coordinator now.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Introduce the agent and what it runs.
    Register,
    /// Tell which containers ended, perhaps none: that renews the lease.
    Report(Vec<(ContainerId, Epoch)>),
}

impl Membership {
    /// There is a connection; `resumed` when the coordinator still knows us.
    pub fn joined(&mut self, resumed: bool) {
        self.joined = true;
        if !resumed {
            self.registered = false;
        }
        self.beat = true;
    }

    /// The connection is lost.
    pub fn lost(&mut self) {
        self.joined = false;
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.joined
    }

    /// The kinds changed, or the lease ended: the whole truth is to be told.
    pub fn changed(&mut self) {
        self.register = true;
    }

    /// A container ended.
    pub fn ended(&mut self, id: ContainerId, epoch: Epoch) {
        self.ended.push((id, epoch));
        self.beat = true;
    }

    /// It is time for a renewal.
    pub fn beat(&mut self) {
        self.beat = true;
    }

    /// The next call, one at a time; each is followed by
    /// [`Membership::registered`], [`Membership::reported`] or
    /// [`Membership::failed`].
    pub fn ask(&mut self) -> Option<Ask> {
        if self.asking || !self.joined || !(self.beat || self.register) {
            return None;
        }
        self.asking = true;
        self.beat = false;
        if self.register || !self.registered {
            self.register = false;
            // The registration tells what still runs.
            self.ended.clear();
            return Some(Ask::Register);
        }
        let count = self.ended.len().min(REPORTED);
        self.beat = self.ended.len() > count;
        Some(Ask::Report(self.ended.drain(..count).collect()))
    }

    /// A registration, sent at `sent`, was accepted.
    pub fn registered(&mut self, sent: Instant, lease: Duration) {
        self.asking = false;
        self.registered = true;
        self.lease = Some((sent, lease));
    }

    /// A report, sent at `sent`, was accepted. It renews no lease that is over
    /// by `now`: whoever answers may have given the containers away meanwhile,
    /// and only a registration tells which.
    pub fn reported(&mut self, now: Instant, sent: Instant) {
        self.asking = false;
        if self.serves_until().is_some_and(|until| until <= now) && !mutant(Mutant::LateRenewal) {
            self.registered = false;
            self.beat = true;
        } else if let Some((renewed, _)) = &mut self.lease {
            *renewed = sent;
        }
    }

    /// A call failed. The next beat registers anew, which tells everything
    /// that the call should have told.
    pub fn failed(&mut self) {
        self.asking = false;
        self.registered = false;
    }

    /// How long the agent may serve, unless the lease is renewed. `None` before
    /// the first registration: there is nothing to serve.
    #[must_use]
    pub fn serves_until(&self) -> Option<Instant> {
        self.lease.map(|(renewed, lease)| renewed + lease * 2 / 3)
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{Kind, Uuid};

    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    fn id() -> ContainerId {
        ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() }
    }

    fn member(now: Instant) -> Membership {
        let mut membership = Membership::default();
        membership.joined(false);
        assert_eq!(membership.ask(), Some(Ask::Register));
        membership.registered(now, LEASE);
        membership
    }

    #[test]
    fn nothing_is_asked_without_a_connection_or_twice_at_a_time() {
        let mut membership = Membership::default();
        membership.beat();
        assert_eq!(membership.ask(), None);
        membership.joined(false);
        assert_eq!(membership.ask(), Some(Ask::Register));
        membership.beat();
        assert_eq!(membership.ask(), None);
    }

    #[test]
    fn the_agent_fences_itself_at_two_thirds_of_the_lease() {
        let now = Instant::now();
        let mut membership = member(now);
        assert_eq!(membership.serves_until(), Some(now + Duration::from_secs(2)));
        membership.beat();
        assert_eq!(membership.ask(), Some(Ask::Report(vec![])));
        membership.reported(now, now + Duration::from_secs(1));
        assert_eq!(membership.serves_until(), Some(now + Duration::from_secs(3)));
    }

    #[test]
    fn a_report_answered_after_the_lease_renews_nothing_and_leads_to_a_registration() {
        let now = Instant::now();
        let mut membership = member(now);
        membership.beat();
        assert_eq!(membership.ask(), Some(Ask::Report(vec![])));
        membership.reported(now + LEASE, now + Duration::from_secs(1));
        assert_eq!(membership.serves_until(), Some(now + Duration::from_secs(2)));
        assert_eq!(membership.ask(), Some(Ask::Register));
    }

    #[test]
    fn a_failed_call_renews_nothing_and_leads_to_a_registration() {
        let now = Instant::now();
        let mut membership = member(now);
        membership.ended(id(), Epoch::default());
        assert_eq!(membership.ask(), Some(Ask::Report(vec![(id(), Epoch::default())])));
        membership.failed();
        assert_eq!(membership.serves_until(), Some(now + Duration::from_secs(2)));
        membership.beat();
        assert_eq!(membership.ask(), Some(Ask::Register));
    }

    #[test]
    fn a_coordinator_that_forgot_the_agent_is_told_everything_again() {
        let mut membership = member(Instant::now());
        membership.lost();
        membership.joined(true);
        assert_eq!(membership.ask(), Some(Ask::Report(vec![])));
        membership.reported(Instant::now(), Instant::now());
        membership.lost();
        membership.joined(false);
        assert_eq!(membership.ask(), Some(Ask::Register));
    }

    #[test]
    fn changed_kinds_are_registered_at_once() {
        let mut membership = member(Instant::now());
        assert_eq!(membership.ask(), None);
        membership.changed();
        assert_eq!(membership.ask(), Some(Ask::Register));
    }
}
