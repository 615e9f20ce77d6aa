//! Who vouches for a kind: Ed25519 signatures in `NAME.sig`, one a line, beside
//! `NAME.wasm`.
//!
//! A signature covers the kind's name, its code and its manifest: a file that
//! is renamed, so that it would get another kind's grants, or whose manifest
//! asks for more, is not signed any more.

use std::{fmt, str::FromStr};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hulynet_protocol::Kind;
use sha2::{Digest, Sha256};

/// The largest file of signatures that is read, in bytes.
pub const LARGEST: usize = 64 * 1024;

/// What a public key begins with where it is written.
const PUBLIC: &str = "ed25519:";
/// What a private key begins with where it is written.
const PRIVATE: &str = "ed25519-private:";

/// A key that signatures are checked with, written `ed25519:` and 64
/// hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A key that signatures are made with. Whoever has it speaks for its owner.
pub struct PrivateKey(SigningKey);

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The kind: the stem of the file's name.
    pub kind: &'a Kind,
    /// The content of `NAME.wasm`.
    pub code: &'a [u8],
    /// The content of `NAME.toml`, if there is one.
    pub manifest: Option<&'a str>,
}

/// A text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is a private key.
    #[error("it is a private key; give the public one, and keep the private one to yourself")]
    Private,
    /// It is a public key.
    #[error("it is a public key; give the private one")]
    Public,
    /// It is neither.
    #[error("it is no key; a key is written {PUBLIC} or {PRIVATE} and 64 hexadecimal digits")]
    Neither,
}

/// Why a kind is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// There is no signature.
    #[error(
        "is not signed, and only what a trusted key signed is served; sign that file with 'hulynet sign'"
    )]
    Unsigned,
    /// A line of the signatures is none.
    #[error(
        "{0}.sig:{1}: a signature is a public key, a space and 128 hexadecimal digits; sign it again"
    )]
    Malformed(Kind, usize),
    /// No signature is of a trusted key.
    #[error("is signed by {}, which is not trusted; have it signed by a trusted key, or add the key to trusted-keys", show_keys(.0))]
    Unknown(Vec<PublicKey>),
    /// A signature of a trusted key is of something else.
    #[error(
        "is wrongly signed: the signature of {0} is of another name, code or manifest; sign it again, or restore the signed files"
    )]
    Wrong(PublicKey),
}

/// Several keys in a sentence.
#[must_use]
pub fn show_keys(keys: &[PublicKey]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

impl Subject<'_> {
    fn message(&self) -> String {
        let manifest = self.manifest.map_or_else(|| "-".to_owned(), |text| digest(text.as_bytes()));
        format!("hulynet kind 1\n{}\n{}\n{manifest}\n", self.kind, digest(self.code))
    }
}

/// SHA-256 in hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl PrivateKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&bytes))
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The key as it is kept in a file.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PRIVATE}{}", hex(self.0.as_bytes()))
    }

    /// Signs: a line for the file of signatures.
    #[must_use]
    pub fn sign(&self, subject: &Subject<'_>) -> String {
        let signature = self.0.sign(subject.message().as_bytes());
        format!("{} {}\n", self.public(), hex(&signature.to_bytes()))
    }
}

/// Whose a line of signatures is, and what it says; `None` when it is no signature.
fn signature(line: &str) -> Option<(PublicKey, [u8; 64])> {
    let (key, signature) = line.split_once(' ')?;
    Some((key.parse().ok()?, unhex(signature.trim())?))
}

/// The content of `NAME.sig` with one more signature; the former one of the same
/// key goes, and so does what is none. Answers how many lines of the latter there were.
#[must_use]
pub fn add(key: &PrivateKey, subject: &Subject<'_>, signatures: Option<&str>) -> (String, usize) {
    let (own, mut dropped) = (key.public(), 0);
    let mut text = String::new();
    for line in signatures.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
        match signature(line) {
            Some((other, _)) if other != own => text.extend([line, "\n"]),
            Some(_) => {}
            None => dropped += 1,
        }
    }
    text.push_str(&key.sign(subject));
    (text, dropped)
}

