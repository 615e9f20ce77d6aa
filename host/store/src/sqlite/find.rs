use hulynet_filter::{Collector, Filter, Found};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Rows, params_from_iter};

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
        let (what, remedy) = ("the answer would be".to_owned(), "use limit, projection or a narrower query");
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

/// What SQL can say about a filter: never less than what matches. A column is
/// `NULL` where the field is missing or of another type (an array may match
/// a text by membership), so `NULL` always stays in.
#[derive(Debug, PartialEq)]
struct Restriction {
    clauses: Vec<String>,
    parameters: Vec<SqlValue>,
}

/// Key, column, and whether the column may be `NULL`.
const TEXTS: [(&str, &str, bool); 4] = [
    ("_id", "id", false),
    ("_class", "class", false),
    ("space", "space", true),
    ("attachedTo", "attached_to", true),
];

impl Restriction {
    fn new(filter: &Filter) -> Self {
        let mut restriction = Self { clauses: Vec::new(), parameters: Vec::new() };
        for (key, column, nullable) in TEXTS {
            if let Some(texts) = filter.texts_for(key) {
                restriction.texts(column, nullable, &texts);
            }
        }
        if let Some((least, greatest)) = filter.bounds_for("modifiedOn") {
            restriction.parameters.extend([SqlValue::Real(least), SqlValue::Real(greatest)]);
            let last = restriction.parameters.len();
            let between = format!("modified_on BETWEEN ?{} AND ?{last}", last - 1);
            restriction.clauses.push(format!("({between} OR modified_on IS NULL)"));
        }
        restriction
    }

    /// One parameter for any number of texts, so that few statements exist.
    fn texts(&mut self, column: &str, nullable: bool, texts: &[&str]) {
        let (one, parameter) = match texts {
            [text] => (true, (*text).to_owned()),
            texts => (false, serde_json::json!(texts).to_string()),
        };
        self.parameters.push(SqlValue::Text(parameter));
        let place = self.parameters.len();
        let test = if one {
            format!("{column} = ?{place}")
        } else {
            format!("{column} IN (SELECT value FROM json_each(?{place}))")
        };
        self.clauses.push(if nullable { format!("({test} OR {column} IS NULL)") } else { test });
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
                "id = ?1",
                "class IN (SELECT value FROM json_each(?2))",
                "(space IN (SELECT value FROM json_each(?3)) OR space IS NULL)",
                "(attached_to = ?4 OR attached_to IS NULL)",
                "(modified_on BETWEEN ?5 AND ?6 OR modified_on IS NULL)",
            ]
        );
        let bounds = [SqlValue::Real(5.0), SqlValue::Real(f64::INFINITY)];
        let texts = [text("x"), text("[\"a\",\"b\"]"), text("[]"), text("y")];
        assert_eq!(restriction.parameters, [&texts[..], &bounds[..]].concat());
    }
}
