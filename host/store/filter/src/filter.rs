use serde_json::Value;

use crate::error::OPERATORS;
use crate::limits::Budget;
use crate::operator::Test;
use crate::{FilterError, KeyPath, MAX_KEYS};

/// A condition on documents: every key must satisfy every demand on it.
/// The default filter matches every document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    key: KeyPath,
    tests: Vec<Test>,
}

/// What [`Filter::texts_for`] knows about a key. A document whose value is
/// neither a text nor missing (an array, say) may match whatever it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts<'a> {
    /// The texts, one of which a text must equal.
    pub texts: Vec<&'a str>,
    /// Whether a missing value or `null` is accepted too.
    pub null: bool,
}

impl Filter {
    /// Reads a query such as `{"_class": "C", "number": {"$gt": 5}}`.
    ///
    /// # Errors
    /// [`FilterError`] names the key or operator that cannot be used. Limits:
    /// [`MAX_KEYS`], [`crate::MAX_DEPTH`], [`crate::MAX_FILTER_VALUES`],
    /// [`crate::MAX_FILTER_BYTES`].
    pub fn parse(query: &Value) -> Result<Self, FilterError> {
        let Value::Object(fields) = query else {
            return Err(FilterError::WrongType {
                place: "query".to_owned(),
                expected: "an object of keys and values",
            });
        };
        if fields.len() > MAX_KEYS {
            return Err(FilterError::TooLarge { what: "keys", limit: MAX_KEYS });
        }
        Budget::new().spend(query, 0)?;
        let conditions = fields.iter().map(|(key, value)| {
            if key.starts_with('$') {
                let (key, operator) = ("query".to_owned(), key.clone());
                return Err(FilterError::UnknownOperator { key, operator });
            }
            Ok(Condition { key: KeyPath::parse(key)?, tests: Test::parse(key, value)? })
        });
        Ok(Self { conditions: conditions.collect::<Result<_, _>>()? })
    }

