//! What a kind says about itself: the file `NAME.toml` beside `NAME.wasm`.
//!
//! ```toml
//! version = "1.2.0"
//! description = "Finds documents"
//! concurrency = "concurrent"      # or "exclusive": one request at a time
//! termination = "ask"             # or "at-once": it keeps nothing
//!
//! [asks]
//! containers = ["query"]
//! documents = true
//!
//! [limits]
//! memory = "64 MiB"
//! start = "10 s"
//! ```
//!
//! Every key may be left out. Without a manifest a kind asks for what it
//! imports.

use hulynet_settings::{Mistake, Section};

use crate::{Capabilities, WrittenLimits};

/// The largest manifest that is read, in bytes.
pub const LARGEST: usize = 64 * 1024;

/// The longest version, in bytes.
const VERSION_BYTES: usize = 64;
/// The longest description, in bytes.
const DESCRIPTION_BYTES: usize = 1024;

/// What a kind says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its version, for people.
    pub version: Option<String>,
    /// What it is for, in a sentence.
    pub description: Option<String>,
    /// What it asks for.
    pub asks: Capabilities,
    /// The most that it needs: never more than the operator allows.
    pub limits: WrittenLimits,
    /// Whether it takes several requests at a time.
    pub concurrency: Concurrency,
    /// How its containers end.
    pub termination: Termination,
}

/// Whether a container takes several requests at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as its limit allows.
    #[default]
    Concurrent,
    /// One; the others wait in the mailbox.
    Exclusive,
}

/// How a container that nobody needs any more ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Termination {
    /// It is asked, and may answer *not yet*.
    #[default]
    Ask,
    /// It ends without being asked: it keeps nothing that it could lose.
    AtOnce,
}

