//! From the files of a kind to code that containers are started from. The cheap
//! checks come before the expensive ones: nothing is compiled that nobody
//! vouches for.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use hulynet_agent_kinds::{
    ContainerLimits, Disagreement, Grants, Imports, Manifest, PublicKey, Source, Terms,
    catalog::{Found, Loaded, Refused},
    manifest,
    signature::{self, Distrust, Subject, digest},
};
use hulynet_protocol::Kind;
use hulynet_settings::Mistake;
use wasmtime::{Engine, component::Component};

use super::{
    Code,
    cache::Cache,
    cut, listing,
    validate::{self, Invalid},
};
use crate::{
    capabilities::Linkers,
    container::{Linked, Pace},
    world::World,
};

/// The longest secret, in bytes.
const SECRET_BYTES: usize = 64 * 1024;

/// Why a kind is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error(
        "its secret {name:?}: {why}; correct that file, or [secrets] in the agent's grants, and start the agent again"
    )]
    Secret { name: String, why: Box<Refusal> },
    #[error("{} is larger than {limit} bytes; {remedy}", path.display())]
    TooLarge { path: PathBuf, limit: usize, remedy: &'static str },
    #[error("{} is not UTF-8 text; {remedy}", path.display())]
    NotText { path: PathBuf, remedy: &'static str },
    #[error("{} changed while it was read; it is read again when it is complete", path.display())]
    Changed { path: PathBuf },
    #[error("{} {cause}", path.display())]
    Distrusted { path: PathBuf, cause: Distrust },
    #[error("{cause}")]
    Manifest { cause: Mistake },
    #[error(
        "{} was rolled back, because its containers did not start: {reason}; it is tried again when \
         it or its manifest is another, or when {} is removed and the agent started again",
        path.display(),
        record.display()
    )]
    RolledBack { path: PathBuf, reason: String, record: PathBuf },
    #[error("{} {cause}", path.display())]
    Invalid { path: PathBuf, cause: Invalid },
    #[error("{} is not valid WebAssembly: {cause}", path.display())]
    Compile { path: PathBuf, cause: String },
    #[error("{} {cause}", path.display())]
    Terms { path: PathBuf, cause: Disagreement },
    #[error(
        "{} asks for what is not offered or does not fit: {cause}; containers may import huly:network \
         and WASI 0.2",
        path.display()
    )]
    Link { path: PathBuf, cause: String },
}

/// What the operator decides about kinds.
#[derive(Clone, Debug)]
pub struct KindPolicy {
    /// The largest `.wasm` file, in bytes. Default 64 MiB: compiling takes
    /// about 200 times as much memory at worst.
    pub file_bytes: usize,
    /// What kinds and tenants are granted. Default nothing.
    pub grants: Arc<Grants>,
    /// Of each container, where the grants say nothing about its kind.
    pub limits: ContainerLimits,
    /// With any, only kinds that one of them signed are served.
    pub trusted: Vec<PublicKey>,
}

impl Default for KindPolicy {
    fn default() -> Self {
        let (grants, limits) = (Arc::default(), ContainerLimits::default());
        Self { file_bytes: 64 << 20, grants, limits, trusted: Vec::new() }
    }
}

/// Everything that loading takes.
pub(crate) struct Loader {
    pub(super) linkers: Linkers,
    /// `None` compiles every time.
    pub(super) cache: Option<Cache>,
    pub(super) policy: KindPolicy,
    /// How many were compiled, and not taken from the cache.
    pub(super) compiled: Arc<AtomicU64>,
}

/// The content of a kind's files.
pub(super) struct Files {
    pub(super) path: PathBuf,
    pub(super) code: Vec<u8>,
    pub(super) manifest: Option<String>,
    pub(super) signatures: Option<String>,
}

impl Loader {
    /// Reads, checks, compiles (or takes from the cache) and links a kind. The
    /// files must still be those of the `source`.
    pub(super) fn load(
        &self,
        path: &Path,
        kind: &Kind,
        source: &Source,
    ) -> Result<Loaded<Arc<Code>>, Box<Refused>> {
        let mut found = Found::default();
        self.try_load(path, kind, source, &mut found)
            .map_err(|refusal| Box::new(Refused { reason: refusal.to_string(), found }))
    }

