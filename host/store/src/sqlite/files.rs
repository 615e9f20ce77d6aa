use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::failed;
use crate::{StoreError, WorkspaceId};

/// How long a file that another process creates is waited for.
const CREATING: Duration = Duration::from_secs(5);
const CREATING_POLL: Duration = Duration::from_millis(5);

/// The directory of a store.
#[derive(Debug, Clone)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    /// Creates the directories that are missing, durably.
    pub(super) fn prepare(directory: &Path) -> Result<Self, StoreError> {
        let files = Self { directory: directory.to_owned() };
        create_durably(&files.workspaces()).map_err(|error| {
            failed(&format!("creating {}", files.workspaces().display()), error)
        })?;
        Ok(files)
    }

    pub(super) fn accounts(&self) -> PathBuf {
        self.directory.join("accounts.db")
    }

    pub(super) fn workspace(&self, id: &WorkspaceId) -> PathBuf {
        self.workspaces().join(file_name(id))
    }

    fn workspaces(&self) -> PathBuf {
        self.directory.join("workspaces")
    }

    /// Takes the lock under which files are created, so that two processes
    /// do not set up the same one. It is released when dropped, and by the
    /// end of the process.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let path = self.directory.join("creating.lock");
        let doing = || format!("locking {}", path.display());
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| failed(&doing(), error))?;
        let end = Instant::now() + CREATING;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(CREATING_POLL);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Busy { what: "another process is creating a file" });
                }
                Err(TryLockError::Error(error)) => return Err(failed(&doing(), error)),
            }
        }
    }
}

/// Makes the entries of a directory durable: a file whose entry is lost is
/// lost, however well its contents were synchronised.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    // Only Unix lets a directory be opened and synchronised.
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

fn create_durably(directory: &Path) -> io::Result<()> {
    let missing = directory.ancestors().take_while(|path| !path.exists());
    let parents: Vec<_> = missing.filter_map(Path::parent).map(Path::to_owned).collect();
    std::fs::create_dir_all(directory)?;
    parents.iter().try_for_each(|parent| {
        let here = Path::new(".");
        sync_directory(if parent.as_os_str().is_empty() { here } else { parent })
    })
}

/// A file name for a workspace: readable as far as possible, told apart by a
/// hash, so that no name leaves the directory, is too long for the file
/// system, or differs from another by case only.
fn file_name(id: &WorkspaceId) -> String {
    let readable = id.as_str().chars().take(40);
    let readable =
        readable.map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let hash = Sha256::digest(id.as_str().as_bytes());
    let hash = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{}-{hash}.db", readable.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_gets_its_own_file_inside_the_directory() {
        let long = "ü".repeat(64);
        let names =
            ["ws1", "WS1", "../ws1", "/etc/passwd", "..", "a/b", "a\\b", "a b", "C:", &long];
        let files: BTreeSet<_> =
            names.iter().map(|name| file_name(&WorkspaceId::new(*name).unwrap())).collect();
        assert_eq!(files.len(), names.len());
        for file in files {
            assert!(file.len() < 100, "{file}");
            assert!(file.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)), "{file}");
            assert!(!file.contains(".."), "{file}");
        }
    }

    #[test]
    fn the_lock_of_one_holder_keeps_the_next_one_out() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::prepare(&directory.path().join("deep/er")).unwrap();
        let held = files.lock().unwrap();
        let other =
            OpenOptions::new().write(true).open(files.directory.join("creating.lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        assert!(other.try_lock().is_ok());
    }
}
