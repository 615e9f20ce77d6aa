//! What can be imported, as it is named on the command line.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where transactions come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The history of a git repository.
    Git(PathBuf),
    /// A file with transactions.
    File {
        /// The file.
        path: PathBuf,
        /// One a line, or all in an array.
        form: Form,
        /// Compressed with Zstandard.
        zstd: bool,
    },
}

/// How a file holds its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One in each line.
    Lines,
    /// All in one array.
    Array,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(directory) = text.strip_prefix("git:") {
            let directory = if directory.is_empty() { "." } else { directory };
            return Ok(Self::Git(directory.into()));
        }
        let (name, zstd) = text.strip_suffix(".zst").map_or((text, false), |name| (name, true));
        let form = match Path::new(name).extension().and_then(|extension| extension.to_str()) {
            Some("jsonl") => Form::Lines,
            Some("json") => Form::Array,
            _ => {
                return Err(format!(
                    "{text:?} is not a source; write git:DIR, FILE.jsonl[.zst] or FILE.json[.zst]"
                ));
            }
        };
        Ok(Self::File { path: text.into(), form, zstd })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git(directory) => write!(f, "git:{}", directory.display()),
            Self::File { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_by_its_beginning_or_its_ending() {
        assert_eq!("git:".parse(), Ok(Source::Git(".".into())));
        assert_eq!("git:a/b.json".parse(), Ok(Source::Git("a/b.json".into())));
        let file = |path: &str, form, zstd| Ok(Source::File { path: path.into(), form, zstd });
        assert_eq!("a.jsonl".parse(), file("a.jsonl", Form::Lines, false));
        assert_eq!("d/a.jsonl.zst".parse(), file("d/a.jsonl.zst", Form::Lines, true));
        assert_eq!("a.json.zst".parse(), file("a.json.zst", Form::Array, true));
        assert!("a.csv".parse::<Source>().unwrap_err().contains("git:DIR"));
        assert!("".parse::<Source>().is_err());
    }
}