    /// The same; what is found is kept when it fails.
    fn try_load(
        &self,
        path: &Path,
        kind: &Kind,
        source: &Source,
        found: &mut Found,
    ) -> Result<Loaded<Arc<Code>>, Refusal> {
        let files = Files::read(path, self.policy.file_bytes)?;
        if listing::source(path).as_ref() != Some(source) {
            return Err(Refusal::Changed { path: path.to_owned() });
        }
        let (hash, version) = files.hashes();
        found.hash = Some(hash);
        found.granted = self.policy.grants.capabilities(kind);
        found.signer = self.vouch(kind, &files)?;
        found.manifest = files.manifest(kind)?;
        found.asked = Terms::asked(found.manifest.as_ref(), &Imports::default());
        let given_up = self.cache.as_ref().and_then(|cache| cache.given_up(&version));
        if let Some(given_up) = given_up {
            return Err(rolled_back(path, given_up));
        }
        let (component, world) = self.component(&files)?;
        let imports = imports(&component);
        let imports = Imports::of(imports.iter().map(String::as_str));
        found.asked = Terms::asked(found.manifest.as_ref(), &imports);
        let mut terms = self.terms(kind, found.manifest.as_ref(), &imports, world, path)?;
        for (name, file) in std::mem::take(&mut terms.secrets) {
            let value = secret(&name, &file)?;
            terms.environment.insert(name, value);
        }
        let linked = self.link(&component, world, path)?;
        let found = found.clone();
        let (services, pace) = (OnceLock::new(), Pace::default());
        let code = Code { linked, terms, found, services, pace };
        Ok(Loaded { hash: version, code: Arc::new(code) })
    }

    /// Remembers that a version was rolled back, so that the next start of the
    /// agent does not try it again.
    pub(super) fn give_up(&self, version: &str, reason: &str) {
        if let Some(Err(error)) = self.cache.as_ref().map(|cache| cache.give_up(version, reason)) {
            tracing::warn!("it cannot be kept that a version was rolled back: {error}");
        }
    }

    /// Who vouches for it; nobody needs to when no key is trusted.
    pub(super) fn vouch(&self, kind: &Kind, files: &Files) -> Result<Option<PublicKey>, Refusal> {
        if self.policy.trusted.is_empty() {
            return Ok(None);
        }
        let subject = files.subject(kind);
        signature::verify(&subject, files.signatures.as_deref(), &self.policy.trusted)
            .map(Some)
            .map_err(|cause| Refusal::Distrusted { path: files.path.clone(), cause })
    }

    /// The code, if it is that of a kind, and its world.
    pub(super) fn component(&self, files: &Files) -> Result<(Component, World), Refusal> {
        let invalid = |cause| Refusal::Invalid { path: files.path.clone(), cause };
        validate::header(&files.code).map_err(invalid)?;
        let world = validate::world(&files.code).map_err(invalid)?;
        let engine = self.linkers.of(world).engine();
        let component = self.compile(engine, &files.code).map_err(|error| Refusal::Compile {
            path: files.path.clone(),
            cause: format!("{error:#}"),
        })?;
        Ok((component, world))
    }

    pub(super) fn terms(
        &self,
        kind: &Kind,
        manifest: Option<&Manifest>,
        imports: &Imports,
        world: World,
        path: &Path,
    ) -> Result<Terms, Refusal> {
        let KindPolicy { grants, limits, .. } = &self.policy;
        let mut terms = Terms::agree(kind, manifest, imports, grants, limits)
            .map_err(|cause| Refusal::Terms { path: path.to_owned(), cause })?;
        if world == World::ContainerSync {
            terms.limits.concurrent = 1;
        }
        Ok(terms)
    }

    pub(super) fn link(
        &self,
        component: &Component,
        world: World,
        path: &Path,
    ) -> Result<Linked, Refusal> {
        let linked = self.linkers.of(world).instantiate_pre(component);
        let linked = linked.and_then(|linked| Linked::new(linked, world));
        linked.map_err(|error| Refusal::Link { path: path.to_owned(), cause: format!("{error:#}") })
    }

