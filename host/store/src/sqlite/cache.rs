use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::database::Database;
use super::files::Files;
use super::workspace;
use crate::{StoreError, WorkspaceId};

/// Workspaces that are kept open: each takes about seven file handles.
const OPEN: usize = 64;

/// The open workspaces, those used last; the others are closed as soon as
/// the calls on them have ended.
pub(super) struct Cache {
    files: Files,
    capacity: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    clock: u64,
    entries: HashMap<WorkspaceId, (u64, Arc<Database>)>,
}

impl Cache {
    pub(super) fn new(files: Files) -> Self {
        Self { files, capacity: OPEN, open: Mutex::default() }
    }

    /// Creates the file of a workspace unless it exists.
    pub(super) fn create(&self, id: &WorkspaceId) -> Result<(), StoreError> {
        self.keep(id, workspace::create(&self.files, id)?);
        Ok(())
    }

    /// The workspace, opened when it is not open. Blocks.
    pub(super) fn get(&self, id: &WorkspaceId) -> Result<Arc<Database>, StoreError> {
        if let Some(database) = self.held().touch(id) {
            return Ok(database);
        }
        // Opened without holding the lock; should two calls do so at once,
        // one of the two databases is kept and the other ends with its call.
        Ok(self.keep(id, workspace::open(&self.files, id)?))
    }

    fn keep(&self, id: &WorkspaceId, database: Database) -> Arc<Database> {
        let mut open = self.held();
        if let Some(database) = open.touch(id) {
            return database;
        }
        let mut evicted = None;
        if open.entries.len() >= self.capacity {
            let oldest = open.entries.iter().min_by_key(|(_, (used, _))| *used);
            let oldest = oldest.map(|(id, _)| id.clone());
            evicted = oldest.and_then(|id| open.entries.remove(&id));
        }
        let database = Arc::new(database);
        let used = open.tick();
        open.entries.insert(id.clone(), (used, database.clone()));
        // Closing a file may write its log back: not while others wait.
        drop(open);
        drop(evicted);
        database
    }

    fn held(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn touch(&mut self, id: &WorkspaceId) -> Option<Arc<Database>> {
        let now = self.tick();
        let (used, database) = self.entries.get_mut(id)?;
        *used = now;
        Some(database.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_used_longest_ago_is_closed_and_can_be_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache { capacity: 2, ..Cache::new(Files::prepare(directory.path()).unwrap()) };
        let [a, b, c] = ["a", "b", "c"].map(|name| WorkspaceId::new(name).unwrap());
        cache.create(&a).unwrap();
        cache.create(&b).unwrap();
        let kept = cache.get(&a).unwrap();
        cache.create(&c).unwrap();
        let open = |id| cache.held().entries.contains_key(id);
        assert_eq!([open(&a), open(&b), open(&c)], [true, false, true]);
        assert!(Arc::ptr_eq(&kept, &cache.get(&a).unwrap()));
        cache.get(&b).unwrap();
        assert_eq!([open(&a), open(&b), open(&c)], [true, true, false]);
    }
}
