use hulynet_filter::{Collector, Filter, Found, Texts};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Rows, params_from_iter};

use super::database::Database;
use super::workspace::parse;
use crate::limits::{MAX_FOUND, MAX_FOUND_BYTES};
use crate::{Find, StoreError};

/// Answers a query: SQL narrows the documents down by their columns, the
/// filter decides about each, the collector sorts and limits.
pub(super) fn find(database: &Database, find: Find) -> Result<Found, StoreError> {
    let Find { filter, options } = find;
    let restriction = Restriction::new(&filter);
    let mut collector = Collector::new(options);
    database.read(|view| {
        let failed = |error| database.failed("reading", &error);
        let mut select = view.prepare_cached(&restriction.sql()).map_err(failed)?;
        let parameters = params_from_iter(restriction.parameters.iter());
        let mut rows = select.query(parameters).map_err(failed)?;
        while !collector.is_satisfied() {
            let Some((id, data)) = next(&mut rows).map_err(failed)? else {
                break;
            };
            let document = parse(database, &id, &data)?;
            if filter.matches(&document) {
                collector.push(document);
                check_size(&mut collector)?;
            }
        }
        Ok(())
    })?;
    // What the collector let through in the meantime counts in the end.
    collector.prune();
    within(&collector, 1)?;
    Ok(collector.finish())
}

fn next(rows: &mut Rows<'_>) -> rusqlite::Result<Option<(String, String)>> {
    rows.next()?.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Lets the collector grow to twice the cap before it drops what the limit
/// cuts, so that it does not sort again for every document.
fn check_size(collector: &mut Collector) -> Result<(), StoreError> {
    if within(collector, 2).is_err() {
        collector.prune();
        return within(collector, 1);
    }
    Ok(())
}

fn within(collector: &Collector, times: usize) -> Result<(), StoreError> {
    let too_large = |limit, unit| {
        let (what, remedy) =
            ("the answer would be".to_owned(), "use limit, projection or a narrower query");
        Err(StoreError::TooLarge { what, limit, unit, remedy })
    };
    if collector.held() > times * MAX_FOUND {
        return too_large(MAX_FOUND, "documents");
    }
    if collector.held_bytes() > times * MAX_FOUND_BYTES {
        return too_large(MAX_FOUND_BYTES, "bytes");
    }
    Ok(())
}

/// What SQL can say about a filter: never less than what matches. A column
/// holds an empty blob where the field has another type than the index (an
/// array may match a text by membership), so that always stays in.
#[derive(Debug, PartialEq)]
struct Restriction {
    clauses: Vec<String>,
    parameters: Vec<SqlValue>,
}

/// The keys with an index of texts, and their columns.
const TEXTS: [(&str, &str); 4] =
    [("_id", "id"), ("_class", "class"), ("space", "space"), ("attachedTo", "attached_to")];

impl Restriction {
    fn new(filter: &Filter) -> Self {
        let mut restriction = Self { clauses: Vec::new(), parameters: Vec::new() };
        for (key, column) in TEXTS {
            if let Some(texts) = filter.texts_for(key) {
                restriction.texts(column, &texts);
            }
        }
        if let Some((least, greatest)) = filter.bounds_for("modifiedOn") {
            let (least, greatest) = (restriction.real(least), restriction.real(greatest));
            restriction
                .clauses
                .push(format!("(modified_on BETWEEN {least} AND {greatest} OR modified_on = x'')"));
        }
        restriction
    }

    /// One parameter for any number of texts, so that few statements exist.
    fn texts(&mut self, column: &str, Texts { texts, null }: &Texts<'_>) {
        let within = match texts.as_slice() {
            [text] => {
                let text = self.parameter(SqlValue::Text((*text).to_owned()));
                format!("{column} IN ({text}, x'')")
            }
            texts => {
                let texts = self.parameter(SqlValue::Text(serde_json::json!(texts).to_string()));
                format!("{column} IN (SELECT value FROM json_each({texts}) UNION ALL SELECT x'')")
            }
        };
        self.clauses.push(if *null { format!("({within} OR {column} IS NULL)") } else { within });
    }

    fn real(&mut self, number: f64) -> String {
        self.parameter(SqlValue::Real(number))
    }

    fn parameter(&mut self, value: SqlValue) -> String {
        self.parameters.push(value);
        format!("?{}", self.parameters.len())
    }

    fn sql(&self) -> String {
        let narrowed = if self.clauses.is_empty() { "" } else { " WHERE " };
        format!("SELECT id, data FROM documents{narrowed}{}", self.clauses.join(" AND "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn restriction(query: &Value) -> Restriction {
        Restriction::new(&Filter::parse(query).unwrap())
    }

    fn text(text: &str) -> SqlValue {
        SqlValue::Text(text.to_owned())
    }

    #[test]
    fn what_sql_cannot_decide_is_left_to_the_filter() {
        for query in [
            json!({}),
            json!({"title": "x", "_id": {"$nin": ["a"]}, "space": {"$ne": "s"}}),
            json!({"attachedTo": {"$exists": true}, "modifiedOn": {"$ne": 1}, "space.x": "y"}),
            json!({"_class": {"$like": "a%"}}),
        ] {
            assert_eq!(restriction(&query).sql(), "SELECT id, data FROM documents", "{query}");
        }
    }

    #[test]
    fn equality_and_lists_narrow_the_indexed_columns() {
        let query = json!({"_class": {"$in": ["b", "a", 1]}, "_id": "x", "space": null,
            "attachedTo": "y", "modifiedOn": {"$gt": 5}});
        let restriction = restriction(&query);
        assert_eq!(
            restriction.clauses,
            [
                "id IN (?1, x'')",
                "class IN (SELECT value FROM json_each(?2) UNION ALL SELECT x'')",
                "(space IN (SELECT value FROM json_each(?3) UNION ALL SELECT x'') OR space IS NULL)",
                "attached_to IN (?4, x'')",
                "(modified_on BETWEEN ?5 AND ?6 OR modified_on = x'')",
            ]
        );
        let bounds = [SqlValue::Real(5.0), SqlValue::Real(f64::INFINITY)];
        let texts = [text("x"), text("[\"a\",\"b\"]"), text("[]"), text("y")];
        assert_eq!(restriction.parameters, [&texts[..], &bounds[..]].concat());
    }

    #[test]
    fn the_documents_attached_to_one_are_found_by_index() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::workspace::SCHEMA.sql).unwrap();
        let restriction = restriction(&json!({"_class": "c", "attachedTo": "x"}));
        let mut explain =
            connection.prepare(&format!("EXPLAIN QUERY PLAN {}", restriction.sql())).unwrap();
        let plan: Vec<String> = explain
            .query_map(params_from_iter(restriction.parameters.iter()), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(plan[0].contains("documents_class (class=? AND attached_to=?)"), "{plan:?}");
    }
}
