//! Offline: whether a file would be served, what it asks for, and who vouches
//! for it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use hulynet_agent_kinds::{
    Capabilities, Imports, Manifest, PrivateKey, PublicKey, Terms,
    signature::{self, Distrust, show_keys},
};
use hulynet_protocol::Kind;
use tempfile::NamedTempFile;

use super::{
    cache, kind_of,
    load::{Files, KindPolicy, Loader, Refusal, imports, rolled_back, secret},
};
use crate::{capabilities::Linkers, engine, error::AgentError, world::World};

/// The pool of an engine that runs nothing.
const POOL: u32 = 16;

/// What is found in the files of a kind.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The kind, by the file's name.
    pub kind: Kind,
    /// Bytes of the code.
    pub bytes: usize,
    /// SHA-256 of the code.
    pub hash: String,
    /// What it says about itself.
    pub manifest: Option<Manifest>,
    /// Which world of `wit/` it is of.
    pub world: Option<World>,
    /// What it imports, by name.
    pub imports: Vec<String>,
    /// The trusted key that signed it.
    pub signer: Option<PublicKey>,
    /// What it asks for.
    pub asked: Capabilities,
    /// On what terms it would be served; unknown when it would not.
    pub terms: Option<Terms>,
    /// Why it would not be served, everything that was found.
    pub refusals: Vec<String>,
}

/// Inspects `NAME.wasm` with what stands beside it, as an agent with this
/// policy would, and compiles it for that. `cache` is where the agent keeps
/// compiled kinds: it says what was rolled back, and is left as it is.
///
/// # Errors
/// The file cannot be read or its name is no kind, and no engine can be made.
pub fn inspect(
    path: &Path,
    policy: KindPolicy,
    cache: Option<&Path>,
) -> Result<Inspection, AgentError> {
    let kind = name(path)?;
    let (engines, _) = engine::start(Some(POOL))?;
    let linkers =
        Linkers::new(&engines).map_err(|error| AgentError::Engine(format!("{error:#}")))?;
    let loader = Loader { linkers, cache: None, policy, compiled: Arc::default() };
    let files = Files::read(path, loader.policy.file_bytes).map_err(unread)?;
    let (hash, version) = files.hashes();
    let mut refusals = Vec::new();
    let mut found = Inspection {
        bytes: files.code.len(),
        hash,
        manifest: noted(files.manifest(&kind), &mut refusals).flatten(),
        world: None,
        imports: Vec::new(),
        signer: noted(loader.vouch(&kind, &files), &mut refusals).flatten(),
        asked: Capabilities::default(),
        terms: None,
        refusals: Vec::new(),
        kind,
    };
    let given_up = cache.and_then(|cache| cache::given_up(cache, &version));
    refusals.extend(given_up.map(|given_up| rolled_back(path, given_up).to_string()));
    if let Some((component, world)) = noted(loader.component(&files), &mut refusals) {
        found.world = Some(world);
        found.imports = imports(&component);
        let imports = Imports::of(found.imports.iter().map(String::as_str));
        found.asked = Terms::asked(found.manifest.as_ref(), &imports);
        let terms = loader.terms(&found.kind, found.manifest.as_ref(), &imports, world, path);
        found.terms = noted(terms, &mut refusals);
        for (name, file) in found.terms.iter().flat_map(|terms| &terms.secrets) {
            noted(secret(name, file), &mut refusals);
        }
        noted(loader.link(&component, world, path), &mut refusals);
    }
    found.refusals = refusals;
    Ok(found)
}

/// Signs `NAME.wasm` and the manifest beside it: adds a line to `NAME.sig`, or
/// replaces the one of the same key, and drops what is no signature. Answers that
/// file, and how many lines were dropped.
///
/// # Errors
/// A file cannot be read or written, or has over `file_bytes`.
pub fn sign(
    path: &Path,
    file_bytes: usize,
    key: &PrivateKey,
) -> Result<(PathBuf, usize), AgentError> {
    let kind = name(path)?;
    let files = Files::read(path, file_bytes).map_err(unread)?;
    let (text, dropped) = signature::add(key, &files.subject(&kind), files.signatures.as_deref());
    let target = path.with_extension("sig");
    let unwritable = |cause| AgentError::File { path: target.clone(), cause };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    let mut file = NamedTempFile::new_in(directory).map_err(unwritable)?;
    file.write_all(text.as_bytes()).map_err(unwritable)?;
    share(file.as_file()).map_err(unwritable)?;
    file.persist(&target).map_err(|error| unwritable(error.error))?;
    Ok((target, dropped))
}

/// Whether `NAME.wasm` and the manifest beside it are signed by this key.
///
/// # Errors
/// A file cannot be read or has over `file_bytes`, or the files are not signed
/// by the key.
pub fn verify(path: &Path, file_bytes: usize, key: &PublicKey) -> Result<(), AgentError> {
    let kind = name(path)?;
    let files = Files::read(path, file_bytes).map_err(unread)?;
    let trusted = std::slice::from_ref(key);
    signature::verify(&files.subject(&kind), files.signatures.as_deref(), trusted)
        .map(drop)
        .map_err(|cause| {
            let cause = match cause {
                Distrust::Unsigned => "is not signed".to_owned(),
                Distrust::Unknown(keys) => format!("is signed by others: {}", show_keys(&keys)),
                cause => cause.to_string(),
            };
            AgentError::Unsigned(format!("{} {cause}", path.display()))
        })
}

fn name(path: &Path) -> Result<Kind, AgentError> {
    if path.extension().is_none_or(|extension| extension != "wasm") {
        return Err(AgentError::Input(format!("{} is no .wasm file; name one", path.display())));
    }
    kind_of(path).map_err(|cause| {
        AgentError::Input(format!("{}: its name is no kind: {cause}; rename it", path.display()))
    })
}

fn unread(refusal: Refusal) -> AgentError {
    AgentError::Input(refusal.to_string())
}

/// What a step made, if it made something; notes what it refused.
fn noted<T>(step: Result<T, Refusal>, refusals: &mut Vec<String>) -> Option<T> {
    step.map_err(|refusal| refusals.push(refusal.to_string())).ok()
}

/// A signature is no secret, and a temporary file is made for its owner alone.
fn share(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}
