//! Queries: the filter that answers a question about a class.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::class::{Hierarchy, Kind};
use crate::tx::is_id;
use crate::value::type_name;

/// A question: which documents of a class (its descendants included) match?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindRequest {
    /// A class, an interface or a mixin.
    pub class: String,
    /// Keys with values or operators; null means all.
    #[serde(default)]
    pub query: Value,
    /// `limit`, `sort`, `projection`, `total`; all of them may be missing.
    #[serde(default)]
    pub options: Value,
}

/// Why a question cannot be answered. Final: it is refused again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// A class that cannot be the name of one.
    #[error("the class must be a text of 1 to 256 bytes without control characters")]
    Class,
    /// Something else than an object of keys.
    #[error("the query must be an object of keys, not {found}")]
    Query {
        /// The type found.
        found: &'static str,
    },
}

impl FindRequest {
    /// The store's filter: the query, held to documents of the class.
    ///
    /// A class stands for all its descendants, a root class for every
    /// document, a mixin for the documents of its base class that carry it. A
    /// `_class` in the query narrows further.
    ///
    /// # Errors
    /// A class or a query that is none.
    pub fn filter(&self, hierarchy: &Hierarchy) -> Result<Value, FindError> {
        if !is_id(&self.class) {
            return Err(FindError::Class);
        }
        let mut filter = match &self.query {
            Value::Null => Map::new(),
            Value::Object(query) => query.clone(),
            other => return Err(FindError::Query { found: type_name(other) }),
        };
        let mut class = self.class.as_str();
        if hierarchy.kind(class) == Kind::Mixin {
            let mut demands = demands_on(class, &mut filter);
            let excluded = demands.entry("$nin").or_insert_with(|| json!([]));
            // What is not a list here is the query's own: the store refuses
            // it by name.
            if let Value::Array(excluded) = excluded {
                excluded.push(Value::Null);
            }
            filter.insert(class.to_owned(), demands.into());
            // Only a broken model has a mixin without a base; no document has it.
            class = hierarchy.base(class).unwrap_or(class);
        }
        if !hierarchy.is_root(class) {
            let descendants = hierarchy.descendants(class);
            let mut demands = demands_on("_class", &mut filter);
            match demands.get_mut("$in") {
                None => {
                    demands.insert("$in".to_owned(), descendants.into());
                }
                Some(Value::Array(wanted)) => {
                    wanted.retain(|name| descendants.iter().any(|class| name == class));
                }
                Some(_) => {}
            }
            filter.insert("_class".to_owned(), demands.into());
        }
        Ok(Value::Object(filter))
    }
}

/// Takes out what the query demands of a key, as operators: a plain value
/// becomes an `$in` of itself.
fn demands_on(key: &str, query: &mut Map<String, Value>) -> Map<String, Value> {
    match query.shift_remove(key) {
        None => Map::new(),
        Some(Value::Object(operators)) if operators.keys().any(|key| key.starts_with('$')) => {
            operators
        }
        Some(value) => Map::from_iter([("$in".to_owned(), json!([value]))]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulynet_filter::Filter;

    const MIXIN: &str = "my:mixin:M";

    fn filter(class: &str, query: Value) -> Result<Value, FindError> {
        let model = [
            json!({"_id": MIXIN, "_class": "core:class:Mixin", "extends": "contact:class:Person"}),
        ];
        FindRequest { class: class.into(), query, options: Value::Null }
            .filter(&Hierarchy::new(&model))
    }

    fn matches(class: &str, query: Value, document: &Value) -> bool {
        Filter::parse(&filter(class, query).unwrap()).unwrap().matches(document)
    }

    #[test]
    fn a_class_stands_for_its_descendants() {
        assert_eq!(
            filter("task:class:Task", json!({"number": 1})).unwrap(),
            json!({"number": 1, "_class": {"$in": ["task:class:Task", "tracker:class:Issue"]}})
        );
    }

    #[test]
    fn a_root_class_stands_for_every_document() {
        assert_eq!(filter("core:class:Doc", json!({"space": "s"})).unwrap(), json!({"space": "s"}));
        assert_eq!(filter("core:class:Doc", Value::Null).unwrap(), json!({}));
    }

    #[test]
    fn a_class_in_the_query_narrows_and_never_widens() {
        let issue = json!({"_class": "tracker:class:Issue"});
        let message = json!({"_class": "chunter:class:ChatMessage"});
        for (query, finds) in [
            (json!({"_class": "tracker:class:Issue"}), true),
            (json!({"_class": "task:class:Task"}), false),
            (json!({"_class": "chunter:class:ChatMessage"}), false),
            (
                json!({"_class": {"$in": ["tracker:class:Issue", "chunter:class:ChatMessage"]}}),
                true,
            ),
            (json!({"_class": {"$ne": "tracker:class:Issue"}}), false),
            (json!({"_class": null}), false),
            (json!({"_class": {}}), false),
        ] {
            assert_eq!(matches("task:class:Task", query.clone(), &issue), finds, "{query}");
            assert!(!matches("task:class:Task", query.clone(), &message), "{query}");
        }
    }

    #[test]
    fn a_mixin_stands_for_the_documents_that_carry_it() {
        let with = json!({"_class": "contact:class:Person", MIXIN: {"x": 1}});
        let without = json!({"_class": "contact:class:Person"});
        let other = json!({"_class": "tracker:class:Issue", MIXIN: {"x": 1}});
        assert!(matches(MIXIN, json!({}), &with));
        assert!(matches(MIXIN, json!({"my:mixin:M.x": 1}), &with));
        assert!(matches(MIXIN, json!({MIXIN: {"$exists": true}}), &with));
        assert!(!matches(MIXIN, json!({}), &without));
        assert!(!matches(MIXIN, json!({MIXIN: {"$exists": false}}), &without));
        assert!(!matches(MIXIN, json!({MIXIN: null}), &without));
        assert!(!matches(MIXIN, json!({}), &other));
    }

    #[test]
    fn what_is_no_question_is_refused() {
        assert_eq!(filter("", json!({})), Err(FindError::Class));
        assert_eq!(filter("c", json!([])), Err(FindError::Query { found: "an array" }));
        let filter = filter("task:class:Task", json!({"_class": {"$in": 7}})).unwrap();
        assert!(Filter::parse(&filter).unwrap_err().to_string().contains("_class.$in"));
    }
}
