use std::cmp::Ordering;

use serde_json::Value;

use crate::value::compare_values;
use crate::{FilterError, KeyPath, MAX_KEYS, approximate_bytes};

/// Which way a key sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first; written `1`.
    Ascending,
    /// Largest first; written `-1`.
    Descending,
}

/// The order of the documents in an answer, by the first key, then the next.
///
/// A document without a value (missing or `null`) comes first in either
/// direction, as in the original; ties are broken by `_id`, so that every
/// engine and every merge gives the same order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sort {
    keys: Vec<(KeyPath, Direction)>,
}

/// What a document is sorted by, taken out of it once.
#[derive(Debug, Clone)]
pub(crate) struct SortKey {
    values: Vec<Value>,
    id: Value,
}

impl SortKey {
    /// About how much memory it takes.
    pub(crate) fn approximate_bytes(&self) -> usize {
        self.values.iter().map(approximate_bytes).sum::<usize>() + approximate_bytes(&self.id)
    }
}

impl Sort {
    /// Reads `{"priority": -1, "number": 1}`; the order of the keys counts.
    ///
    /// # Errors
    /// [`FilterError`] names a key that cannot be used or whose direction is
    /// not `1` or `-1`.
    pub fn parse(sort: &Value) -> Result<Self, FilterError> {
        let wrong = |place: String| FilterError::WrongType { place, expected: "1 or -1" };
        let Value::Object(fields) = sort else {
            return Err(FilterError::WrongType {
                place: "sort".to_owned(),
                expected: "an object of keys with 1 or -1",
            });
        };
        if fields.len() > MAX_KEYS {
            return Err(FilterError::TooLarge { what: "sort keys", limit: MAX_KEYS });
        }
        let keys = fields.iter().map(|(key, direction)| {
            let direction = match direction.as_i64() {
                Some(1) => Direction::Ascending,
                Some(-1) => Direction::Descending,
                _ => return Err(wrong(format!("sort.{key}"))),
            };
            Ok((KeyPath::parse(key)?, direction))
        });
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// Whether no order is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys with their directions, the most significant first.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyPath, Direction)> {
        self.keys.iter().map(|(key, direction)| (key, *direction))
    }

    /// The order of two documents.
    #[must_use]
    pub fn compare(&self, a: &Value, b: &Value) -> Ordering {
        self.compare_keys(&self.key(a), &self.key(b))
    }

    pub(crate) fn key(&self, document: &Value) -> SortKey {
        let taken = |key: &KeyPath| key.first(document).cloned().unwrap_or(Value::Null);
        SortKey {
            values: self.keys.iter().map(|(key, _)| taken(key)).collect(),
            id: document.get("_id").cloned().unwrap_or(Value::Null),
        }
    }

    pub(crate) fn compare_keys(&self, a: &SortKey, b: &SortKey) -> Ordering {
        let pairs = a.values.iter().zip(&b.values).zip(&self.keys);
        pairs
            .map(|((a, b), (_, direction))| match direction {
                Direction::Descending if !a.is_null() && !b.is_null() => compare_values(b, a),
                _ => compare_values(a, b),
            })
            .find(|order| order.is_ne())
            .unwrap_or_else(|| compare_values(&a.id, &b.id))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sorted(sort: Value, mut documents: Vec<Value>) -> Vec<String> {
        let sort = Sort::parse(&sort).unwrap();
        documents.sort_by(|a, b| sort.compare(a, b));
        documents.iter().map(|document| document["_id"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_first_key_decides_then_the_next_then_the_id() {
        let documents = vec![
            json!({"_id": "d", "s": "x", "n": 1}),
            json!({"_id": "c", "s": "x", "n": 1}),
            json!({"_id": "b", "s": "x", "n": 2}),
            json!({"_id": "a", "s": "y", "n": 9}),
        ];
        assert_eq!(sorted(json!({"s": -1, "n": 1}), documents.clone()), ["a", "c", "d", "b"]);
        assert_eq!(sorted(json!({"n": -1}), documents), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_document_without_a_value_comes_first_either_way() {
        let documents =
            vec![json!({"_id": "a", "n": 1}), json!({"_id": "b"}), json!({"_id": "c", "n": null})];
        assert_eq!(sorted(json!({"n": 1}), documents.clone()), ["b", "c", "a"]);
        assert_eq!(sorted(json!({"n": -1}), documents), ["b", "c", "a"]);
    }

    #[test]
    fn a_direction_other_than_one_is_refused() {
        for direction in [json!(0), json!("asc"), json!({"cases": []})] {
            let error = Sort::parse(&json!({ "n": direction })).unwrap_err();
            assert_eq!(error.to_string(), "\"sort.n\" must be 1 or -1");
        }
    }
}