    fn compile(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        let key = Cache::key(engine, bytes);
        let cached = self.cache.as_ref().and_then(|cache| cache.get(engine, &key));
        if let Some(component) = cached {
            return Ok(component);
        }
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let component = Component::from_binary(engine, &cut::cut(bytes)?)?;
        if let Some(cache) = &self.cache {
            match component.serialize().map(|code| cache.put(&key, &code)) {
                Ok(Ok(())) => {}
                // It serves all the same; only the next start is slower.
                Ok(Err(error)) => tracing::warn!("a compiled kind cannot be kept: {error}"),
                Err(error) => tracing::warn!("a compiled kind cannot be kept: {error:#}"),
            }
        }
        Ok(component)
    }
}

impl Files {
    /// Reads them; the code has at most so many bytes.
    pub(super) fn read(path: &Path, file_bytes: usize) -> Result<Self, Refusal> {
        let remedy = "strip it, or raise the setting largest-kind";
        let code = read(path, file_bytes, remedy)?;
        let beside = |extension, limit, remedy| {
            let path = path.with_extension(extension);
            path.exists().then(|| read_text(&path, limit, remedy)).transpose()
        };
        Ok(Self {
            code,
            manifest: beside("toml", manifest::LARGEST, "correct it")?,
            signatures: beside("sig", signature::LARGEST, "remove it and sign the kind again")?,
            path: path.to_owned(),
        })
    }

    /// The hash of the code, and that of the version: another manifest is
    /// another one, though the code is the same.
    pub(super) fn hashes(&self) -> (String, String) {
        let hash = digest(&self.code);
        let version = match &self.manifest {
            Some(text) => digest(format!("{hash} {}", digest(text.as_bytes())).as_bytes()),
            None => hash.clone(),
        };
        (hash, version)
    }

    /// What signatures are of.
    pub(super) fn subject<'a>(&'a self, kind: &'a Kind) -> Subject<'a> {
        Subject { kind, code: &self.code, manifest: self.manifest.as_deref() }
    }

    /// What the kind says about itself.
    pub(super) fn manifest(&self, kind: &Kind) -> Result<Option<Manifest>, Refusal> {
        let read = |text| Manifest::parse(&format!("{kind}.toml"), text);
        self.manifest.as_deref().map(read).transpose().map_err(|cause| Refusal::Manifest { cause })
    }
}

/// Why a version that was given up is not tried again; the reason, and the file
/// that says so.
pub(super) fn rolled_back(path: &Path, (reason, record): (String, PathBuf)) -> Refusal {
    Refusal::RolledBack { path: path.to_owned(), reason, record }
}

/// What a component imports, by name.
pub(super) fn imports(component: &Component) -> Vec<String> {
    let imports = component.component_type();
    imports.imports(component.engine()).map(|(name, _)| name.to_string()).collect()
}

