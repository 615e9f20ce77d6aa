//! Hints that something happened in the plugin directory.
//!
//! They come late, twice or not at all (a network file system, a link whose
//! target lies elsewhere, a queue that overflowed, a directory that another one
//! took the place of), so they only bring the next look forward.

use std::{path::Path, sync::Arc, time::Duration};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::Notify;

/// The events of one directory, for one who waits for them.
pub(super) struct Events {
    happened: Arc<Notify>,
    /// Watches until it is dropped; there is none where the system refused.
    _watcher: Option<RecommendedWatcher>,
}

impl Events {
    /// Begins to watch; without events the directory is looked at every `poll`.
    pub(super) fn of(directory: &Path, poll: Duration) -> Self {
        let happened = Arc::new(Notify::new());
        let watcher = watch(directory, happened.clone()).inspect_err(|error| {
            tracing::warn!(
                "no events of the plugin directory {} ({error}); it is looked at every {poll:?}",
                directory.display()
            );
        });
        Self { happened, _watcher: watcher.ok() }
    }

    /// Ends when something may have happened since the last time.
    pub(super) async fn next(&self) {
        self.happened.notified().await;
    }
}

fn watch(directory: &Path, happened: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // After an error some may be missing.
        if event.is_ok_and(|event| changes_nothing(event.kind)) {
            return;
        }
        happened.notify_one();
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Looking at files and reading them is told too, and the agent does both.
fn changes_nothing(kind: EventKind) -> bool {
    kind.is_access() && kind != EventKind::Access(AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    #[tokio::test]
    async fn writing_is_told_and_reading_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.wasm");
        let events = Events::of(directory.path(), Duration::ZERO);
        fs::write(&file, "a").unwrap();
        events.next().await;
        // What was told of the writing may come in several parts; the last is
        // behind the making of another file.
        let other = directory.path().join("b.wasm");
        fs::rename(&file, &other).unwrap();
        while tokio::time::timeout(Duration::from_millis(100), events.next()).await.is_ok() {}
        assert_eq!(fs::read(&other).unwrap(), b"a");
        let told = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
        assert!(told.is_err(), "reading is no change");
        fs::remove_file(&other).unwrap();
        events.next().await;
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_watched_is_no_failure() {
        let directory = tempfile::tempdir().unwrap();
        let events = Events::of(&directory.path().join("missing"), Duration::ZERO);
        assert!(events._watcher.is_none());
    }
}
