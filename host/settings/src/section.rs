//! A table of a TOML file, read key by key: each mistake names the file, the
//! line, what was found and what is taken instead.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what is right.
    pub message: String,
}

/// A value is not what its key takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is of another type, named here.
    Type(&'static str),
    /// It cannot be read, for the reason given, if there is more to say.
    Value(String, Option<String>),
}

/// One table: its keys are taken out one by one, and whatever is left in the
/// end is unknown.
#[derive(Debug)]
pub struct Section<'a> {
    file: &'a str,
    text: &'a str,
    /// The keys that lead here, each followed by a dot.
    path: String,
    line: usize,
    entries: BTreeMap<String, (usize, DeValue<'a>)>,
}

impl<'a> Section<'a> {
    /// The whole file; `file` is what messages call it.
    ///
    /// # Errors
    /// The first line that is no TOML.
    pub fn parse(file: &'a str, text: &'a str) -> Result<Self, Mistake> {
        let table = DeTable::parse(text).map_err(|error| Mistake {
            file: file.to_owned(),
            line: line_of(text, error.span().unwrap_or_default()),
            message: error.message().replace('\n', "; "),
        })?;
        Ok(Self::new(file, text, String::new(), 1, table.into_inner()))
    }

    fn new(file: &'a str, text: &'a str, path: String, line: usize, table: DeTable<'a>) -> Self {
        let entry = |(key, value): (Spanned<Cow<'a, str>>, Spanned<DeValue<'a>>)| {
            let line = line_of(text, key.span());
            (key.into_inner().into_owned(), (line, value.into_inner()))
        };
        Self { file, text, path, line, entries: table.into_iter().map(entry).collect() }
    }

    /// Takes a value and reads it. `takes` says in messages what it must be.
    ///
    /// # Errors
    /// What `read` refuses, with the line.
    pub fn take<T>(
        &mut self,
        key: &str,
        takes: &str,
        read: impl FnOnce(DeValue<'a>) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Mistake> {
        let Some((line, value)) = self.entries.remove(key) else { return Ok(None) };
        let key = format!("{}{key}", self.path);
        let wrong = |wrong| {
            let message = match wrong {
                Wrong::Type(found) => format!("{key} takes {takes}, not {found}"),
                Wrong::Value(found, None) => format!("{key} takes {takes}, not {found:?}"),
                Wrong::Value(found, Some(cause)) => {
                    format!("{key} takes {takes}, not {found:?}: {cause}")
                }
            };
            self.mistake(line, message)
        };
        read(value).map(Some).map_err(wrong)
    }

    /// Takes a text.
    ///
    /// # Errors
    /// Another type.
    pub fn text(&mut self, key: &str, takes: &str) -> Result<Option<String>, Mistake> {
        self.take(key, takes, text)
    }

    /// Takes `true` or `false`.
    ///
    /// # Errors
    /// Another type.
    pub fn switch(&mut self, key: &str) -> Result<Option<bool>, Mistake> {
        self.take(key, "true or false", |value| match value {
            DeValue::Boolean(switch) => Ok(switch),
            other => Err(Wrong::Type(type_name(&other))),
        })
    }

    /// Takes a list of texts.
    ///
    /// # Errors
    /// Another type, also of an item.
    pub fn texts(&mut self, key: &str, takes: &str) -> Result<Option<Vec<String>>, Mistake> {
        self.take(key, takes, texts)
    }

    /// Takes a table.
    ///
    /// # Errors
    /// Another type.
    pub fn section(&mut self, key: &str) -> Result<Option<Section<'a>>, Mistake> {
        let (file, text, path) = (self.file, self.text, format!("{}{key}.", self.path));
        let line = self.entries.get(key).map_or(self.line, |(line, _)| *line);
        self.take(key, "a table", |value| match value {
            DeValue::Table(table) => Ok(Section::new(file, text, path, line, table)),
            other => Err(Wrong::Type(type_name(&other))),
        })
    }

