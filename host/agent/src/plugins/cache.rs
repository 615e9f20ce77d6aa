//! Compiled kinds, kept between runs.
//!
//! Compiled code is trusted like the agent itself: wasmtime runs whatever it is
//! given. So the directory belongs to this user alone (mode 0700), every entry
//! begins with a checksum of the rest, and it is written under another name and
//! renamed. An entry that does not check out is compiled again.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use wasmtime::{Engine, component::Component};

use crate::error::AgentError;

/// Bytes of the checksum in front of an entry.
const CHECKSUM: usize = 32;

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
        format!("{:x}-{:016x}.cwasm", Sha256::digest(bytes), compatibility.finish())
    }

    /// The code of an entry that is there and intact.
    pub(super) fn get(&self, engine: &Engine, key: &str) -> Option<Component> {
        let entry = fs::read(self.directory.join(key)).ok()?;
        let (checksum, code) = entry.split_at_checked(CHECKSUM)?;
        if Sha256::digest(code).as_slice() != checksum {
            tracing::warn!("the compiled kind {key} is damaged; compiling it again");
            return None;
        }
        match deserialize(engine, code) {
            Ok(component) => Some(component),
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
        file.write_all(&Sha256::digest(code))?;
        file.write_all(code)?;
        file.as_file().sync_all()?;
        file.persist(self.directory.join(key))?;
        Ok(())
    }
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
        if path.extension().is_some_and(|extension| extension == "cwasm") {
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
    fn what_others_could_have_written_is_not_trusted() {
        let (_directory, cache, engine, key) = cached();
        fs::set_permissions(&cache.directory, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Cache::open(&cache.directory).unwrap().get(&engine, &key).is_some());
        fs::set_permissions(&cache.directory, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(Cache::open(&cache.directory).unwrap().get(&engine, &key).is_none());
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
