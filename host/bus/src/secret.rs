//! The secret that all peers of a network share.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

use ring::hmac;

/// Fewer bytes could be guessed.
const SHORTEST: usize = 16;

/// More is another file.
const LONGEST: usize = 4096;

/// What a network's own peers know and nobody else. It never travels, and it
/// is not shown: each side of a hello proves to the other that it has it.
///
/// Who listens on the way learns nothing that helps to join, unless the secret
/// can be guessed; so draw it at random. It keeps nobody on the way from
/// reading or changing what follows.
#[derive(Clone)]
pub struct Secret(hmac::Key);

/// Why something is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It could be guessed.
    #[error("it has {0} bytes, and at least {SHORTEST} are needed")]
    Short(usize),
    /// It is something else.
    #[error("it has more than {LONGEST} bytes; is it another file?")]
    Long,
    /// Its file cannot be read.
    #[error(transparent)]
    File(#[from] io::Error),
}

impl Secret {
    /// These bytes, without white space around them.
    ///
    /// # Errors
    /// [`SecretError`] unless they are 16 to 4,096.
    pub fn new(secret: &[u8]) -> Result<Self, SecretError> {
        if secret.len() > LONGEST {
            return Err(SecretError::Long);
        }
        match secret.trim_ascii() {
            [] => Err(SecretError::Empty),
            secret if secret.len() < SHORTEST => Err(SecretError::Short(secret.len())),
            secret => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret))),
        }
    }

    /// What is in a file, which others had better not read: the log warns of
    /// that.
    ///
    /// # Errors
    /// [`SecretError`], without the name of the file.
    pub fn read(file: &Path) -> Result<Self, SecretError> {
        let mut secret = Vec::new();
        let opened = File::open(file)?;
        if is_for_others(&opened)? {
            tracing::warn!(
                file = %file.display(),
                "every user of this machine may read the secret; take that from them (chmod o-r)"
            );
        }
        opened.take(LONGEST as u64 + 1).read_to_end(&mut secret)?;
        Self::new(&secret)
    }

    pub(crate) fn key(&self) -> &hmac::Key {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(unix)]
fn is_for_others(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;

    let about = file.metadata()?;
    Ok(about.is_file() && about.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_for_others(_: &File) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn why(secret: &[u8]) -> String {
        Secret::new(secret).unwrap_err().to_string()
    }

    #[test]
    fn a_secret_has_a_length_that_cannot_be_guessed_and_is_no_other_file() {
        assert!(why(b"").contains("empty") && why(b" \n\t\n").contains("empty"));
        assert!(why(b"\n0123456789abcde\n").contains("has 15 bytes"));
        assert!(why(&[b'x'; LONGEST + 1]).contains("another file"));
        assert!(Secret::new(b"0123456789abcdef\n").is_ok());
        assert!(Secret::new(&[b'x'; LONGEST]).is_ok());
    }

    #[test]
    fn a_file_is_read_no_further_than_a_secret_is_long() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        assert!(matches!(Secret::read(&file), Err(SecretError::File(_))));
        assert!(matches!(Secret::read(directory.path()), Err(SecretError::File(_))));
        fs::write(&file, [b'x'; 2 * LONGEST]).unwrap();
        assert!(matches!(Secret::read(&file), Err(SecretError::Long)));
        fs::write(&file, "correct horse battery\n").unwrap();
        assert!(Secret::read(&file).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_noticed() {
        use std::os::unix::fs::PermissionsExt;

        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, others) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            file.as_file().set_permissions(fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_for_others(file.as_file()).unwrap(), others, "{mode:o}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new(b"correct horse battery").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