/// The content of a secret's file, without the line end that editors add.
pub(super) fn secret(name: &str, path: &Path) -> Result<String, Refusal> {
    let text = read_text(path, SECRET_BYTES, "a secret is a short text")
        .map_err(|why| Refusal::Secret { name: name.to_owned(), why: Box::new(why) })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a text of at most so many bytes.
fn read_text(path: &Path, limit: usize, remedy: &'static str) -> Result<String, Refusal> {
    let bytes = read(path, limit, remedy)?;
    String::from_utf8(bytes).map_err(|_| Refusal::NotText { path: path.to_owned(), remedy })
}

/// Reads a file of at most so many bytes.
fn read(path: &Path, limit: usize, remedy: &'static str) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|cause| Refusal::Unreadable { path: path.to_owned(), cause })?;
    if bytes.len() > limit {
        return Err(Refusal::TooLarge { path: path.to_owned(), limit, remedy });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use hulynet_agent_kinds::PrivateKey;

    use super::*;
    use crate::engine;

    /// The smallest component.
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn loader(policy: KindPolicy) -> Loader {
        let (engines, _) = engine::start(Some(16)).unwrap();
        let linkers = Linkers::new(&engines).unwrap();
        Loader { linkers, cache: None, policy, compiled: Arc::default() }
    }

    fn refusal_of(files: &[(&str, &[u8])], policy: KindPolicy) -> String {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        let path = directory.path().join("a.wasm");
        let loader = loader(policy);
        let source = listing::source(&path).unwrap();
        let Err(refused) = loader.load(&path, &Kind::new("a").unwrap(), &source) else {
            panic!("it was loaded")
        };
        refused.reason.replace(&directory.path().display().to_string(), "DIR")
    }

    fn refusal(bytes: &[u8]) -> String {
        let policy = KindPolicy { file_bytes: 100, ..KindPolicy::default() };
        refusal_of(&[("a.wasm", bytes)], policy)
    }

    #[test]
    fn every_refusal_names_the_file_the_cause_and_the_remedy() {
        assert!(refusal(b"text").starts_with("DIR/a.wasm is not a WebAssembly file; build"));
        assert!(refusal(b"\0asm\x01\0\0\0").contains("is a core module and not a component"));
        assert!(refusal(&COMPONENT[..7]).contains("truncated: it ends after 7 bytes"));
        let message = refusal(COMPONENT);
        assert!(
            message
                .contains("another world: it exports nothing, expected huly:network/guest@0.1.0"),
            "{message}"
        );
        assert!(refusal(&[0; 101]).contains("is larger than 100 bytes; strip it, or raise"));
        let damaged = [COMPONENT, &[0x63, 0x01, 0x00]].concat();
        assert!(refusal(&damaged).contains("is not valid WebAssembly"));
    }

    #[test]
    fn what_is_compiled_gives_way_everywhere() {
        let kind = wat::parse_str(
            "(component (core module (memory 1) (func (param i32)
                (memory.fill (local.get 0) (local.get 0) (local.get 0)))))",
        );
        let (loader, kind) = (loader(KindPolicy::default()), kind.unwrap());
        let engine = loader.linkers.of(World::Container).engine();
        let compiled = loader.compile(engine, &kind).unwrap().serialize().unwrap();
        let of = |file: &[u8]| Component::from_binary(engine, file).unwrap().serialize().unwrap();
        assert!(compiled == of(&cut::cut(&kind).unwrap()) && compiled != of(&kind));
    }

    #[test]
    fn files_that_are_not_those_that_were_seen_are_not_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wasm");
        fs::write(&path, COMPONENT).unwrap();
        let seen = listing::source(&path).unwrap();
        fs::write(path.with_extension("toml"), "version = \"2\"").unwrap();
        let loader = loader(KindPolicy::default());
        let loaded = loader.load(&path, &Kind::new("a").unwrap(), &seen);
        let reason = loaded.err().unwrap().reason;
        assert!(reason.contains("a.wasm changed while it was read"), "{reason}");
    }

    #[test]
    fn a_bad_manifest_is_told_with_its_line_before_anything_is_compiled() {
        let files: [(&str, &[u8]); 2] = [("a.wasm", b"text"), ("a.toml", b"\nversion = 1")];
        let message = refusal_of(&files, KindPolicy::default());
        assert_eq!(message, "a.toml:2: version takes a text in quotes, not an integer");
        let files: [(&str, &[u8]); 2] = [("a.wasm", COMPONENT), ("a.toml", b"\xff")];
        assert!(refusal_of(&files, KindPolicy::default()).contains("DIR/a.toml is not UTF-8 text"));
    }

    #[test]
    fn what_nobody_trusted_signed_is_refused_before_it_is_looked_at() {
        let key = PrivateKey::from_random([1; 32]);
        let policy = KindPolicy { trusted: vec![key.public()], ..KindPolicy::default() };
        let unsigned = refusal_of(&[("a.wasm", b"text")], policy.clone());
        assert!(
            unsigned.starts_with("DIR/a.wasm is not signed, and only what a trusted key"),
            "{unsigned}"
        );
        let kind = Kind::new("a").unwrap();
        let subject = Subject { kind: &kind, code: b"other", manifest: None };
        let signature = key.sign(&subject);
        let files: [(&str, &[u8]); 2] = [("a.wasm", b"text"), ("a.sig", signature.as_bytes())];
        let wrongly = refusal_of(&files, policy.clone());
        assert!(wrongly.starts_with("DIR/a.wasm is wrongly signed"), "{wrongly}");
        let signature = key.sign(&Subject { code: b"text", ..subject });
        let files: [(&str, &[u8]); 2] = [("a.wasm", b"text"), ("a.sig", signature.as_bytes())];
        let signed = refusal_of(&files, policy);
        assert!(signed.contains("is not a WebAssembly file"), "signed well: {signed}");
    }
}
