//! What every engine checks before it writes: shapes, sizes and texts. Pure,
//! so that all engines accept the same data.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::limits::{
    MAX_CHANGES, MAX_COMMIT_BYTES, MAX_DOCUMENT_BYTES, MAX_ID_BYTES, MAX_IDS, MAX_NESTING,
    MAX_TRANSACTION_BYTES, MAX_TRANSACTIONS,
};
use crate::{Commit, StoreError};

/// A commit whose parts have been checked and turned into text.
#[derive(Debug)]
pub(crate) struct CheckedCommit {
    pub(crate) first: u64,
    pub(crate) transactions: Vec<CheckedTransaction>,
    pub(crate) put: Vec<CheckedDocument>,
    pub(crate) remove: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct CheckedTransaction {
    pub(crate) id: String,
    pub(crate) text: String,
}

/// A document with the values that engines index.
#[derive(Debug)]
pub(crate) struct CheckedDocument {
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) space: Indexed<String>,
    pub(crate) attached_to: Indexed<String>,
    pub(crate) modified_on: Indexed<f64>,
    pub(crate) text: String,
}

/// The value of a field in an index.
#[derive(Debug, PartialEq)]
pub(crate) enum Indexed<T> {
    /// The field is missing or `null`.
    Missing,
    /// It has the type of the index.
    Value(T),
    /// It has another type: any query on it must look at the document.
    Other,
}

impl<T> Indexed<T> {
    fn new(field: Option<&Value>, read: impl Fn(&Value) -> Option<T>) -> Self {
        match field {
            None | Some(Value::Null) => Self::Missing,
            Some(value) => read(value).map_or(Self::Other, Self::Value),
        }
    }
}

impl CheckedCommit {
    pub(crate) fn new(commit: Commit) -> Result<Self, StoreError> {
        let Commit { first, transactions, put, remove } = commit;
        let remedy = "split the commit";
        if transactions.is_empty() {
            return Err(invalid("the commit", "has no transaction; every change needs one"));
        }
        at_most(transactions.len(), MAX_TRANSACTIONS, "the commit", "transactions", remedy)?;
        at_most(put.len() + remove.len(), MAX_CHANGES, "the commit", "changed documents", remedy)?;
        let transactions = transactions.into_iter().enumerate().map(transaction);
        let transactions = transactions.collect::<Result<Vec<_>, _>>()?;
        let put = put.into_iter().enumerate().map(document);
        let put = put.collect::<Result<Vec<_>, _>>()?;
        remove.iter().try_for_each(|id| check_id("an id to remove", id))?;

        once("transaction", transactions.iter().map(|transaction| &transaction.id))?;
        once("document", put.iter().map(|document| &document.id).chain(&remove))?;
        let texts = transactions.iter().map(|transaction| transaction.text.len());
        let bytes = texts.chain(put.iter().map(|document| document.text.len())).sum();
        at_most(bytes, MAX_COMMIT_BYTES, "the commit", "bytes", remedy)?;
        Ok(Self { first, transactions, put, remove })
    }
}

/// Bounds the ids of a `get` or a `lookup`.
pub(crate) fn check_ids(ids: &[String]) -> Result<(), StoreError> {
    at_most(ids.len(), MAX_IDS, "the list", "ids", "ask for them in parts")
}

fn transaction((at, mut value): (usize, Value)) -> Result<CheckedTransaction, StoreError> {
    let what = || format!("transaction {at}");
    let (id, text) = checked_text(&what, &mut value, MAX_TRANSACTION_BYTES)?;
    Ok(CheckedTransaction { id, text })
}

fn document((at, mut value): (usize, Value)) -> Result<CheckedDocument, StoreError> {
    let what = || format!("document {at}");
    let (id, text) = checked_text(&what, &mut value, MAX_DOCUMENT_BYTES)?;
    let text_of = |value: &Value| value.as_str().map(str::to_owned);
    let class = value
        .get("_class")
        .and_then(text_of)
        .ok_or_else(|| invalid(what(), "needs a text _class"))?;
    check_id("a _class", &class)?;
    Ok(CheckedDocument {
        id,
        class,
        space: Indexed::new(value.get("space"), text_of),
        attached_to: Indexed::new(value.get("attachedTo"), text_of),
        modified_on: Indexed::new(value.get("modifiedOn"), Value::as_f64),
        text,
    })
}

fn checked_text(
    what: &dyn Fn() -> String,
    value: &mut Value,
    limit: usize,
) -> Result<(String, String), StoreError> {
    normalise(what, value, 0)?;
    let id = value.get("_id").and_then(Value::as_str);
    let id = id.ok_or_else(|| invalid(what(), "must be an object with a text _id"))?;
    check_id("an _id", id)?;
    let text = value.to_string();
    at_most(
        text.len(),
        limit,
        what(),
        "bytes",
        "store large contents elsewhere and refer to them",
    )?;
    Ok((id.to_owned(), text))
}

