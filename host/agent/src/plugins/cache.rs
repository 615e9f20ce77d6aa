//! Compiled kinds, kept between runs.
//!
//! Compiled code is trusted like the agent itself: wasmtime runs whatever it is
//! given. So the directory belongs to this user alone (mode 0700), every entry
//! begins with a checksum of its name and of the rest, and it is written under
//! another name and renamed. An entry that does not check out, that was made of
//! other bytes or for another engine, is compiled again.
//!
//! Entries are kept as long as they are used: those that nobody took for
//! [`UNUSED`] are removed, and the oldest ones first when all together are over
//! [`LARGEST`].

use std::{
    ffi::OsStr,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use wasmtime::{Engine, component::Component};

use super::cut;
use crate::error::AgentError;

/// Bytes of the checksum in front of an entry.
const CHECKSUM: usize = 32;
/// What entries end with.
const EXTENSION: &str = "cwasm";
/// What the names of those versions end with that were rolled back. They begin
/// with the hash of the version's files; the content is the reason.
const GIVEN_UP: &str = "rolled-back";
/// Bytes of a reason that are read.
const REASON: u64 = 4096;
/// Entries that nobody took for so long are removed: several agents may share
/// the directory, so one that this agent does not need may be another's.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// A file that was never finished is removed after this long.
const UNFINISHED: Duration = Duration::from_secs(3600);
/// The most bytes of all entries together.
const LARGEST: u64 = 8 << 30;

/// Why a version was rolled back, if this directory of compiled kinds says so,
/// and the file that does.
pub(super) fn given_up(directory: &Path, version: &str) -> Option<(String, PathBuf)> {
    let path = given_up_path(directory, version);
    let mut reason = Vec::new();
    fs::File::open(&path).ok()?.take(REASON).read_to_end(&mut reason).ok()?;
    Some((String::from_utf8_lossy(&reason).into_owned(), path))
}

fn given_up_path(directory: &Path, version: &str) -> PathBuf {
    directory.join(format!("{version}.{GIVEN_UP}"))
}

/// The directory of compiled kinds.
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Makes the directory and sees to it that nobody else can write to it.
    pub(super) fn open(directory: &Path) -> Result<Self, AgentError> {
        let failed = |cause| AgentError::Cache { path: directory.to_owned(), cause };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        check_owner(directory).map_err(failed)?;
        let mode = fs::metadata(directory).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        if mode & 0o022 != 0 {
            // A checksum does not tell who wrote an entry.
            forget(directory).map_err(failed)?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// Names the code that this engine makes of these bytes.
    pub(super) fn key(engine: &Engine, bytes: &[u8]) -> String {
        let mut compatibility = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut compatibility);
        cut::VERSION.hash(&mut compatibility);
        format!("{:x}-{:016x}.{EXTENSION}", Sha256::digest(bytes), compatibility.finish())
    }

    /// The code of an entry that is there and intact.
    pub(super) fn get(&self, engine: &Engine, key: &str) -> Option<Component> {
        let path = self.directory.join(key);
        let entry = fs::read(&path).ok()?;
        let (checksum, code) = entry.split_at_checked(CHECKSUM)?;
        if sum(key, code) != checksum {
            tracing::warn!(
                "the compiled kind {key} is damaged or of another name; compiling it again"
            );
            return None;
        }
        match deserialize(engine, code) {
            Ok(component) => {
                touch(&path);
                Some(component)
            }
            Err(error) => {
                tracing::warn!(
                    "the compiled kind {key} does not fit ({error:#}); compiling it again"
                );
                None
            }
        }
    }

    /// Keeps code.
    pub(super) fn put(&self, key: &str, code: &[u8]) -> io::Result<()> {
        // Several agents may share the directory: each writes a file of its
        // own, which is removed if it does not get its name.
        let mut file = NamedTempFile::new_in(&self.directory)?;
        file.write_all(&sum(key, code))?;
        file.write_all(code)?;
        file.as_file().sync_all()?;
        file.persist(self.directory.join(key))?;
        Ok(())
    }

    /// Remembers that a version was rolled back, and why.
    pub(super) fn give_up(&self, version: &str, reason: &str) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.directory)?;
        file.write_all(reason.as_bytes())?;
        file.persist(given_up_path(&self.directory, version))?;
        Ok(())
    }

    /// Why a version was rolled back, if it was, and the file that says so.
    pub(super) fn given_up(&self, version: &str) -> Option<(String, PathBuf)> {
        let given_up = given_up(&self.directory, version);
        given_up.inspect(|(_, path)| touch(path))
    }

    /// Removes what is not needed any more.
    pub(super) fn prune(&self) -> io::Result<()> {
        let now = SystemTime::now();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // One that is dated in the future counts as just used.
            let age = now.duration_since(metadata.modified()?).unwrap_or_default();
            files.push(Kept { path: entry.path(), bytes: metadata.len(), age });
        }
        for path in superfluous(files) {
            tracing::debug!("{} is removed from the cache", path.display());
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// A file in the directory.
struct Kept {
    path: PathBuf,
    bytes: u64,
    /// Since it was last used.
    age: Duration,
}

/// Which files are to be removed.
fn superfluous(mut files: Vec<Kept>) -> Vec<PathBuf> {
    files.sort_by_key(|file| file.age);
    let mut room = LARGEST;
    let mut keep = |file: &Kept| {
        match file.path.extension().and_then(OsStr::to_str) {
            Some(EXTENSION) => {}
            Some(GIVEN_UP) => return file.age < UNUSED,
            _ => return file.age < UNFINISHED,
        }
        let fits = room.checked_sub(file.bytes);
        room = fits.unwrap_or(room);
        fits.is_some() && file.age < UNUSED
    };
    files.into_iter().filter(|file| !keep(file)).map(|file| file.path).collect()
}

/// Dates an entry: it was used now.
fn touch(path: &Path) {
    let touched = fs::File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!("{} cannot be dated, so it may be pruned: {error}", path.display());
    }
}

