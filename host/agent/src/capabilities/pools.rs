//! What containers share: the memory of the agent, and the memory and the
//! places that each tenant has on it.
//!
//! For the agent the first [`UNCOUNTED`] bytes of each container do not count:
//! a container begins with more than a mebibyte, of which it touches a
//! thirtieth as long as it is idle, and ten thousand idle ones should fit. What
//! they really take is bounded by what the process holds. A tenant's limit is
//! what its operator wrote, so there every byte counts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use hulynet_agent_kinds::Total;
use hulynet_protocol::{ErrorKind, LimitRecord, LimitUnit, NetworkError};
use hulynet_settings::units::show_bytes;

use super::resident::Resident;

/// Bytes of each container that the agent does not count.
pub(crate) const UNCOUNTED: usize = 2 * 1024 * 1024;

/// Tenants without containers that are remembered at least.
const FORGET: usize = 64;

/// What several containers share.
#[derive(Debug)]
struct Pool {
    whose: String,
    memory: Counter,
    /// Bytes of each container that do not count.
    uncounted: usize,
    containers: Counter,
}

#[derive(Debug)]
struct Counter {
    used: AtomicUsize,
    limit: Option<usize>,
}

impl Counter {
    fn new(limit: Option<usize>) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    fn take(&self, many: usize) -> bool {
        let limit = self.limit.unwrap_or(usize::MAX);
        let more = |used: usize| used.checked_add(many).filter(|used| *used <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, many: usize) {
        self.used.fetch_sub(many, Ordering::Relaxed);
    }

    fn record(&self, name: &str, unit: LimitUnit) -> Option<LimitRecord> {
        let used = Some(self.used.load(Ordering::Relaxed) as u64);
        self.limit.map(|limit| LimitRecord {
            name: name.to_owned(),
            allowed: limit as u64,
            used,
            unit,
        })
    }
}

impl Pool {
    fn new(whose: String, total: Total, uncounted: usize) -> Self {
        let (memory, containers) = (Counter::new(total.memory), Counter::new(total.containers));
        Self { whose, memory, uncounted, containers }
    }

    /// How much more counts when a container has `after` bytes instead of
    /// `before`.
    fn counted(&self, before: usize, after: usize) -> usize {
        after.saturating_sub(self.uncounted) - before.saturating_sub(self.uncounted)
    }
}

/// The pools of an agent and of those tenants that have containers on it.
#[derive(Debug)]
pub(crate) struct Pools {
    agent: Arc<Pool>,
    resident: Arc<Resident>,
    tenants: Mutex<Tenants>,
}

#[derive(Debug, Default)]
struct Tenants {
    pools: BTreeMap<String, Weak<Pool>>,
    /// When there are so many, those without containers are looked for.
    sweep_at: usize,
}

impl Tenants {
    /// Forgets tenants without containers, often enough that at most about
    /// half of the list is such, and seldom enough to cost nothing.
    fn sweep(&mut self) {
        if self.pools.len() >= self.sweep_at {
            self.pools.retain(|_, pool| pool.strong_count() > 0);
            self.sweep_at = (self.pools.len() * 2).max(FORGET);
        }
    }

    fn pool(&mut self, name: &str, total: Total) -> Arc<Pool> {
        self.sweep();
        if let Some(known) = self.pools.get(name).and_then(Weak::upgrade) {
            return known;
        }
        let pool = Arc::new(Pool::new(format!("the tenant {name:?}"), total, 0));
        self.pools.insert(name.to_owned(), Arc::downgrade(&pool));
        pool
    }
}

impl Pools {
    /// `memory` bytes for all containers, and for the process, which holds what
    /// `resident` tells.
    pub(crate) fn new(memory: usize, resident: fn() -> Option<usize>) -> Self {
        let total = Total { memory: Some(memory), containers: None };
        let agent = Pool::new("all containers of the agent".to_owned(), total, UNCOUNTED);
        let resident = Resident::new(memory, resident, Instant::now());
        Self { agent: Arc::new(agent), resident: Arc::new(resident), tenants: Mutex::default() }
    }

    /// A share for one container, of the tenant that it works for.
    ///
    /// # Errors
    /// `Busy` while the process holds too much memory. `Unavailable` when the
    /// tenant has as many containers as it may: for others the agent is not busy.
    pub(crate) fn share(&self, tenant: Option<(&str, Total)>) -> Result<Share, NetworkError> {
        self.resident.check(Instant::now()).map_err(|why| {
            tracing::warn!("no container is started: {why}");
            NetworkError::not_processed(ErrorKind::Busy, format!("the agent is full: {why}"))
        })?;
        let tenant = tenant.map(|(name, total)| {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants.pool(name, total)
        });
        if let Some(pool) = &tenant
            && !pool.containers.take(1)
        {
            return Err(NetworkError::not_processed(
                ErrorKind::Unavailable,
                format!(
                    "{} has {} containers on this agent, as many as it may; end some, or raise its \
                     total in the agent's grants and start the agent again",
                    pool.whose,
                    pool.containers.limit.unwrap_or_default()
                ),
            ));
        }
        let (agent, resident) = (self.agent.clone(), self.resident.clone());
        Ok(Share(Arc::new(Taken { agent, resident, tenant })))
    }
}

/// Whose limit of memory was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The container's own.
    Container,
    /// That of all containers of its tenant.
    Tenant,
    /// That of all containers, or of the process.
    Agent,
}

/// More memory was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) whose: Whose,
    /// Which limit it was.
    pub(crate) why: String,
}

/// The share of one container. Clones are the same share.
#[derive(Clone, Debug)]
pub(crate) struct Share(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    agent: Arc<Pool>,
    resident: Arc<Resident>,
    tenant: Option<Arc<Pool>>,
}

