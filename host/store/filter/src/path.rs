use serde_json::Value;

use crate::{FilterError, MAX_KEY_BYTES, MAX_KEY_SEGMENTS};

/// A key of a document, dotted when it reaches into sub-objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPath {
    text: String,
    segments: Vec<String>,
}

impl KeyPath {
    /// Reads a key such as `status` or `address.city`.
    ///
    /// # Errors
    /// [`FilterError::BadKey`] for an empty key or segment, one that begins
    /// with `$`, or one over [`MAX_KEY_BYTES`] or [`MAX_KEY_SEGMENTS`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let bad = |reason| {
            let key = text.chars().take(64).collect();
            Err(FilterError::BadKey { key, reason })
        };
        if text.len() > MAX_KEY_BYTES {
            return bad("is too long; 512 bytes are allowed");
        }
        if text.starts_with('$') {
            return bad("begins with \"$\"; operators belong into the value of a key");
        }
        let segments: Vec<String> = text.split('.').map(str::to_owned).collect();
        if segments.len() > MAX_KEY_SEGMENTS {
            return bad("has too many segments; 16 are allowed");
        }
        if segments.iter().any(String::is_empty) {
            return bad("has an empty segment; write it as name.name");
        }
        Ok(Self { text: text.to_owned(), segments })
    }

    /// The key as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The first value that the key reaches, if any.
    pub(crate) fn first<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        let mut first = None;
        self.any(document, &mut |value| {
            first = value;
            value.is_some()
        });
        first
    }

    /// Whether `test` accepts a value that the key reaches; `None` stands
    /// for a missing one. An array on the way reaches several.
    pub(crate) fn any<'a>(
        &self,
        document: &'a Value,
        test: &mut dyn FnMut(Option<&'a Value>) -> bool,
    ) -> bool {
        reach(document, &self.segments, test)
    }
}

fn reach<'a>(
    value: &'a Value,
    segments: &[String],
    test: &mut dyn FnMut(Option<&'a Value>) -> bool,
) -> bool {
    let Some((segment, rest)) = segments.split_first() else {
        return test(Some(value));
    };
    match value {
        Value::Object(fields) => match fields.get(segment) {
            Some(field) => reach(field, rest, test),
            None => test(None),
        },
        Value::Array(items) => match segment.parse::<usize>() {
            Ok(index) => match items.get(index) {
                Some(item) => reach(item, rest, test),
                None => test(None),
            },
            Err(_) if items.is_empty() => test(None),
            Err(_) => items.iter().any(|item| match item {
                Value::Object(_) => reach(item, segments, test),
                _ => test(None),
            }),
        },
        _ => test(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn first(key: &str, document: &Value) -> Option<Value> {
        KeyPath::parse(key).unwrap().first(document).cloned()
    }

    #[test]
    fn a_dotted_key_walks_into_objects_and_arrays() {
        let document = json!({"a": {"b": 1}, "list": [{"x": 5}, {"y": 6}], "scalar": 3});
        assert_eq!(first("a.b", &document), Some(json!(1)));
        assert_eq!(first("list.0.x", &document), Some(json!(5)));
        assert_eq!(first("list.y", &document), Some(json!(6)));
        assert_eq!(first("list.7.x", &document), None);
        assert_eq!(first("scalar.x", &document), None);
    }

    #[test]
    fn keys_that_name_no_field_are_refused() {
        for key in ["", ".", "a..b", "$where", "a."] {
            assert!(matches!(KeyPath::parse(key), Err(FilterError::BadKey { .. })), "{key:?}");
        }
        assert!(KeyPath::parse(&"a.".repeat(400)).is_err());
        assert!(KeyPath::parse(&"a".repeat(MAX_KEY_BYTES + 1)).is_err());
    }
}
