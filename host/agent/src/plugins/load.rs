//! From a file to code that containers are started from.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use hulynet_protocol::{IdError, Kind};
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use super::{
    Code,
    cache::Cache,
    validate::{self, Invalid},
};
use crate::{bindings::ContainerPre, capabilities::Context};

/// Why a file is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("{}: its name is no kind: {cause}; rename it", path.display())]
    Name { path: PathBuf, cause: IdError },
    #[error(
        "{} is larger than {limit} bytes; strip it, or raise the agent's limit of file sizes",
        path.display()
    )]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{} {cause}", path.display())]
    Invalid { path: PathBuf, cause: Invalid },
    #[error("{} is not valid WebAssembly: {cause}", path.display())]
    Compile { path: PathBuf, cause: String },
    #[error(
        "{} asks for what is not offered or does not fit: {cause}; containers may import huly:network \
         and WASI 0.2",
        path.display()
    )]
    Link { path: PathBuf, cause: String },
}

/// Everything that loading takes.
pub(crate) struct Loader {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Context>,
    pub(super) cache: Cache,
    pub(super) file_bytes: u64,
}

/// The kind that a file defines: its stem.
pub(super) fn kind_of(path: &Path) -> Result<Kind, IdError> {
    Kind::new(path.file_stem().unwrap_or_default().to_string_lossy())
}

impl Loader {
    /// Reads, checks, compiles (or takes from the cache) and links a file.
    pub(super) fn load(&self, path: &Path) -> Result<(Kind, Code), Refusal> {
        let kind = kind_of(path).map_err(|cause| Refusal::Name { path: path.to_owned(), cause })?;
        let bytes = self.read(path)?;
        let invalid = |cause| Refusal::Invalid { path: path.to_owned(), cause };
        validate::header(&bytes).map_err(invalid)?;
        let component = self.compile(&bytes).map_err(|error| Refusal::Compile {
            path: path.to_owned(),
            cause: format!("{error:#}"),
        })?;
        validate::world(&self.engine, &component).map_err(invalid)?;
        let code = self.linker.instantiate_pre(&component).and_then(ContainerPre::new).map_err(
            |error| Refusal::Link { path: path.to_owned(), cause: format!("{error:#}") },
        )?;
        Ok((kind, code))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, Refusal> {
        let unreadable = |cause| Refusal::Unreadable { path: path.to_owned(), cause };
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(self.file_bytes.saturating_add(1)).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > self.file_bytes) {
            return Err(Refusal::TooLarge { path: path.to_owned(), limit: self.file_bytes });
        }
        Ok(bytes)
    }

    fn compile(&self, bytes: &[u8]) -> wasmtime::Result<Component> {
        let key = Cache::key(&self.engine, bytes);
        if let Some(component) = self.cache.get(&self.engine, &key) {
            return Ok(component);
        }
        let component = Component::from_binary(&self.engine, bytes)?;
        match component.serialize().map(|code| self.cache.put(&key, &code)) {
            Ok(Ok(())) => {}
            // It serves all the same; only the next start is slower.
            Ok(Err(error)) => tracing::warn!("a compiled kind cannot be kept: {error}"),
            Err(error) => tracing::warn!("a compiled kind cannot be kept: {error:#}"),
        }
        Ok(component)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities;

    fn refusal(name: &str, bytes: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let (engine, _) = crate::engine::start(Some(16)).unwrap();
        let linker = capabilities::linker(&engine).unwrap();
        let cache = Cache::open(&directory.path().join("cache")).unwrap();
        let loader = Loader { engine, linker, cache, file_bytes: 100 };
        let Err(refusal) = loader.load(&path) else { panic!("it was loaded") };
        refusal.to_string().replace(&directory.path().display().to_string(), "DIR")
    }

    #[test]
    fn every_refusal_names_the_file_the_cause_and_the_remedy() {
        let component = b"\0asm\x0d\0\x01\0";
        assert!(
            refusal("a.wasm", b"text").starts_with("DIR/a.wasm is not a WebAssembly file; build")
        );
        assert!(
            refusal("a.wasm", b"\0asm\x01\0\0\0").contains("is a core module and not a component")
        );
        assert!(refusal("a.wasm", &component[..7]).contains("truncated: it ends after 7 bytes"));
        let message = refusal("a.wasm", component);
        assert!(
            message
                .contains("another world: it exports nothing, expected huly:network/guest@0.1.0"),
            "{message}"
        );
        assert!(refusal("a.wasm", &[0; 101]).contains("is larger than 100 bytes"));
        assert!(refusal("\u{1}.wasm", component).contains("its name is no kind"));
        let damaged = [component.as_slice(), &[0x63, 0x01, 0x00]].concat();
        assert!(refusal("a.wasm", &damaged).contains("is not valid WebAssembly"));
    }
}
