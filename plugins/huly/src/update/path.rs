//! Dotted paths into a document: `a.b.0.c`.

use serde_json::{Map, Value};

use super::UpdateError;
use crate::value::type_name;

/// Longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 1024;

/// Most segments of a path. A path may create the objects it goes through, so
/// this bounds how deep one update can make a document.
pub const MAX_PATH_SEGMENTS: usize = 32;

/// A checked path: at least one segment, none of them empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(String);

/// Where a path leads: the container of its last segment, and that segment.
pub(super) enum Slot<'a> {
    /// A field of an object, present or not.
    Field(&'a mut Map<String, Value>, &'a str),
    /// A present element of an array.
    Element(&'a mut Value),
}

impl Path {
    pub(super) fn parse(text: &str) -> Result<Self, UpdateError> {
        let refuse = |reason| Err(UpdateError::Path { path: shorten(text), reason });
        if text.len() > MAX_PATH_BYTES {
            return refuse("is longer than 1024 bytes");
        }
        if text.split('.').any(str::is_empty) {
            return refuse("has an empty segment");
        }
        if text.split('.').count() > MAX_PATH_SEGMENTS {
            return refuse("has more than 32 segments");
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The slot, creating the objects on the way; a null on the way counts as
    /// missing. An error if a scalar is in the way or an index is not there.
    fn reach<'a>(&'a self, document: &'a mut Map<String, Value>) -> Result<Slot<'a>, UpdateError> {
        let mut segments = self.0.split('.');
        let Some(first) = segments.next() else {
            return Err(UpdateError::Path { path: self.0.clone(), reason: "is empty" });
        };
        let mut slot = Slot::Field(document, first);
        for segment in segments {
            let value = match slot {
                Slot::Field(fields, key) => fields.entry(key).or_insert(Value::Null),
                Slot::Element(element) => element,
            };
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            slot = self.enter(value, segment)?.ok_or_else(|| self.no_such_element(segment))?;
        }
        Ok(slot)
    }

    /// The value of the path; a missing one becomes null.
    pub(super) fn slot<'a>(
        &'a self,
        document: &'a mut Map<String, Value>,
    ) -> Result<&'a mut Value, UpdateError> {
        Ok(match self.reach(document)? {
            Slot::Field(fields, key) => fields.entry(key).or_insert(Value::Null),
            Slot::Element(element) => element,
        })
    }

    /// Sets the value of the path.
    pub(super) fn put(
        &self,
        document: &mut Map<String, Value>,
        value: Value,
    ) -> Result<(), UpdateError> {
        *self.slot(document)? = value;
        Ok(())
    }

    /// The slot if everything on the way is there, creating nothing.
    pub(super) fn find<'a>(
        &'a self,
        document: &'a mut Map<String, Value>,
    ) -> Result<Option<Slot<'a>>, UpdateError> {
        let mut segments = self.0.split('.');
        let Some(first) = segments.next() else { return Ok(None) };
        let mut slot = Slot::Field(document, first);
        for segment in segments {
            let value = match slot {
                Slot::Field(fields, key) => match fields.get_mut(key) {
                    Some(value) if !value.is_null() => value,
                    _ => return Ok(None),
                },
                Slot::Element(element) => element,
            };
            match self.enter(value, segment)? {
                Some(next) => slot = next,
                None => return Ok(None),
            }
        }
        Ok(Some(slot))
    }

    fn enter<'a>(
        &self,
        value: &'a mut Value,
        segment: &'a str,
    ) -> Result<Option<Slot<'a>>, UpdateError> {
        match value {
            Value::Object(fields) => Ok(Some(Slot::Field(fields, segment))),
            Value::Array(items) => {
                let element = segment.parse::<usize>().ok().and_then(|index| items.get_mut(index));
                Ok(element.map(Slot::Element))
            }
            other => Err(UpdateError::InTheWay {
                path: self.0.clone(),
                segment: segment.to_owned(),
                found: type_name(other),
            }),
        }
    }

    fn no_such_element(&self, segment: &str) -> UpdateError {
        UpdateError::NoSuchElement { path: self.0.clone(), segment: segment.to_owned() }
    }
}

/// A path fit for an error message.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { panic!("not an object") };
        fields
    }

    fn set(document: Value, path: &str) -> Result<Value, UpdateError> {
        let mut document = fields(document);
        let path = Path::parse(path)?;
        path.put(&mut document, json!("new"))?;
        Ok(Value::Object(document))
    }

    #[test]
    fn a_path_creates_the_objects_on_its_way() {
        assert_eq!(set(json!({}), "a.b.c").unwrap(), json!({"a": {"b": {"c": "new"}}}));
        assert_eq!(set(json!({"a": null}), "a.b").unwrap(), json!({"a": {"b": "new"}}));
    }

    #[test]
    fn a_number_is_an_index_in_an_array_and_a_key_in_an_object() {
        assert_eq!(
            set(json!({"a": [1, {"b": 2}]}), "a.1.b").unwrap(),
            json!({"a": [1, {"b": "new"}]})
        );
        assert_eq!(set(json!({"a": {}}), "a.1").unwrap(), json!({"a": {"1": "new"}}));
    }

    #[test]
    fn an_element_that_is_not_there_is_refused() {
        for path in ["a.2", "a.99999999999999999999", "a.-1", "a.x"] {
            assert!(
                matches!(set(json!({"a": [1, 2]}), path), Err(UpdateError::NoSuchElement { .. })),
                "{path}"
            );
        }
    }

    #[test]
    fn a_scalar_in_the_way_is_refused() {
        let error = set(json!({"a": {"b": 1}}), "a.b.c").unwrap_err();
        assert_eq!(
            error.to_string(),
            "path `a.b.c` cannot reach `c`: a number is in the way; set that key as a whole first"
        );
    }

    #[test]
    fn empty_long_and_deep_paths_are_refused() {
        for path in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            &"a".repeat(MAX_PATH_BYTES + 1),
            &["a"; MAX_PATH_SEGMENTS + 1].join("."),
        ] {
            assert!(matches!(Path::parse(path), Err(UpdateError::Path { .. })), "{path}");
        }
        assert!(Path::parse(&["a"; MAX_PATH_SEGMENTS].join(".")).is_ok());
    }

    #[test]
    fn a_search_creates_nothing() {
        let mut document = fields(json!({"a": null}));
        assert!(Path::parse("a.b").unwrap().find(&mut document).unwrap().is_none());
        assert!(Path::parse("x.y").unwrap().find(&mut document).unwrap().is_none());
        assert_eq!(Value::Object(document), json!({"a": null}));
    }
}
