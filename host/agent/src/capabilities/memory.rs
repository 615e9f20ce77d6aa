//! The memory limit of one container, over all its memories.

use wasmtime::ResourceLimiter;

/// Counts the bytes of all memories of one store. Growing beyond the limit
/// fails in the container, which then usually ends with a trap of its own.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    used: usize,
    limit: usize,
    refused: bool,
}

impl MemoryLimit {
    /// At most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: 0, limit, refused: false }
    }

    /// The limit in bytes, if the container wanted more.
    pub(crate) fn exceeded(&self) -> Option<usize> {
        self.refused.then_some(self.limit)
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.refused = true;
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The pool bounds the elements of every table.
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_all_memories_together() {
        let mut limit = MemoryLimit::new(100);
        assert!(limit.memory_growing(0, 60, None).unwrap());
        assert_eq!(limit.exceeded(), None);
        assert!(!limit.memory_growing(0, 60, None).unwrap());
        assert!(limit.memory_growing(0, 40, None).unwrap());
        assert!(!limit.memory_growing(40, 41, None).unwrap());
        assert_eq!(limit.exceeded(), Some(100));
    }
}
