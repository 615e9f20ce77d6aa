use serde_json::{Map, Value};

use crate::{FilterError, KeyPath, MAX_KEYS};

/// Which fields of a document an answer carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Whether the named fields are kept (`1`) or left out (`0`).
    keep: bool,
    fields: Node,
}

/// The named fields as a tree; a node without children names its whole value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    children: Vec<(String, Node)>,
}

impl Projection {
    /// Reads `{"title": 1, "address.city": 1}` (only these, and always `_id`
    /// and `_class`) or `{"description": 0}` (all but these). Arrays on the
    /// way of a dotted key are projected element by element.
    ///
    /// # Errors
    /// [`FilterError`] for a value other than `0` and `1`, or both in one
    /// projection.
    pub fn parse(projection: &Value) -> Result<Self, FilterError> {
        let wrong = |place: String, expected| FilterError::WrongType { place, expected };
        let Value::Object(named) = projection else {
            return Err(wrong("projection".to_owned(), "an object of keys with 0 or 1"));
        };
        if named.len() > MAX_KEYS {
            return Err(FilterError::TooLarge { what: "projection keys", limit: MAX_KEYS });
        }
        let mut fields = Node::default();
        let mut kept = None;
        for (key, flag) in named {
            let place = || format!("projection.{key}");
            let keep = match flag.as_i64() {
                Some(1) => true,
                Some(0) => false,
                _ => return Err(wrong(place(), "0 or 1")),
            };
            if *kept.get_or_insert(keep) != keep {
                return Err(wrong(place(), "the same as the others: all 0 or all 1"));
            }
            fields.add(KeyPath::parse(key)?.segments());
        }
        let keep = kept.unwrap_or(false);
        if keep {
            fields.add(&["_id".to_owned()]);
            fields.add(&["_class".to_owned()]);
        }
        Ok(Self { keep, fields })
    }

    /// The document with only the fields that are asked for.
    #[must_use]
    pub fn apply(&self, mut document: Value) -> Value {
        if self.keep {
            self.fields.keep(document)
        } else {
            self.fields.leave_out(&mut document);
            document
        }
    }
}

impl Node {
    fn add(&mut self, segments: &[String]) {
        let Some((segment, rest)) = segments.split_first() else {
            self.children.clear();
            return;
        };
        match self.children.iter_mut().find(|(name, _)| name == segment) {
            // The whole value is named already; a part of it adds nothing.
            Some((_, child)) if child.children.is_empty() => {}
            Some((_, child)) => child.add(rest),
            None => {
                let mut child = Self::default();
                child.add(rest);
                self.children.push((segment.clone(), child));
            }
        }
    }

    fn keep(&self, value: Value) -> Value {
        if self.children.is_empty() {
            return value;
        }
        match value {
            Value::Object(mut fields) => {
                let taken = self.children.iter().filter_map(|(name, child)| {
                    let value = fields.remove(name)?;
                    Some((name.clone(), child.keep(value)))
                });
                Value::Object(taken.collect::<Map<_, _>>())
            }
            Value::Array(items) => items.into_iter().map(|item| self.keep(item)).collect(),
            _ => Value::Null,
        }
    }

    fn leave_out(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, child) in &self.children {
                    if child.children.is_empty() {
                        fields.shift_remove(name);
                    } else if let Some(field) = fields.get_mut(name) {
                        child.leave_out(field);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.leave_out(item)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn project(projection: Value) -> Value {
        let document = json!({"_id": "i", "_class": "c", "title": "t",
            "address": {"city": "x", "street": "y"}, "list": [{"a": 1, "b": 2}, {"a": 3}]});
        Projection::parse(&projection).unwrap().apply(document)
    }

    #[test]
    fn ones_keep_only_the_named_fields_and_the_identity() {
        assert_eq!(project(json!({"title": 1})), json!({"title": "t", "_id": "i", "_class": "c"}));
        assert_eq!(
            project(json!({"address.city": 1, "list.a": 1})),
            json!({"_id": "i", "_class": "c", "address": {"city": "x"}, "list": [{"a": 1}, {"a": 3}]})
        );
        let whole = project(json!({"address": 1, "address.city": 1}));
        assert_eq!(whole["address"], json!({"city": "x", "street": "y"}));
        assert_eq!(project(json!({"address.city": 1, "address": 1})), whole);
    }

    #[test]
    fn zeros_leave_the_named_fields_out() {
        assert_eq!(
            project(json!({"title": 0, "address.street": 0, "list.a": 0})),
            json!({"_id": "i", "_class": "c", "address": {"city": "x"}, "list": [{"b": 2}, {}]})
        );
        assert_eq!(project(json!({}))["title"], "t");
    }

    #[test]
    fn a_mixture_is_refused() {
        assert!(Projection::parse(&json!({"a": 1, "b": 0})).is_err());
        assert!(Projection::parse(&json!({"a": true})).is_err());
    }
}
