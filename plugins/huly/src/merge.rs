//! One answer out of the answers of several workspaces.

use hulynet_filter::{FilterError, Found, Options};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A document and the workspace that it is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// The workspace.
    pub workspace: String,
    /// The document.
    pub document: Value,
}

/// The answer of several workspaces to one question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// How many documents match in all of them; `None` if one of them did not
    /// count to the end because of the limit.
    pub total: Option<u64>,
    /// The documents, sorted, limited and projected as a whole.
    pub documents: Vec<Placed>,
}

/// Merges answers one by one, holding no more than the limit and one answer.
#[derive(Debug)]
pub struct Merge {
    options: Options,
    merged: Merged,
}

impl Merge {
    /// A merge under the options of the question.
    ///
    /// # Errors
    /// Options that cannot be used.
    pub fn new(options: &Value) -> Result<Self, FilterError> {
        Ok(Self {
            options: Options::parse(options)?,
            merged: Merged { total: Some(0), documents: Vec::new() },
        })
    }

    /// Adds the answer of a workspace to [`options_for_each`]. Without an
    /// order the documents stay in the order in which answers are added.
    pub fn add(&mut self, workspace: &str, found: Found) {
        self.merged.total =
            self.merged.total.zip(found.total).map(|(total, more)| total.saturating_add(more));
        let place = |document| Placed { workspace: workspace.to_owned(), document };
        let documents = &mut self.merged.documents;
        documents.extend(found.documents.into_iter().map(place));
        if !self.options.sort.is_empty() {
            documents
                .sort_by(|left, right| self.options.sort.compare(&left.document, &right.document));
        }
        documents.truncate(self.options.limit.unwrap_or(usize::MAX));
    }

    /// The answer.
    pub fn finish(mut self) -> Merged {
        if let Some(projection) = &self.options.projection {
            for placed in &mut self.merged.documents {
                placed.document = projection.apply(placed.document.take());
            }
        }
        self.merged
    }
}

/// The options with which each workspace is asked, so that the answers can be
/// merged: the same ones, except that a projection spares the keys that sort.
pub fn options_for_each(options: &Value) -> Value {
    let mut options = options.clone();
    let sort = options.get("sort").and_then(Value::as_object);
    let sort: Vec<String> = sort.into_iter().flat_map(|sort| sort.keys().cloned()).collect();
    let Some(projection) = options.get_mut("projection").and_then(Value::as_object_mut) else {
        return options;
    };
    if projection.values().any(|flag| flag.as_i64() == Some(1)) {
        projection.extend(sort.into_iter().map(|key| (key, Value::from(1))));
    } else {
        projection.retain(|left_out, _| !sort.iter().any(|key| overlap(key, left_out)));
    }
    options
}

/// True if one dotted key is the other or reaches into it.
fn overlap(left: &str, right: &str) -> bool {
    let within = |inner: &str, outer| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    within(left, right) || within(right, left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Two workspaces that answer as a store would, merged.
    fn find(options: Value) -> Merged {
        let answer = |ids: [(&str, i64); 3]| {
            let documents =
                ids.map(|(id, n)| json!({"_id": id, "_class": "c", "n": n, "text": "t"})).to_vec();
            Options::parse(&options_for_each(&options)).unwrap().apply(documents)
        };
        let mut merge = Merge::new(&options).unwrap();
        merge.add("w1", answer([("a", 1), ("b", 5), ("c", 3)]));
        merge.add("w2", answer([("d", 4), ("e", 2), ("f", 6)]));
        merge.finish()
    }

    fn ids(merged: &Merged) -> Vec<&str> {
        merged.documents.iter().map(|placed| placed.document["_id"].as_str().unwrap()).collect()
    }

    #[test]
    fn answers_are_sorted_and_limited_as_a_whole() {
        let merged = find(json!({"sort": {"n": -1}, "limit": 3}));
        assert_eq!((ids(&merged), merged.total), (vec!["f", "b", "d"], Some(6)));
        assert_eq!(merged.documents[0].workspace, "w2");
    }

    #[test]
    fn without_an_order_the_workspaces_follow_each_other() {
        assert_eq!(ids(&find(Value::Null)), ["a", "b", "c", "d", "e", "f"]);
    }

    #[test]
    fn the_total_is_known_only_if_every_workspace_knows_its_own() {
        assert_eq!(find(json!({"limit": 2})).total, None);
        assert_eq!(find(json!({"limit": 2, "total": true})).total, Some(6));
    }

    #[test]
    fn a_projection_may_drop_the_key_that_sorts() {
        let merged = find(json!({"sort": {"n": -1}, "limit": 2, "projection": {"text": 1}}));
        assert_eq!(ids(&merged), ["f", "b"]);
        assert_eq!(merged.documents[0].document, json!({"_id": "f", "_class": "c", "text": "t"}));
        let merged = find(json!({"sort": {"n": 1}, "limit": 1, "projection": {"n": 0}}));
        assert_eq!(merged.documents[0].document, json!({"_id": "a", "_class": "c", "text": "t"}));
    }

    #[test]
    fn a_projection_spares_every_part_of_a_key_that_sorts() {
        let asked = options_for_each(
            &json!({"sort": {"a.b": 1}, "projection": {"a": 0, "a.b.c": 0, "ab": 0}}),
        );
        assert_eq!(asked["projection"], json!({"ab": 0}));
    }
}