/// The trusted key that signed a kind; `signatures` is the content of
/// `NAME.sig`.
///
/// # Errors
/// [`Distrust`] says what is wrong and what to do.
pub fn verify(
    subject: &Subject<'_>,
    signatures: Option<&str>,
    trusted: &[PublicKey],
) -> Result<PublicKey, Distrust> {
    let kind = subject.kind;
    let mut unknown = Vec::new();
    let mut wrong = None;
    for (index, line) in signatures.unwrap_or_default().lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (key, signature) =
            signature(line).ok_or_else(|| Distrust::Malformed(kind.clone(), index + 1))?;
        if !trusted.contains(&key) {
            unknown.push(key);
            continue;
        }
        let signature = Signature::from_bytes(&signature);
        let verified = VerifyingKey::from_bytes(&key.0)
            .and_then(|key| key.verify_strict(subject.message().as_bytes(), &signature));
        match verified {
            Ok(()) => return Ok(key),
            Err(_) => wrong = Some(key),
        }
    }
    Err(match wrong {
        Some(key) => Distrust::Wrong(key),
        None if unknown.is_empty() => Distrust::Unsigned,
        None => Distrust::Unknown(unknown),
    })
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.starts_with(PRIVATE) {
            return Err(KeyError::Private);
        }
        let bytes = text.strip_prefix(PUBLIC).and_then(unhex).ok_or(KeyError::Neither)?;
        VerifyingKey::from_bytes(&bytes).map(|_| Self(bytes)).map_err(|_| KeyError::Neither)
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.starts_with(PUBLIC) {
            return Err(KeyError::Public);
        }
        text.strip_prefix(PRIVATE).and_then(unhex).map(Self::from_random).ok_or(KeyError::Neither)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", hex(&self.0))
    }
}

impl fmt::Debug for PrivateKey {
    /// Shows whose it is and not what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_random([seed; 32])
    }

    fn echo() -> Kind {
        Kind::new("echo").unwrap()
    }

    fn subject<'a>(kind: &'a Kind, code: &'a [u8], manifest: Option<&'a str>) -> Subject<'a> {
        Subject { kind, code, manifest }
    }

    #[test]
    fn what_a_trusted_key_signed_is_trusted() {
        let kind = echo();
        let signed = subject(&kind, b"code", Some("version = \"1\""));
        let both = format!("{}\n{}", key(1).sign(&signed), key(2).sign(&signed));
        let trusted = [key(2).public()];
        assert_eq!(verify(&signed, Some(&both), &trusted), Ok(key(2).public()));
    }

    #[test]
    fn another_name_code_or_manifest_is_not_what_was_signed() {
        let (kind, other) = (echo(), Kind::new("session").unwrap());
        let manifest = Some("version = \"1\"");
        let signature = key(1).sign(&subject(&kind, b"code", manifest));
        let trusted = [key(1).public()];
        for forged in [
            subject(&other, b"code", manifest),
            subject(&kind, b"another", manifest),
            subject(&kind, b"code", Some("version = \"2\"")),
            subject(&kind, b"code", None),
        ] {
            let verdict = verify(&forged, Some(&signature), &trusted);
            assert_eq!(verdict, Err(Distrust::Wrong(key(1).public())), "{forged:?}");
        }
    }

    #[test]
    fn every_distrust_has_its_reason() {
        let kind = echo();
        let signed = subject(&kind, b"code", None);
        let trusted = [key(1).public()];
        assert_eq!(verify(&signed, None, &trusted), Err(Distrust::Unsigned));
        assert_eq!(verify(&signed, Some("\n"), &trusted), Err(Distrust::Unsigned));
        let foreign = key(2).sign(&signed);
        let unknown = Err(Distrust::Unknown(vec![key(2).public()]));
        assert_eq!(verify(&signed, Some(&foreign), &trusted), unknown);
        for line in ["x", "ed25519:00 11", &foreign[..foreign.len() - 2], &"é".repeat(100)] {
            let text = format!("\n{line}");
            let malformed = Err(Distrust::Malformed(kind.clone(), 2));
            assert_eq!(verify(&signed, Some(&text), &trusted), malformed, "{line}");
        }
    }

    #[test]
    fn keys_read_as_they_are_written_and_are_not_mistaken_for_each_other() {
        let (private, public) = (key(3).reveal(), key(3).public().to_string());
        assert_eq!(private.parse::<PrivateKey>().unwrap().public(), key(3).public());
        assert_eq!(format!("{public}\n").parse::<PublicKey>().unwrap(), key(3).public());
        assert_eq!(private.parse::<PublicKey>().unwrap_err(), KeyError::Private);
        assert_eq!(public.parse::<PrivateKey>().unwrap_err(), KeyError::Public);
        assert_eq!("x".parse::<PublicKey>().unwrap_err(), KeyError::Neither);
        assert!(!format!("{:?}", key(3)).contains(&private[PRIVATE.len()..]));
    }

    #[test]
    fn one_more_signature_replaces_that_of_its_key_and_what_is_none() {
        let kind = Kind::new("echo").unwrap();
        let subject = Subject { kind: &kind, code: b"code", manifest: None };
        let [mine, other] = [1, 2].map(|byte| PrivateKey::from_random([byte; 32]));
        let former = format!("garbage\n{}\n{}half", other.sign(&subject), mine.sign(&subject));
        let (signatures, dropped) = add(&mine, &subject, Some(&former));
        assert_eq!(signatures, format!("{}{}", other.sign(&subject), mine.sign(&subject)));
        assert_eq!(dropped, 2);
        for key in [mine, other] {
            verify(&subject, Some(&signatures), &[key.public()]).unwrap();
        }
    }
}
