//! The private directory of a listening socket, and those that others left.
//!
//! A process that is killed cannot remove its directory, so the next one that
//! starts does. The owner holds a lock on a file in it, which the system gives
//! up with the process; so the directory of one that lives, also in another
//! container of the machine that shares the directory for temporary files, is
//! never taken for one that was left.

use std::{
    env,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

const PREFIX: &str = "hulynet-";
/// Held for as long as the owner lives. It gets this name when it is locked, so
/// that nobody finds it before.
const LOCK: &str = "lock";

/// A directory that only this user may open; removed when dropped.
#[derive(Debug)]
pub(crate) struct Home {
    directory: TempDir,
    /// After the directory, so that nobody else removes it meanwhile.
    _lock: File,
}

impl Home {
    /// Makes one, and removes those that were left.
    pub(crate) fn new() -> io::Result<Self> {
        Self::within(&env::temp_dir())
    }

    fn within(root: &Path) -> io::Result<Self> {
        // Created with mode 0700.
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root)?;
        let new = directory.path().join("lock.new");
        let lock = File::create(&new)?;
        lock.try_lock()?;
        fs::rename(&new, directory.path().join(LOCK))?;
        let owner = fs::metadata(directory.path())?.uid();
        if let Err(error) = sweep(root, owner) {
            tracing::debug!(root = %root.display(), %error, "cannot look for what others left");
        }
        Ok(Self { directory, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes the directories of this user whose owners are gone.
fn sweep(root: &Path, user: u32) -> io::Result<()> {
    for entry in fs::read_dir(root)?.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == user);
        if ours && let Some(left) = abandoned(entry.path()) {
            left.remove();
        }
    }
    Ok(())
}

/// A directory whose owner is gone, and the lock on it.
struct Abandoned {
    path: PathBuf,
    _lock: File,
}

/// `None` when somebody holds the lock, and when there is none: then it is
/// being made, or is no directory of ours.
fn abandoned(path: PathBuf) -> Option<Abandoned> {
    let lock = File::open(path.join(LOCK)).ok()?;
    lock.try_lock().ok()?;
    Some(Abandoned { path, _lock: lock })
}

impl Abandoned {
    fn remove(self) {
        match fs::remove_dir_all(&self.path) {
            Ok(()) => tracing::debug!(path = %self.path.display(), "removed: its owner is gone"),
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "cannot be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a killed process leaves: all but its lock.
    fn left(root: &Path) -> PathBuf {
        let mut home = Home::within(root).unwrap();
        home.directory.disable_cleanup(true);
        fs::write(home.path().join("router"), "").unwrap();
        home.path().to_owned()
    }

    #[test]
    fn what_a_killed_process_left_is_removed_by_the_next() {
        let root = tempfile::tempdir().unwrap();
        let left = left(root.path());
        assert!(left.exists());
        let home = Home::within(root.path()).unwrap();
        assert!(!left.exists() && home.path().exists());
    }

    #[test]
    fn what_a_living_process_uses_stays() {
        let root = tempfile::tempdir().unwrap();
        let first = Home::within(root.path()).unwrap();
        let second = Home::within(root.path()).unwrap();
        assert!(first.path().exists() && second.path().exists());
        drop((first, second));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_being_made_and_what_belongs_to_others_stays() {
        let root = tempfile::tempdir().unwrap();
        let unlocked = root.path().join("hulynet-new");
        let file = root.path().join("hulynet-file");
        let other = root.path().join("other");
        fs::create_dir(&unlocked).unwrap();
        fs::write(unlocked.join("lock.new"), "").unwrap();
        fs::write(&file, "").unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join(LOCK), "").unwrap();
        let left = left(root.path());
        let elsewhere = fs::metadata(root.path()).unwrap().uid() + 1;
        sweep(root.path(), elsewhere).unwrap();
        assert!(left.exists(), "another user's");
        let _home = Home::within(root.path()).unwrap();
        assert!(unlocked.exists() && file.exists() && other.exists());
        assert!(!left.exists());
    }
}