fn check_id(what: &str, id: &str) -> Result<(), StoreError> {
    if id.is_empty() {
        return Err(invalid(what, "is empty"));
    }
    if id.chars().any(char::is_control) {
        return Err(invalid(format!("{what} {id:?}"), "has control characters"));
    }
    at_most(id.len(), MAX_ID_BYTES, what, "bytes", "use a shorter one")
}

/// Refuses what nests too deep to be read back, and replaces U+0000 in texts
/// and keys; an id that had one is seen as it is stored.
fn normalise(what: &dyn Fn() -> String, value: &mut Value, depth: usize) -> Result<(), StoreError> {
    if depth > MAX_NESTING {
        return at_most(depth, MAX_NESTING, what(), "nested levels", "flatten it");
    }
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{FFFD}"),
        Value::Array(items) => {
            items.iter_mut().try_for_each(|item| normalise(what, item, depth + 1))?;
        }
        Value::Object(fields) => {
            if fields.keys().any(|key| key.contains('\0')) {
                let taken = std::mem::take(fields).into_iter();
                *fields = taken
                    .map(|(key, field)| (key.replace('\0', "\u{FFFD}"), field))
                    .collect::<Map<_, _>>();
            }
            fields.values_mut().try_for_each(|field| normalise(what, field, depth + 1))?;
        }
        _ => {}
    }
    Ok(())
}

fn once<'a>(what: &str, ids: impl Iterator<Item = &'a String>) -> Result<(), StoreError> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(invalid(format!("{what} {id:?}"), "appears twice in the commit"));
        }
    }
    Ok(())
}

fn invalid(what: impl Into<String>, reason: &'static str) -> StoreError {
    StoreError::Invalid { what: what.into(), reason }
}

fn at_most(
    count: usize,
    limit: usize,
    what: impl Into<String>,
    unit: &'static str,
    remedy: &'static str,
) -> Result<(), StoreError> {
    if count <= limit {
        return Ok(());
    }
    Err(StoreError::TooLarge {
        what: format!("{} has {count} {unit},", what.into()),
        limit,
        unit,
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn commit(transactions: Vec<Value>, put: Vec<Value>, remove: Vec<&str>) -> Commit {
        let remove = remove.into_iter().map(str::to_owned).collect();
        Commit { first: 1, transactions, put, remove }
    }

    fn refusal(transactions: Vec<Value>, put: Vec<Value>, remove: Vec<&str>) -> String {
        CheckedCommit::new(commit(transactions, put, remove)).unwrap_err().to_string()
    }

    #[test]
    fn a_null_character_is_replaced_wherever_it_stands() {
        let put = json!({"_id": "d", "_class": "c", "a\0": ["x\0y"], "space": "s\0"});
        let checked =
            CheckedCommit::new(commit(vec![json!({"_id": "t"})], vec![put], vec![])).unwrap();
        let document = &checked.put[0];
        assert!(!document.text.contains("\\u0000"));
        let read: Value = serde_json::from_str(&document.text).unwrap();
        assert_eq!(read["a\u{FFFD}"], json!(["x\u{FFFD}y"]));
        assert_eq!(document.space, Indexed::Value("s\u{FFFD}".to_owned()));
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        let t = || vec![json!({"_id": "t"})];
        assert!(refusal(vec![], vec![], vec![]).contains("no transaction"));
        assert!(refusal(vec![json!(1)], vec![], vec![]).contains("transaction 0"));
        assert!(refusal(vec![json!({"_id": ""})], vec![], vec![]).contains("is empty"));
        assert!(refusal(vec![json!({"_id": "a\nb"})], vec![], vec![]).contains("control"));
        assert!(
            refusal(t(), vec![json!({"_id": "d"})], vec![])
                .contains("document 0 needs a text _class")
        );
        let twice = vec![json!({"_id": "t"}), json!({"_id": "t"})];
        assert!(refusal(twice, vec![], vec![]).contains("\"t\" appears twice"));
        let put = vec![json!({"_id": "d", "_class": "c"})];
        assert!(refusal(t(), put, vec!["d"]).contains("\"d\" appears twice"));
    }

    #[test]
    fn what_is_too_large_is_refused_with_the_limit() {
        let t = || vec![json!({"_id": "t"})];
        let mut deep = json!(1);
        for _ in 0..110 {
            deep = json!([deep]);
        }
        assert!(
            refusal(t(), vec![json!({"_id": "d", "_class": "c", "x": deep})], vec![])
                .contains("100")
        );
        let large = json!({"_id": "d", "_class": "c", "x": "y".repeat(MAX_DOCUMENT_BYTES)});
        assert!(refusal(t(), vec![large], vec![]).contains("over the limit of 4194304 bytes"));
        let many: Vec<_> = (0..=MAX_TRANSACTIONS).map(|n| json!({"_id": n.to_string()})).collect();
        assert!(refusal(many, vec![], vec![]).contains("over the limit of 1000 transactions"));
    }
}
