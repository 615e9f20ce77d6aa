use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sort::SortKey;
use crate::{Options, approximate_bytes};

/// The answer to a query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// How many documents match, regardless of the limit; `None` when a limit
    /// ended the search before all were counted (`total: true` counts them).
    pub total: Option<u64>,
    /// The documents, sorted, limited and projected.
    pub documents: Vec<Value>,
}

/// Gathers matching documents one by one into a [`Found`].
///
/// With a limit it holds at most twice as many documents as the answer has
/// (and never needs all matches at once), and their projected form only.
/// Feed it until the matches end or [`Collector::is_satisfied`], then
/// [`Collector::finish`].
#[derive(Debug)]
pub struct Collector {
    options: Options,
    seen: u64,
    kept: Vec<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    key: SortKey,
    bytes: usize,
    document: Value,
}

/// Small limits are pruned less often than at every second document.
const LEAST_ROOM: usize = 64;

impl Collector {
    /// An empty collector for one query.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, seen: 0, kept: Vec::new(), bytes: 0 }
    }

    /// Takes a document that matches.
    pub fn push(&mut self, document: Value) {
        self.seen += 1;
        let limit = self.options.limit.unwrap_or(usize::MAX);
        if limit == 0 || self.options.sort.is_empty() && self.kept.len() >= limit {
            return;
        }
        let key = self.options.sort.key(&document);
        let document = match &self.options.projection {
            Some(projection) => projection.apply(document),
            None => document,
        };
        let bytes = approximate_bytes(&document) + key.approximate_bytes();
        self.bytes += bytes;
        self.kept.push(Kept { key, bytes, document });
        if self.kept.len() >= limit.max(LEAST_ROOM).saturating_mul(2) {
            self.prune();
        }
    }

    /// Whether the answer is complete although more may match: the limit is
    /// reached, no order is asked for, and nobody wants the total.
    #[must_use]
    pub fn is_satisfied(&self) -> bool {
        let full = self.options.limit.is_some_and(|limit| self.kept.len() >= limit);
        full && self.options.sort.is_empty() && !self.options.total
    }

    /// How many documents are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.kept.len()
    }

    /// About how many bytes are held: documents and what they are sorted by.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Lets go of what the limit will cut anyway, and sorts the rest.
    pub fn prune(&mut self) {
        let sort = &self.options.sort;
        if !sort.is_empty() {
            self.kept.sort_by(|a, b| sort.compare_keys(&a.key, &b.key));
        }
        if let Some(limit) = self.options.limit {
            self.kept.truncate(limit);
        }
        self.bytes = self.kept.iter().map(|kept| kept.bytes).sum();
    }

    /// The answer.
    #[must_use]
    pub fn finish(mut self) -> Found {
        self.prune();
        let total = (!self.is_satisfied()).then_some(self.seen);
        Found { total, documents: self.kept.into_iter().map(|kept| kept.document).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn documents(numbers: &[i32]) -> Vec<Value> {
        numbers.iter().enumerate().map(|(at, n)| json!({"_id": at.to_string(), "n": n})).collect()
    }

    #[test]
    fn a_limit_without_an_order_ends_the_search_unless_the_total_is_asked() {
        let options = Options { limit: Some(2), ..Options::default() };
        let found = options.clone().apply(documents(&[3, 1, 2]));
        assert_eq!((found.total, found.documents.len()), (None, 2));
        let found = Options { total: true, ..options }.apply(documents(&[3, 1, 2]));
        assert_eq!((found.total, found.documents.len()), (Some(3), 2));
        let count = Options { limit: Some(0), total: true, ..Options::default() };
        assert_eq!(count.apply(documents(&[1, 2])), Found { total: Some(2), documents: vec![] });
    }

    #[test]
    fn the_projection_may_drop_the_key_that_sorts() {
        let options = json!({"sort": {"n": -1}, "limit": 1, "projection": {"_id": 1}});
        let found = Options::parse(&options).unwrap().apply(documents(&[1, 5, 2]));
        assert_eq!(found, Found { total: Some(3), documents: vec![json!({"_id": "1"})] });
    }

    #[test]
    fn no_more_than_twice_the_limit_is_held() {
        let options = json!({"sort": {"n": 1}, "limit": 100});
        let mut collector = Collector::new(Options::parse(&options).unwrap());
        for document in documents(&(0..5_000).rev().collect::<Vec<_>>()) {
            collector.push(document);
            assert!(collector.held() <= 200);
        }
        assert_eq!(collector.finish().documents[99]["n"], 99);
    }

    #[test]
    fn what_sorts_counts_although_the_projection_drops_it() {
        let options = json!({"sort": {"text": 1}, "projection": {"_id": 1}});
        let mut collector = Collector::new(Options::parse(&options).unwrap());
        collector.push(json!({"_id": "d", "text": "x".repeat(10_000)}));
        assert!(collector.held_bytes() > 10_000);
    }

    proptest! {
        #[test]
        fn the_best_few_are_those_of_a_full_sort(
            numbers in prop::collection::vec(-50..50_i32, 0..400), limit in 0..80_usize
        ) {
            let sort = json!({"n": -1});
            let all = Options::parse(&json!({ "sort": sort })).unwrap().apply(documents(&numbers));
            let few = Options::parse(&json!({ "sort": sort, "limit": limit })).unwrap();
            let few = few.apply(documents(&numbers));
            prop_assert_eq!(few.total, Some(numbers.len() as u64));
            prop_assert_eq!(few.documents.as_slice(), &all.documents[..limit.min(numbers.len())]);
        }
    }
}
