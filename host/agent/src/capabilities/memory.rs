//! The memory of one container, over all its memories and tables, which also
//! counts against that of its tenant and of the agent.
//!
//! A growth that any of the three does not allow fails in the container, which
//! then usually ends with a trap of its own. What was refused is remembered until
//! it got as much, so that whoever hears of the trap knows why.

use std::sync::Arc;

use hulynet_settings::units::show_bytes;
use wasmtime::ResourceLimiter;

use super::{Refusal, Share, Usage, Whose};

/// Bytes of one element of a table.
const ELEMENT: usize = size_of::<usize>();
/// Core instances of one container. A component of one module has three; those
/// of other languages are linked of more.
pub(crate) const INSTANCES: usize = 64;
/// Tables of one container.
pub(crate) const TABLES: usize = 64;
/// Elements of one table: to fill it takes one instruction, which gives way to
/// nobody.
pub(crate) const TABLE: usize = 100_000;
/// Memories of one container.
pub(crate) const MEMORIES: usize = 8;

/// Counts the bytes of one store.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    used: usize,
    limit: usize,
    share: Share,
    usage: Arc<Usage>,
    /// How much it would have had, and why not.
    refused: Option<(usize, Refusal)>,
}

impl MemoryLimit {
    /// At most `limit` bytes, and what its share has left.
    pub(crate) fn new(limit: usize, share: Share, usage: Arc<Usage>) -> Self {
        Self { used: 0, limit, share, usage, refused: None }
    }

    /// Why it has not got what it wanted last.
    pub(crate) fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref().map(|(_, why)| why)
    }

    fn take(&mut self, bytes: usize) -> bool {
        let used = self.used.saturating_add(bytes);
        let taken = if used > self.limit {
            let why = format!(
                "a container of its kind may have {}; raise the limit memory in the agent's \
                 grants and in its manifest, or the setting container-memory where neither says it, \
                 and start the agent again",
                show_bytes(self.limit as u64)
            );
            Err(Refusal { whose: Whose::Container, why })
        } else {
            self.share.grow(self.used, used)
        };
        match taken {
            Ok(()) => {
                self.used = used;
                self.refused.take_if(|(wanted, _)| *wanted <= used);
                self.usage.has_memory(used);
                true
            }
            Err(refused) => {
                self.refused = Some((used, refused));
                false
            }
        }
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        self.share.free(self.used);
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.take(desired.saturating_sub(current)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > maximum.unwrap_or(TABLE).min(TABLE) {
            return Ok(false);
        }
        Ok(self.take(desired.saturating_sub(current).saturating_mul(ELEMENT)))
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use hulynet_agent_kinds::ContainerLimits;
    use hulynet_protocol::{ContainerId, Kind, Uuid};

    use super::*;
    use crate::capabilities::{Pools, pools::UNCOUNTED};

    fn limit(bytes: usize, pools: &Pools) -> MemoryLimit {
        let id = ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() };
        let usage = Arc::new(Usage::new(id, &ContainerLimits::default()));
        MemoryLimit::new(bytes, pools.share(None).unwrap(), usage)
    }

    #[test]
    fn the_limit_counts_all_memories_and_tables_together() {
        let mut limit = limit(100, &Pools::new(100, || None));
        assert!(limit.memory_growing(0, 60, None).unwrap());
        assert!(!limit.memory_growing(0, 60, None).unwrap());
        assert!(limit.memory_growing(0, 20, None).unwrap());
        assert!(limit.table_growing(0, 2, None).unwrap());
        assert!(!limit.table_growing(2, 3, None).unwrap());
        assert_eq!(limit.usage.memory(), 96);
        let Refusal { whose, why: refused } = limit.refused().unwrap();
        assert_eq!(*whose, Whose::Container);
        assert!(refused.starts_with("a container of its kind may have 100B"), "{refused}");
    }

    #[test]
    fn a_refusal_explains_a_trap_until_it_got_as_much() {
        let pools = Pools::new(100, || None);
        let mut other = limit(UNCOUNTED + 100, &pools);
        assert!(other.memory_growing(0, UNCOUNTED + 60, None).unwrap());
        let mut limit = limit(2 * UNCOUNTED, &pools);
        assert!(!limit.memory_growing(0, UNCOUNTED + 50, None).unwrap());
        assert!(limit.memory_growing(0, UNCOUNTED + 40, None).unwrap());
        assert!(limit.refused().is_some(), "it may fail for want of the rest");
        drop(other);
        assert!(limit.memory_growing(UNCOUNTED + 40, UNCOUNTED + 50, None).unwrap());
        assert!(limit.refused().is_none());
    }

    #[test]
    fn what_a_container_had_is_free_when_it_is_gone() {
        let pools = Pools::new(100, || None);
        let mut first = limit(usize::MAX, &pools);
        assert!(first.memory_growing(0, UNCOUNTED + 100, None).unwrap());
        let mut second = limit(usize::MAX, &pools);
        assert!(!second.memory_growing(0, UNCOUNTED + 1, None).unwrap());
        let refused = second.refused().unwrap();
        assert_eq!(refused.why, "all containers of the agent may have 100B together");
        drop(first);
        assert!(second.memory_growing(0, UNCOUNTED + 100, None).unwrap());
    }
}