    /// The keys that were not taken yet, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// The line of a key that was not taken yet, or of the table itself.
    #[must_use]
    pub fn line(&self, key: &str) -> usize {
        self.entries.get(key).map_or(self.line, |(line, _)| *line)
    }

    /// A mistake on a line of this file.
    #[must_use]
    pub fn mistake(&self, line: usize, message: String) -> Mistake {
        Mistake { file: self.file.to_owned(), line, message }
    }

    /// Everything known was taken.
    ///
    /// # Errors
    /// The first key that was not, with the most similar of those `known`.
    pub fn finish<'k>(self, known: impl IntoIterator<Item = &'k str>) -> Result<(), Mistake> {
        let left = self.entries.iter().min_by_key(|(_, (line, _))| *line);
        let Some((key, (line, _))) = left else { return Ok(()) };
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match nearest(key, known.iter().copied()) {
            Some(near) => format!(", did you mean {near:?}?"),
            None => String::new(),
        };
        let message =
            format!("there is no key \"{}{key}\"{hint}; known: {}", self.path, known.join(", "));
        Err(self.mistake(*line, message))
    }
}

/// A text, or what it is instead.
///
/// # Errors
/// Another type.
pub fn text(value: DeValue<'_>) -> Result<String, Wrong> {
    match value {
        DeValue::String(text) => Ok(text.into_owned()),
        other => Err(Wrong::Type(type_name(&other))),
    }
}

/// A list of texts, or what it is instead.
///
/// # Errors
/// Another type, also of an item.
pub fn texts(value: DeValue<'_>) -> Result<Vec<String>, Wrong> {
    match value {
        DeValue::Array(items) => items.into_iter().map(|item| text(item.into_inner())).collect(),
        other => Err(Wrong::Type(type_name(&other))),
    }
}

/// The line on which a span begins, from 1.
#[must_use]
pub fn line_of(text: &str, span: Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
}

/// The name that is most like this one, if any is like it at all.
pub fn nearest<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let key = key.to_ascii_lowercase().replace('_', "-");
    let scored = known.map(|name| (strsim::jaro_winkler(&key, name), name));
    let near = scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0));
    near.map(|(_, name)| name)
}

/// The name that this one misspells, if it is hardly another: at most one in four of
/// its bytes is wrong.
pub fn misspelt<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let apart = known.map(|known| (strsim::osa_distance(name, known), known));
    let near = apart.filter(|(apart, _)| (1..=name.len() / 4).contains(apart));
    near.min_by_key(|(apart, _)| *apart).map(|(_, known)| known)
}

/// What a value is, for messages.
#[must_use]
pub fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<String>, String> {
        let mut section = Section::parse("k.toml", text).map_err(|error| error.to_string())?;
        let read = (|| {
            let mut inner = section.section("inner")?;
            let name = match &mut inner {
                Some(inner) => inner.text("name", "a name")?,
                None => None,
            };
            inner.map_or(Ok(()), |inner| inner.finish(["name", "other"]))?;
            section.finish(["inner"])?;
            Ok(name)
        })();
        read.map_err(|error: Mistake| error.to_string())
    }

    #[test]
    fn a_value_stands_where_its_keys_say() {
        assert_eq!(read("[inner]\nname = \"x\"\n"), Ok(Some("x".to_owned())));
        assert_eq!(read("inner = { name = \"x\" }"), Ok(Some("x".to_owned())));
        assert_eq!(read(""), Ok(None));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        for (text, told) in [
            ("a = = 1", "k.toml:1: "),
            ("\n\n[inner]\nname = 1", "k.toml:4: inner.name takes a name, not an integer"),
            ("\ninner = 1", "k.toml:2: inner takes a table, not an integer"),
            (
                "[inner]\nnam = 1",
                "k.toml:2: there is no key \"inner.nam\", did you mean \"name\"?; known: name, other",
            ),
            ("zz = 1", "k.toml:1: there is no key \"zz\"; known: inner"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
