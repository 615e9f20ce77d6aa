//! What an agent owes its coordinator and when it must fence itself. Pure.
//!
//! The lease is renewed by every answered call, counted from the moment at
//! which the call was sent: the coordinator cannot have counted from earlier.
//! Two thirds of it after the last renewal the agent stops serving, before the
//! coordinator may start its containers elsewhere. From then on its containers
//! are in doubt, until a coordinator confirms them. One that was just started
//! cannot: the agent with the newer activation may come back after this one.
//! It says when it can, and the agent registers again, as it does for those
//! containers that nobody named yet.

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
    /// The lease ended since the containers were last confirmed.
    doubtful: bool,
    /// When a coordinator will know whose the containers are.
    settled_at: Option<Instant>,
    ended: Vec<(ContainerId, Epoch)>,
}

/// What to ask the coordinator now.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Introduce the agent and what it runs.
    Register {
        /// What it runs may live elsewhere.
        doubtful: bool,
    },
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
    pub fn ask(&mut self, now: Instant) -> Option<Ask> {
        let settled = self.settled_at.is_some_and(|at| at <= now);
        if self.asking || !self.joined || !(self.beat || self.register || settled) {
            return None;
        }
        self.asking = true;
        self.beat = false;
        if self.register || !self.registered || settled {
            self.register = false;
            self.settled_at = None;
            self.doubtful |= self.is_over(now) && !mutant(Mutant::Undoubting);
            // The registration tells what still runs.
            self.ended.clear();
            return Some(Ask::Register { doubtful: self.doubtful });
        }
        let count = self.ended.len().min(REPORTED);
        self.beat = self.ended.len() > count;
        Some(Ask::Report(self.ended.drain(..count).collect()))
    }

    /// A registration, sent at `sent`, was accepted. `doubt` is how long the
    /// coordinator needs to know whose the containers are; zero when it knows.
    pub fn registered(&mut self, now: Instant, sent: Instant, lease: Duration, doubt: Duration) {
        self.asking = false;
        self.registered = true;
        self.lease = Some((sent, lease));
        self.doubtful &= !doubt.is_zero();
        self.settled_at = (!doubt.is_zero()).then(|| now + doubt);
    }

    /// Whether the containers that the agent brought may live elsewhere.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// When [`Membership::ask`] wants to be called though nothing happened.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.settled_at.filter(|_| self.joined && !self.asking)
    }

    /// A report, sent at `sent`, was accepted. It renews no lease that is over
    /// by `now`: whoever answers may have given the containers away meanwhile,
    /// and only a registration tells which.
    pub fn reported(&mut self, now: Instant, sent: Instant) {
        self.asking = false;
        if self.is_over(now) {
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

    fn is_over(&self, now: Instant) -> bool {
        self.serves_until().is_some_and(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{Kind, Uuid};

    use super::*;

    const LEASE: Duration = Duration::from_secs(3);
    const REGISTER: Ask = Ask::Register { doubtful: false };

    fn id() -> ContainerId {
        ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() }
    }

    fn member(now: Instant) -> Membership {
        let mut membership = Membership::default();
        membership.joined(false);
        assert_eq!(membership.ask(Instant::now()), Some(REGISTER));
        membership.registered(now, now, LEASE, Duration::ZERO);
        membership
    }

    #[test]
    fn nothing_is_asked_without_a_connection_or_twice_at_a_time() {
        let mut membership = Membership::default();
        membership.beat();
        assert_eq!(membership.ask(Instant::now()), None);
        membership.joined(false);
        assert_eq!(membership.ask(Instant::now()), Some(REGISTER));
        membership.beat();
        assert_eq!(membership.ask(Instant::now()), None);
    }

    #[test]
    fn the_agent_fences_itself_at_two_thirds_of_the_lease() {
        let now = Instant::now();
        let mut membership = member(now);
        assert_eq!(membership.serves_until(), Some(now + Duration::from_secs(2)));
        membership.beat();
        assert_eq!(membership.ask(Instant::now()), Some(Ask::Report(vec![])));
        membership.reported(now, now + Duration::from_secs(1));
        assert_eq!(membership.serves_until(), Some(now + Duration::from_secs(3)));
    }

    #[test]
    fn a_report_answered_after_the_lease_renews_nothing_and_leads_to_a_registration() {
        let now = Instant::now();
        let mut membership = member(now);
        membership.beat();
        assert_eq!(membership.ask(Instant::now()), Some(Ask::Report(vec![])));
        membership.reported(now + LEASE, now + Duration::from_secs(1));
        assert_eq!(membership.serves_until(), Some(now + Duration::from_secs(2)));
        assert_eq!(membership.ask(now + LEASE), Some(Ask::Register { doubtful: true }));
    }

    #[test]
    fn a_failed_call_renews_nothing_and_leads_to_a_registration() {
        let now = Instant::now();
        let mut membership = member(now);
        membership.ended(id(), Epoch::default());
        assert_eq!(
            membership.ask(Instant::now()),
            Some(Ask::Report(vec![(id(), Epoch::default())]))
        );
        membership.failed();
        assert_eq!(membership.serves_until(), Some(now + Duration::from_secs(2)));
        membership.beat();
        assert_eq!(membership.ask(Instant::now()), Some(REGISTER));
    }

    #[test]
    fn a_coordinator_that_forgot_the_agent_is_told_everything_again() {
        let mut membership = member(Instant::now());
        membership.lost();
        membership.joined(true);
        assert_eq!(membership.ask(Instant::now()), Some(Ask::Report(vec![])));
        membership.reported(Instant::now(), Instant::now());
        membership.lost();
        membership.joined(false);
        assert_eq!(membership.ask(Instant::now()), Some(REGISTER));
    }

    #[test]
    fn changed_kinds_are_registered_at_once() {
        let mut membership = member(Instant::now());
        assert_eq!(membership.ask(Instant::now()), None);
        membership.changed();
        assert_eq!(membership.ask(Instant::now()), Some(REGISTER));
    }

    #[test]
    fn containers_of_an_agent_whose_lease_ended_are_in_doubt_until_they_are_confirmed() {
        let now = Instant::now();
        let mut membership = member(now);
        let doubt = Duration::from_secs(1);
        membership.lost();
        membership.joined(false);
        let mut sent = now + LEASE;
        assert_eq!(membership.ask(sent), Some(Ask::Register { doubtful: true }));
        membership.registered(sent, sent, LEASE, doubt);
        assert!(membership.is_doubtful());
        assert_eq!(membership.next_timeout(), Some(sent + doubt));
        // Another coordinator: its word is awaited, too.
        membership.lost();
        assert_eq!(membership.next_timeout(), None);
        membership.joined(false);
        assert_eq!(membership.ask(sent), Some(Ask::Register { doubtful: true }));
        membership.registered(sent, sent, LEASE, doubt);
        assert_eq!(membership.ask(sent), None);
        sent += doubt;
        assert_eq!(membership.ask(sent), Some(Ask::Register { doubtful: true }));
        membership.registered(sent, sent, LEASE, Duration::ZERO);
        assert!(!membership.is_doubtful());
        assert_eq!(membership.next_timeout(), None);
    }

    #[test]
    fn an_agent_that_was_never_fenced_has_nothing_in_doubt() {
        let now = Instant::now();
        let mut membership = member(now);
        membership.lost();
        membership.joined(false);
        assert_eq!(membership.ask(now), Some(REGISTER));
        // About some of its containers the coordinator does not know yet.
        let doubt = Duration::from_secs(1);
        membership.registered(now, now, LEASE, doubt);
        assert!(!membership.is_doubtful());
        assert_eq!(membership.next_timeout(), Some(now + doubt));
        assert_eq!(membership.ask(now), None);
        assert_eq!(membership.ask(now + doubt), Some(REGISTER));
        membership.registered(now + doubt, now + doubt, LEASE, Duration::ZERO);
        assert_eq!(membership.next_timeout(), None);
    }
}
