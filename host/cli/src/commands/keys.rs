//! `keygen`, `sign` and `verify`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use hulynet_agent::{PrivateKey, PublicKey};
use serde_json::json;

use crate::{config::Settings, failure::Failure, output, policy::largest_kind};

/// `hulynet keygen`.
pub(crate) fn generate(settings: &Settings, file: &Path) -> Result<(), Failure> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::refused(format!("the system has no random numbers: {error}")))?;
    let key = PrivateKey::from_random(random);
    let public = key.public().to_string();
    let mut public_file = file.as_os_str().to_owned();
    public_file.push(".pub");
    write(Path::new(&public_file), 0o644, &public)?;
    write(file, 0o600, &key.reveal()).inspect_err(|_| {
        // Without the private key the public one is of no use; the failure is
        // told either way.
        let _ = fs::remove_file(&public_file);
    })?;
    Ok(output::line(&if settings.json { json!({ "public": public }).to_string() } else { public })?)
}

/// `hulynet sign`.
pub(crate) fn sign(settings: &Settings, file: &Path, key: &Path) -> Result<(), Failure> {
    let key: PrivateKey = read(key)?;
    let (signatures, dropped) = hulynet_agent::sign(file, largest_kind(settings), &key)?;
    let signatures = signatures.display().to_string();
    if dropped > 0 {
        tracing::warn!("lines of {signatures} that were no signatures and are dropped: {dropped}");
    }
    Ok(output::line(&if settings.json {
        json!({ "signatures": signatures }).to_string()
    } else {
        format!("{} is signed by {} in {signatures}", file.display(), key.public())
    })?)
}

/// `hulynet verify`.
pub(crate) fn verify(settings: &Settings, file: &Path, key: &str) -> Result<(), Failure> {
    let path = PathBuf::from(key);
    let key: PublicKey = match key.parse() {
        Ok(key) => key,
        Err(error) if !path.exists() => {
            return Err(Failure::usage(format!("{key:?} is no file, and as a key: {error}")));
        }
        Err(_) => read(&path)?,
    };
    hulynet_agent::verify(file, largest_kind(settings), &key)?;
    Ok(output::line(&if settings.json {
        json!({ "verified": true }).to_string()
    } else {
        format!("{} is signed by {key}", file.display())
    })?)
}

/// Reads a key.
fn read<K: FromStr<Err: std::fmt::Display>>(path: &Path) -> Result<K, Failure> {
    let failed = |cause: &dyn std::fmt::Display| {
        Failure::usage(format!("the key in {} cannot be used: {cause}", path.display()))
    };
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            failed(&"there is no such file; name one that 'hulynet keygen' wrote")
        }
        _ => failed(&error),
    })?;
    text.parse().map_err(|error| failed(&error))
}

/// Writes a new file: a key that is there already may be somebody's only one.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| {
        writeln!(file, "{text}").inspect_err(|_| {
            // Half a key is of no use; the failure is told either way.
            let _ = fs::remove_file(path);
        })
    });
    written.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AlreadyExists => "; name a file that does not exist yet",
            _ => "",
        };
        Failure::usage(format!("{} cannot be written: {error}{remedy}", path.display()))
    })
}