/// The checksum of an entry. With the name in it, one that was renamed is not
/// taken for the code of other bytes.
fn sum(key: &str, code: &[u8]) -> [u8; CHECKSUM] {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update([0]);
    hash.update(code);
    hash.finalize().into()
}

/// Refuses a directory of another user, who could replace what is in it. Whose
/// a new file is tells who this process is.
fn check_owner(directory: &Path) -> io::Result<()> {
    let this = NamedTempFile::new_in(directory)?.as_file().metadata()?.uid();
    let owner = fs::metadata(directory)?.uid();
    if owner == this {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("it belongs to the user {owner} and not to {this}"),
    ))
}

/// Removes the entries that somebody else may have written.
fn forget(directory: &Path) -> io::Result<()> {
    tracing::warn!(
        "others could write to {}: the compiled kinds in it are removed",
        directory.display()
    );
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let ours = path.extension().and_then(OsStr::to_str);
        if ours.is_some_and(|extension| [EXTENSION, GIVEN_UP].contains(&extension)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[expect(
    unsafe_code,
    reason = "the bytes were made by this program: their checksum is right and the directory \
              belongs to this user alone"
)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: see the reason above; wasmtime checks engine and version.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn cached() -> (tempfile::TempDir, Cache, Engine, String) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(&directory.path().join("cache")).unwrap();
        let engine = Engine::default();
        let key = Cache::key(&engine, EMPTY);
        let code = Component::from_binary(&engine, EMPTY).unwrap().serialize().unwrap();
        cache.put(&key, &code).unwrap();
        (directory, cache, engine, key)
    }

    #[test]
    fn an_intact_entry_is_used() {
        let (_directory, cache, engine, key) = cached();
        assert!(cache.get(&engine, &key).is_some());
        assert!(cache.get(&engine, "another").is_none());
    }

    #[test]
    fn a_damaged_or_foreign_entry_is_never_trusted() {
        let (_directory, cache, engine, key) = cached();
        let path = cache.directory.join(&key);
        let entry = fs::read(&path).unwrap();
        for position in [0, CHECKSUM, entry.len() - 1] {
            let mut damaged = entry.clone();
            damaged[position] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert!(cache.get(&engine, &key).is_none());
        }
        fs::write(&path, &entry[..CHECKSUM - 1]).unwrap();
        assert!(cache.get(&engine, &key).is_none());
    }

    #[test]
    fn an_entry_under_another_name_is_not_taken_for_other_bytes() {
        let (_directory, cache, engine, key) = cached();
        let other = Cache::key(&engine, b"other bytes");
        fs::copy(cache.directory.join(&key), cache.directory.join(&other)).unwrap();
        assert!(cache.get(&engine, &other).is_none());
        assert!(cache.get(&engine, &key).is_some());
    }

    #[test]
    fn what_is_not_used_is_pruned() {
        let (_directory, cache, engine, key) = cached();
        let old = |name: &str, age| {
            let path = cache.directory.join(name);
            let file = fs::File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let unused = old("unused.cwasm", UNUSED * 2);
        let recent = old("recent.cwasm", UNUSED / 2);
        let unfinished = old(".tmp1", UNFINISHED * 2);
        cache.prune().unwrap();
        assert!(cache.get(&engine, &key).is_some());
        assert_eq!([&unused, &recent, &unfinished].map(|path| path.exists()), [false, true, false]);
    }

    #[test]
    fn the_oldest_entries_go_when_all_together_are_too_large() {
        let file = |name: &str, bytes, seconds| Kept {
            path: PathBuf::from(name),
            bytes,
            age: Duration::from_secs(seconds),
        };
        let half = LARGEST / 2;
        let files = vec![
            file("old.cwasm", half, 3),
            file("new.cwasm", half, 1),
            file("mid.cwasm", half, 2),
        ];
        assert_eq!(superfluous(files), [PathBuf::from("old.cwasm")]);
    }

    #[test]
    fn an_entry_that_is_used_is_kept() {
        let (_directory, cache, engine, key) = cached();
        let file = fs::File::options().append(true).open(cache.directory.join(&key)).unwrap();
        file.set_modified(SystemTime::now() - 2 * UNUSED).unwrap();
        assert!(cache.get(&engine, &key).is_some());
        cache.prune().unwrap();
        assert!(cache.get(&engine, &key).is_some());
    }

    #[test]
    fn what_others_could_have_written_is_not_trusted() {
        let (_directory, cache, engine, key) = cached();
        fs::set_permissions(&cache.directory, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Cache::open(&cache.directory).unwrap().get(&engine, &key).is_some());
        fs::set_permissions(&cache.directory, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(Cache::open(&cache.directory).unwrap().get(&engine, &key).is_none());
    }

    #[test]
    fn a_version_that_was_rolled_back_is_remembered_as_long_as_it_is_asked_for() {
        let (_directory, cache, ..) = cached();
        assert_eq!(cache.given_up("abc"), None);
        cache.give_up("abc", "it trapped").unwrap();
        let (reason, path) = cache.given_up("abc").unwrap();
        assert_eq!((reason.as_str(), cache.given_up("abd")), ("it trapped", None));
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - UNUSED / 2).unwrap();
        cache.prune().unwrap();
        assert!(cache.given_up("abc").is_some());
        file.set_modified(SystemTime::now() - 2 * UNUSED).unwrap();
        cache.prune().unwrap();
        assert_eq!(cache.given_up("abc"), None);
    }

    #[test]
    fn nobody_else_can_write_to_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        Cache::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn another_engine_has_other_entries() {
        let mut config = wasmtime::Config::new();
        let other = Engine::new(config.epoch_interruption(true)).unwrap();
        assert_ne!(Cache::key(&Engine::default(), EMPTY), Cache::key(&other, EMPTY));
    }
}