impl Concurrency {
    const NAMES: [(Self, &'static str); 2] =
        [(Self::Concurrent, "concurrent"), (Self::Exclusive, "exclusive")];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        name(&Self::NAMES, self)
    }
}

impl Termination {
    const NAMES: [(Self, &'static str); 2] = [(Self::Ask, "ask"), (Self::AtOnce, "at-once")];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        name(&Self::NAMES, self)
    }
}

impl Manifest {
    /// Reads a manifest; `file` is what messages call it.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistake> {
        let mut section = Section::parse(file, text)?;
        let manifest = Self {
            version: line(&mut section, "version", VERSION_BYTES)?,
            description: line(&mut section, "description", DESCRIPTION_BYTES)?,
            concurrency: choice(&mut section, "concurrency", &Concurrency::NAMES)?,
            termination: choice(&mut section, "termination", &Termination::NAMES)?,
            asks: match section.section("asks")? {
                Some(mut asks) => {
                    let read = Capabilities::read(&mut asks)?;
                    asks.finish(Capabilities::keys())?;
                    read
                }
                None => Capabilities::default(),
            },
            limits: match section.section("limits")? {
                Some(limits) => own_limits(limits)?,
                None => WrittenLimits::default(),
            },
        };
        let known = ["version", "description", "concurrency", "termination", "asks", "limits"];
        section.finish(known)?;
        Ok(manifest)
    }
}

/// The limits that a kind may set itself.
fn own_limits(section: Section<'_>) -> Result<WrittenLimits, Mistake> {
    let not_its_own = |key: &str| {
        let message = format!("limits.{key} is set by operators only; remove it here");
        section.mistake(section.line(key), message)
    };
    let mistakes = WrittenLimits::OF_OPERATORS.map(|key| (key, not_its_own(key)));
    let read = WrittenLimits::read(section)?;
    let first = read.first_of(&WrittenLimits::OF_OPERATORS);
    match mistakes.into_iter().find(|(key, _)| Some(*key) == first) {
        Some((_, mistake)) => Err(mistake),
        None => Ok(read),
    }
}

/// A text of one line.
fn line(
    section: &mut Section<'_>,
    key: &'static str,
    bytes: usize,
) -> Result<Option<String>, Mistake> {
    let at = section.line(key);
    let text = section.text(key, "a text in quotes")?;
    match text {
        Some(text) if text.len() > bytes || text.contains(char::is_control) => Err(section
            .mistake(
                at,
                format!("{key} takes one line of at most {bytes} bytes without controls"),
            )),
        text => Ok(text),
    }
}

/// One of some words; the first when nothing is said.
fn choice<T: Copy>(
    section: &mut Section<'_>,
    key: &'static str,
    names: &[(T, &'static str); 2],
) -> Result<T, Mistake> {
    let [(default, first), (_, second)] = names;
    let at = section.line(key);
    let takes = format!("{first:?} or {second:?}");
    let Some(text) = section.text(key, &takes)? else { return Ok(*default) };
    match names.iter().find(|(_, name)| *name == text) {
        Some((value, _)) => Ok(*value),
        None => Err(section.mistake(at, format!("{key} takes {takes}, not {text:?}"))),
    }
}

fn name<T: PartialEq>(names: &[(T, &'static str)], value: T) -> &'static str {
    names.iter().find(|(other, _)| *other == value).map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Capability;

    fn parse(text: &str) -> Result<Manifest, String> {
        Manifest::parse("echo.toml", text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_manifest_says_what_the_kind_is_and_needs() {
        let manifest = parse(
            "version = \"1.2.0\"\ndescription = \"Finds documents\"\nconcurrency = \"exclusive\"\n\
             termination = \"at-once\"\n\n[asks]\ncontainers = [\"query\"]\ndocuments = true\n\n\
             [limits]\nmemory = \"64 MiB\"\nstart = \"10 s\"\n",
        )
        .unwrap();
        assert_eq!(manifest.version.as_deref(), Some("1.2.0"));
        assert_eq!(manifest.concurrency, Concurrency::Exclusive);
        assert_eq!(manifest.termination, Termination::AtOnce);
        assert!(manifest.asks.allow(Capability::Containers, "query"));
        assert_eq!(manifest.limits.memory, Some(64 << 20));
    }

    #[test]
    fn everything_may_be_left_out() {
        assert_eq!(parse(""), Ok(Manifest::default()));
        assert_eq!(parse("[asks]\n[limits]\n"), Ok(Manifest::default()));
    }

    #[test]
    fn every_mistake_points_at_its_line_and_says_what_is_right() {
        for (text, told) in [
            ("version = 1", "echo.toml:1: version takes a text in quotes, not an integer"),
            ("\nversion = \"a\\nb\"", "echo.toml:2: version takes one line of at most 64 bytes"),
            (
                "\n\nconcurrency = \"single\"",
                "echo.toml:3: concurrency takes \"concurrent\" or \"exclusive\", not \"single\"",
            ),
            (
                "termination = true",
                "echo.toml:1: termination takes \"ask\" or \"at-once\", not true",
            ),
            ("[ask]\nsecrets = []", "echo.toml:1: there is no key \"ask\", did you mean \"asks\"?"),
            ("[asks]\ndocument = true", "echo.toml:2: there is no key \"asks.document\", did you"),
            ("[limits]\n\nmemory = \"much\"", "echo.toml:3: limits.memory takes a size such as"),
            (
                "[limits]\nmailbox = 1\ncrashes = 1000000",
                "echo.toml:3: limits.crashes is set by operators only; remove it here",
            ),
            ("asks = 1", "echo.toml:1: asks takes a table, not an integer"),
            ("version = \"1\"\nversion = \"2\"", "echo.toml:2: duplicate key"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[test]
    fn the_example_of_the_readme_is_a_manifest() {
        let readme = include_str!("../../../../README.md");
        let example =
            readme.split("```toml\n").find(|text| text.starts_with("version = ")).unwrap();
        let text = example.split("```").next().unwrap();
        let manifest = Manifest::parse("query.toml", text).unwrap();
        assert_eq!(manifest.asks.to_string(), "containers = [\"query\"], documents = true");
    }
}