impl Share {
    fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.0.tenant.iter().chain([&self.0.agent]).map(|pool| &**pool)
    }

    /// The container has `after` bytes instead of `before`, which are fewer.
    ///
    /// # Errors
    /// Whose limit does not allow it; nothing was taken.
    pub(super) fn grow(&self, before: usize, after: usize) -> Result<(), Refusal> {
        let holds = self.0.resident.check(Instant::now());
        holds.map_err(|why| Refusal { whose: Whose::Agent, why })?;
        for (index, pool) in self.pools().enumerate() {
            if !pool.memory.take(pool.counted(before, after)) {
                let taken = self.pools().take(index);
                taken.for_each(|pool| pool.memory.give_back(pool.counted(before, after)));
                let limit = show_bytes(pool.memory.limit.unwrap_or(usize::MAX) as u64);
                let whose =
                    if index < self.0.tenant.iter().len() { Whose::Tenant } else { Whose::Agent };
                let why = format!("{} may have {limit} together", pool.whose);
                return Err(Refusal { whose, why });
            }
        }
        Ok(())
    }

    /// The container has nothing any more of its `bytes`.
    pub(super) fn free(&self, bytes: usize) {
        self.pools().for_each(|pool| pool.memory.give_back(pool.counted(0, bytes)));
    }

    /// The limits of all who share, for operators.
    pub(crate) fn records(&self) -> Vec<LimitRecord> {
        let tenant = self.0.tenant.as_ref();
        let records = [
            tenant.and_then(|pool| pool.memory.record("tenant-memory", LimitUnit::Bytes)),
            tenant.and_then(|pool| pool.containers.record("tenant-containers", LimitUnit::Count)),
            self.0.agent.memory.record("agent-memory", LimitUnit::Bytes),
            self.0.resident.record(Instant::now()),
        ];
        records.into_iter().flatten().collect()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.tenant.iter().for_each(|pool| pool.containers.give_back(1));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hulynet_protocol::Retry;

    use super::*;

    fn total(memory: usize, containers: usize) -> Total {
        Total { memory: Some(memory), containers: Some(containers) }
    }

    #[test]
    fn a_tenant_and_an_agent_have_limits_of_their_own() {
        let pools = Pools::new(100, || None);
        let (a, b) =
            (pools.share(Some(("t", total(50, 9)))), pools.share(Some(("t", total(50, 9)))));
        let (a, b, other) = (a.unwrap(), b.unwrap(), pools.share(None).unwrap());
        a.grow(0, 30).unwrap();
        let refused = b.grow(0, 30).unwrap_err();
        assert_eq!(refused.why, "the tenant \"t\" may have 50B together");
        assert_eq!(refused.whose, Whose::Tenant);
        b.grow(0, 20).unwrap();
        other.grow(0, UNCOUNTED + 100).unwrap();
        let refused = other.grow(UNCOUNTED + 100, UNCOUNTED + 101).unwrap_err();
        assert_eq!(refused.why, "all containers of the agent may have 100B together");
        assert_eq!(refused.whose, Whose::Agent);
        a.free(30);
        b.grow(20, 50).unwrap();
        other.free(UNCOUNTED + 100);
        let used: Vec<_> =
            b.records().into_iter().map(|record| (record.name, record.used)).collect();
        let expected = [("tenant-memory", 50), ("tenant-containers", 2), ("agent-memory", 0)];
        assert_eq!(used, expected.map(|(name, used)| (name.to_owned(), Some(used))));
    }

    #[test]
    fn what_the_agent_refuses_was_not_taken_from_the_tenant() {
        let pools = Pools::new(100, || None);
        let share = pools.share(Some(("t", total(10 * UNCOUNTED, 1)))).unwrap();
        share.grow(0, UNCOUNTED + 101).unwrap_err();
        assert_eq!(share.records()[0].used, Some(0));
    }

    #[test]
    fn a_tenant_has_as_many_containers_as_it_may_and_another_when_one_is_gone() {
        let pools = Pools::new(100, || None);
        let first = pools.share(Some(("t", total(100, 1)))).unwrap();
        let error = pools.share(Some(("t", total(100, 1)))).unwrap_err();
        assert!(error.message.starts_with("the tenant \"t\" has 1 containers on this agent"));
        pools.share(Some(("another", total(100, 1)))).unwrap();
        drop(first);
        pools.share(Some(("t", total(100, 1)))).unwrap();
    }

    #[test]
    fn a_process_that_holds_too_much_starts_none_and_lets_none_grow() {
        static HELD: AtomicUsize = AtomicUsize::new(100);
        let pools = Pools::new(100, || Some(HELD.load(Ordering::Relaxed)));
        let share = pools.share(None).unwrap();
        share.grow(0, 1).unwrap();
        HELD.store(101, Ordering::Relaxed);
        let (begun, mut grown) = (Instant::now(), Ok(()));
        while grown.is_ok() && begun.elapsed() < Duration::from_secs(10) {
            grown = share.grow(1, 1);
        }
        let refused = grown.unwrap_err();
        assert_eq!(refused.whose, Whose::Agent);
        assert!(refused.why.starts_with("the agent's process holds 101B"), "{}", refused.why);
        let error = pools.share(None).unwrap_err();
        assert_eq!((error.kind, error.retry), (ErrorKind::Busy, Retry::NotProcessed));
        assert!(error.message.starts_with("the agent is full: the agent's process"), "{error}");
    }

    #[test]
    fn tenants_without_containers_are_forgotten() {
        let pools = Pools::new(100, || None);
        for tenant in 0..1_000 {
            drop(pools.share(Some((&tenant.to_string(), total(1, 1)))));
        }
        assert!(pools.tenants.lock().unwrap().pools.len() <= FORGET);
    }
}