    /// The operators that [`Filter::parse`] accepts, as a list for messages.
    #[must_use]
    pub fn operators() -> &'static str {
        OPERATORS
    }

    /// Whether the document satisfies the filter.
    #[must_use]
    pub fn matches(&self, document: &Value) -> bool {
        self.conditions.iter().all(|condition| {
            condition.tests.iter().all(|test| {
                condition.key.any(document, &mut |value| test.accepts(value)) != test.negative()
            })
        })
    }

    /// The texts one of which `key` must equal, or `None` when the filter does
    /// not say so. What an engine needs to use an index.
    #[must_use]
    pub fn texts_for(&self, key: &str) -> Option<Texts<'_>> {
        let condition = self.conditions.iter().find(|condition| condition.key.as_str() == key)?;
        condition.tests.iter().find_map(|test| match test {
            Test::Equals(wanted) => {
                Some(Texts { texts: wanted.as_str().into_iter().collect(), null: wanted.is_null() })
            }
            Test::In(members) => Some(Texts {
                texts: members.texts.iter().map(String::as_str).collect(),
                null: members.others.iter().any(Value::is_null),
            }),
            _ => None,
        })
    }

    /// The least and the greatest number that `key` may have in a document
    /// that matches and has a number there, both included, or `None` when the
    /// filter does not bound it. A document whose value is neither a number
    /// nor missing (an array, say) may match whatever the answer.
    #[must_use]
    pub fn bounds_for(&self, key: &str) -> Option<(f64, f64)> {
        let condition = self.conditions.iter().find(|condition| condition.key.as_str() == key)?;
        let everything = (f64::NEG_INFINITY, f64::INFINITY);
        let bounds = condition.tests.iter().fold(everything, |(least, greatest), test| {
            let (low, high) = test.bounds().unwrap_or(everything);
            (least.max(low), greatest.min(high))
        });
        (bounds != everything).then_some(bounds)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(query: Value, document: &Value) -> bool {
        Filter::parse(&query).unwrap().matches(document)
    }

    #[test]
    fn a_scalar_equals_itself_and_an_array_that_has_it() {
        let document = json!({"one": 1, "list": ["a", "b"], "object": {"x": 1}});
        assert!(matches(json!({"one": 1.0, "list": "a"}), &document));
        assert!(matches(json!({"list": ["a", "b"]}), &document));
        assert!(!matches(json!({"list": ["a"]}), &document));
        assert!(!matches(json!({"list": "c"}), &document));
        assert!(matches(json!({"object": {"x": 1}}), &document));
        assert!(matches(json!({"list": {"$in": ["z", "b"]}}), &document));
        assert!(!matches(json!({"list": {"$nin": ["z", "b"]}}), &document));
        assert!(!matches(json!({"list": {"$ne": "a"}}), &document));
    }

    #[test]
    fn null_equals_missing() {
        let document = json!({"null": null, "value": 0, "list": []});
        for key in ["null", "missing", "value.deeper", "list.x"] {
            assert!(matches(json!({ key: null }), &document), "{key}");
            assert!(matches(json!({ key: {"$exists": false} }), &document), "{key}");
            assert!(matches(json!({ key: {"$ne": 1} }), &document), "{key}");
            assert!(matches(json!({ key: {"$in": [null]} }), &document), "{key}");
            assert!(!matches(json!({ key: {"$ne": null} }), &document), "{key}");
            assert!(!matches(json!({ key: {"$gte": 0} }), &document), "{key}");
            assert!(!matches(json!({ key: {"$lte": 0} }), &document), "{key}");
        }
        assert!(matches(json!({"value": {"$exists": true}}), &document));
        assert!(!matches(json!({"value": null}), &document));
    }

    #[test]
    fn comparisons_stay_within_one_type() {
        let document = json!({"n": 5, "t": "m", "list": [1, 9]});
        assert!(matches(json!({"n": {"$gt": 4, "$lt": 5.5}}), &document));
        assert!(matches(json!({"n": {"$gte": 5, "$lte": 5}}), &document));
        assert!(!matches(json!({"n": {"$gt": 5}}), &document));
        assert!(!matches(json!({"n": {"$gt": "4"}}), &document));
        assert!(matches(json!({"t": {"$gt": "a"}}), &document));
        assert!(matches(json!({"list": {"$gt": 8}}), &document));
    }

    #[test]
    fn arrays_are_asked_for_size_and_for_all_of_several() {
        let document = json!({"list": [1, 2, 3], "empty": [], "text": "abc"});
        assert!(matches(json!({"list": {"$size": 3}, "empty": {"$size": 0}}), &document));
        assert!(matches(json!({"list": {"$size": {"$gt": 2, "$lt": 4}}}), &document));
        assert!(!matches(json!({"text": {"$size": 3}}), &document));
        assert!(matches(json!({"list": {"$all": [3, 1]}}), &document));
        assert!(!matches(json!({"list": {"$all": [3, 4]}}), &document));
    }

    #[test]
    fn a_dotted_key_looks_into_every_element_of_an_array() {
        let document = json!({"parents": [{"id": "a"}, {"id": "b"}], "mixin": {"x": {"y": 2}}});
        assert!(matches(json!({"parents.id": "b"}), &document));
        assert!(!matches(json!({"parents.id": {"$ne": "b"}}), &document));
        assert!(matches(json!({"parents.1.id": "b", "mixin.x.y": 2}), &document));
        assert!(!matches(json!({"parents.id": null}), &document));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let cases = [
            (json!({"a": {"$search": "x"}}), "$search"),
            (json!({"a": {"$regex": "x"}}), "$regex"),
            (json!({"$or": []}), "$or"),
            (json!({"a": {"$in": "x"}}), "a.$in"),
            (json!({"a": {"$gt": []}}), "a.$gt"),
            (json!({"a": {"$exists": 1}}), "a.$exists"),
            (json!({"a": {"$size": -1}}), "a.$size"),
            (json!({"a": {"$like": 1}}), "a.$like"),
            (json!({"weird": {"$in": [], "b": 1}}), "weird"),
            (json!([]), "query"),
        ];
        for (query, named) in cases {
            let message = Filter::parse(&query).unwrap_err().to_string();
            assert!(message.contains(named), "{message:?} must name {named:?}");
        }
    }

    #[test]
    fn a_hostile_filter_is_refused_before_it_costs() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let keys: serde_json::Map<_, _> = (0..65).map(|n| (n.to_string(), json!(n))).collect();
        let many: Vec<_> = (0..20_000).collect();
        for query in [
            json!({"a": deep}),
            Value::Object(keys),
            json!({"a": {"$in": many}}),
            json!({"a": "x".repeat(2 * 1024 * 1024)}),
        ] {
            assert!(matches!(Filter::parse(&query), Err(FilterError::TooLarge { .. })));
        }
    }

    #[test]
    fn an_index_learns_which_texts_a_key_must_equal() {
        let query = json!({"a": "x", "b": {"$in": ["y", 1, "z"]}, "c": null, "d": {"$ne": "x"},
            "e": {"$gt": "a", "$in": ["b"]}});
        let filter = Filter::parse(&query).unwrap();
        let texts = |texts: &[&'static str], null| Some(Texts { texts: texts.to_vec(), null });
        assert_eq!(filter.texts_for("a"), texts(&["x"], false));
        assert_eq!(filter.texts_for("b"), texts(&["y", "z"], false));
        assert_eq!(filter.texts_for("c"), texts(&[], true));
        assert_eq!(filter.texts_for("d"), None);
        assert_eq!(filter.texts_for("e"), texts(&["b"], false));
        assert_eq!(filter.texts_for("f"), None);
    }

    #[test]
    fn an_index_learns_the_bounds_of_a_number() {
        let query = json!({"a": {"$gt": 1, "$lte": 9}, "b": 5, "c": {"$gte": 3, "$gt": 2},
            "d": {"$gt": "x"}, "e": {"$ne": 1}});
        let filter = Filter::parse(&query).unwrap();
        assert_eq!(filter.bounds_for("a"), Some((1.0, 9.0)));
        assert_eq!(filter.bounds_for("b"), Some((5.0, 5.0)));
        assert_eq!(filter.bounds_for("c"), Some((3.0, f64::INFINITY)));
        assert_eq!(filter.bounds_for("d"), None);
        assert_eq!(filter.bounds_for("e"), None);
    }
}
