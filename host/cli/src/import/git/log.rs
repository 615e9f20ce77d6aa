//! Reads the output of `git log` as a stream.
//!
//! Fields are separated by NUL, which occurs neither in a message nor in a
//! path, so quoted paths, line breaks and other bytes need no care. What is
//! not UTF-8 is read with replacement characters. Memory is bounded: of a
//! field that is longer than its limit the rest is dropped, and of a commit's
//! paths only the first are kept.

use std::io::{self, BufRead};

/// How `git log` is asked to print a commit; with `-z --name-only` the paths
/// follow, each ended by NUL, the first one after a line break.
pub(super) const FORMAT: &str = "--format=%x00%H%x00%an%x00%ae%x00%at%x00%ct%x00%s%x00%b";

/// The most paths kept of one commit.
pub(super) const PATHS: usize = 100;

/// The longest message body or subject that is kept, in bytes.
const MESSAGE_BYTES: usize = 64 << 10;

/// The longest other field that is kept, in bytes; paths are at most this long
/// on common systems.
const FIELD_BYTES: usize = 4 << 10;

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) hash: String,
    pub(super) author: String,
    pub(super) email: String,
    /// Seconds since 1970; `None` if git has something else.
    pub(super) authored: Option<i64>,
    /// Seconds since 1970; `None` if git has something else.
    pub(super) committed: Option<i64>,
    pub(super) subject: String,
    pub(super) body: String,
    pub(super) paths: Vec<String>,
}

/// Reads commits until the end of the output.
pub(super) struct Commits<R> {
    reader: R,
    /// The NUL that begins the next commit was read with the last one.
    begun: bool,
}

impl<R: BufRead> Commits<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, begun: false }
    }

    fn next(&mut self) -> io::Result<Option<Commit>> {
        if !std::mem::take(&mut self.begun) && self.field(FIELD_BYTES)?.is_none() {
            return Ok(None);
        }
        // The NUL after the last commit begins nothing.
        let Some(hash) = self.field(FIELD_BYTES)? else { return Ok(None) };
        let mut commit = Commit {
            hash,
            author: self.required(FIELD_BYTES)?,
            email: self.required(FIELD_BYTES)?,
            authored: self.required(FIELD_BYTES)?.parse().ok(),
            committed: self.required(FIELD_BYTES)?.parse().ok(),
            subject: self.required(MESSAGE_BYTES)?,
            body: self.required(MESSAGE_BYTES)?,
            paths: Vec::new(),
        };
        if commit.hash.len() < 40 || !commit.hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(io::Error::other("git log printed something else than commits"));
        }
        let mut first = true;
        while let Some(path) = self.field(FIELD_BYTES)? {
            if path.is_empty() {
                self.begun = true;
                break;
            }
            let path = if std::mem::take(&mut first) {
                path.strip_prefix('\n').unwrap_or(&path)
            } else {
                &path
            };
            if commit.paths.len() < PATHS {
                commit.paths.push(path.to_owned());
            }
        }
        Ok(Some(commit))
    }

    fn required(&mut self, limit: usize) -> io::Result<String> {
        self.field(limit)?
            .ok_or_else(|| io::Error::other("the output of git log ends in the middle of a commit"))
    }

    /// The text up to the next NUL, or the end; `None` at the end.
    fn field(&mut self, limit: usize) -> io::Result<Option<String>> {
        let mut field = Vec::new();
        let mut any = false;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = buffer.iter().position(|byte| *byte == 0);
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            let room = limit.saturating_sub(field.len());
            field.extend(part.iter().take(room));
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        Ok(any.then(|| String::from_utf8_lossy(&field).into_owned()))
    }
}

impl<R: BufRead> Iterator for Commits<R> {
    type Item = io::Result<Commit>;

    fn next(&mut self) -> Option<Self::Item> {
        Self::next(self).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "54869b4af2b82b93d3b0366b876c017bdd3f7181";

    fn commits(text: &[u8]) -> Vec<io::Result<Commit>> {
        // A small buffer, so that fields cross its end.
        Commits::new(io::BufReader::with_capacity(7, text)).collect()
    }

    fn head(subject: &str, body: &str) -> String {
        format!("\0{HASH}\0Ann\0ann@x\0\x31000\0\x32000\0{subject}\0{body}\0")
    }

    #[test]
    fn commits_with_and_without_paths_are_told_apart() {
        let text = format!(
            "{}{}\na b\0\"q\"\n.txt\0{}",
            head("", ""),
            head("s", "line 1\n\nline 2\n"),
            head("merge", "")
        );
        let commits: Vec<_> = commits(text.as_bytes()).into_iter().map(Result::unwrap).collect();
        assert_eq!(commits.len(), 3);
        assert_eq!((commits[0].subject.as_str(), commits[0].paths.len()), ("", 0));
        assert_eq!(commits[1].body, "line 1\n\nline 2\n");
        assert_eq!(commits[1].paths, ["a b", "\"q\"\n.txt"]);
        assert_eq!((commits[1].authored, commits[1].committed), (Some(1000), Some(2000)));
        assert_eq!((commits[2].subject.as_str(), commits[2].paths.len()), ("merge", 0));
    }

    #[test]
    fn paths_of_the_last_commit_end_with_the_output() {
        let commits = commits(format!("{}\na\0b\0", head("s", "")).as_bytes());
        assert_eq!(commits.len(), 1);
        assert_eq!(commits[0].as_ref().unwrap().paths, ["a", "b"]);
    }

    #[test]
    fn no_output_is_no_commits() {
        assert!(commits(b"").is_empty());
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        let mut text = format!("\0{HASH}\0J").into_bytes();
        text.extend(b"\xf6rg\0j@x\0x\0-1\0s\0\0");
        let commits = commits(&text);
        let commit = commits[0].as_ref().unwrap();
        assert_eq!(commit.author, "J\u{fffd}rg");
        assert_eq!((commit.authored, commit.committed), (None, Some(-1)));
    }

    #[test]
    fn long_fields_and_many_paths_are_cut() {
        let long = "x".repeat(3 * MESSAGE_BYTES);
        let paths = "p\0".repeat(3 * PATHS);
        let commits =
            commits(format!("{}\n{paths}{}", head("s", &long), head("next", "")).as_bytes());
        assert_eq!(commits[0].as_ref().unwrap().body.len(), MESSAGE_BYTES);
        assert_eq!(commits[0].as_ref().unwrap().paths.len(), PATHS);
        assert_eq!(commits[1].as_ref().unwrap().subject, "next");
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_an_error() {
        assert!(commits(format!("\0{HASH}\0Ann").as_bytes())[0].is_err());
        assert!(commits(b"\0nonsense\0a\0b\0\x31\0\x32\0s\0b\0")[0].is_err());
    }
}
