//! What one transaction does to its document.
//!
//! Counters of collections are not kept here: in Huly they are changed by
//! transactions of their own, which are applied and logged like any other.

use serde_json::{Map, Value};

use crate::tx::{Action, Create, Tx, is_id};
use crate::update::{Update, UpdateError};
use crate::value::{MAX_DEPTH, fields_within_depth, type_name};

/// The space of the model: the documents that define classes and the like.
const MODEL: &str = "core:space:Model";

/// Why a transaction cannot be applied to the documents as they are. Final
/// until the documents change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A create of an id that is taken.
    #[error("document `{id}` exists already; update it, or create under another id")]
    AlreadyExists {
        /// The document.
        id: String,
    },
    /// An update of a document that is not there.
    #[error("document `{id}` does not exist; create it first")]
    NotFound {
        /// The document.
        id: String,
    },
    /// The update does not fit the document.
    #[error("document `{id}`: {source}")]
    Update {
        /// The document.
        id: String,
        /// What does not fit.
        source: UpdateError,
    },
    /// A mixin named like a field that holds something else.
    #[error(
        "document `{id}`: `{mixin}` is {found}, not the data of a mixin; name the mixin's class"
    )]
    NoMixin {
        /// The document.
        id: String,
        /// The name.
        mixin: String,
        /// What the document has there.
        found: &'static str,
    },
    /// The update would make a document that is none any more.
    #[error("document `{id}`: the update leaves `{field}` {problem}")]
    Broken {
        /// The document.
        id: String,
        /// The field that every document needs.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The document would nest arrays and objects too deeply.
    #[error("document `{id}` would nest deeper than {MAX_DEPTH} levels; flatten it")]
    TooDeep {
        /// The document.
        id: String,
    },
}

/// What becomes of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is this now.
    Put(Value),
    /// It is gone.
    Remove,
    /// It stays as it is: a document that is not there was removed.
    Nothing,
}

/// Applies a transaction to the document it names; `document` is `None` if
/// there is none.
///
/// # Errors
/// Nothing has changed if there is one.
pub fn apply(document: Option<Value>, tx: &Tx) -> Result<Change, ApplyError> {
    let id = || tx.object_id.clone();
    let fields = match (&tx.action, document) {
        (Action::Create(create), Some(known)) if defines_anew(tx, &known) => created(tx, create),
        (Action::Create(_), Some(_)) => return Err(ApplyError::AlreadyExists { id: id() }),
        (Action::Create(create), None) => created(tx, create),
        (Action::Update(update), Some(Value::Object(fields))) => {
            let updated =
                update.apply(fields).map_err(|source| ApplyError::Update { id: id(), source })?;
            modified(tx, updated)?
        }
        (Action::Mixin { mixin, update }, Some(Value::Object(fields))) => {
            modified(tx, mixed(tx, mixin, update, fields)?)?
        }
        (Action::Update(_) | Action::Mixin { .. }, _) => {
            return Err(ApplyError::NotFound { id: id() });
        }
        (Action::Remove, Some(_)) => return Ok(Change::Remove),
        (Action::Remove, None) => return Ok(Change::Nothing),
    };
    if !fields_within_depth(&fields, MAX_DEPTH) {
        return Err(ApplyError::TooDeep { id: id() });
    }
    Ok(Change::Put(Value::Object(fields)))
}

/// Whether a create replaces a part of the model: plugins define some of its
/// documents more than once, and the last definition stands.
fn defines_anew(tx: &Tx, known: &Value) -> bool {
    tx.object_space == MODEL && known.get("space").and_then(Value::as_str) == Some(MODEL)
}

fn created(tx: &Tx, create: &Create) -> Map<String, Value> {
    let mut fields = create.attributes.clone();
    let mut set = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    set("_id", tx.object_id.as_str().into());
    set("_class", tx.object_class.as_str().into());
    set("space", tx.object_space.as_str().into());
    set("modifiedBy", tx.modified_by.as_str().into());
    set("modifiedOn", tx.modified_on.into());
    set("createdBy", create.created_by.as_ref().unwrap_or(&tx.modified_by).as_str().into());
    set("createdOn", create.created_on.unwrap_or(tx.modified_on).into());
    if let Some(attached) = &create.attached {
        set("attachedTo", attached.to.as_str().into());
        set("attachedToClass", attached.class.as_str().into());
        set("collection", attached.collection.as_str().into());
    }
    fields
}

/// A document with changed data of a mixin, which is an object under its name.
fn mixed(
    tx: &Tx,
    mixin: &str,
    update: &Update,
    mut fields: Map<String, Value>,
) -> Result<Map<String, Value>, ApplyError> {
    let id = || tx.object_id.clone();
    let data = match fields.shift_remove(mixin) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(data)) => data,
        Some(other) => {
            let (mixin, found) = (mixin.to_owned(), type_name(&other));
            return Err(ApplyError::NoMixin { id: id(), mixin, found });
        }
    };
    let data = update.apply(data).map_err(|source| ApplyError::Update { id: id(), source })?;
    fields.insert(mixin.to_owned(), Value::Object(data));
    Ok(fields)
}

/// An updated document with the marks of the change. A document keeps its id,
/// and whatever an update does, its class and its space stay texts: a store
/// and every query rely on them. Setting `space` moves the document.
fn modified(tx: &Tx, mut fields: Map<String, Value>) -> Result<Map<String, Value>, ApplyError> {
    let broken =
        |field, problem| Err(ApplyError::Broken { id: tx.object_id.clone(), field, problem });
    if fields.get("_id").and_then(Value::as_str) != Some(tx.object_id.as_str()) {
        return broken("_id", "changed; create a new document instead");
    }
    for field in ["_class", "space"] {
        if !fields.get(field).and_then(Value::as_str).is_some_and(is_id) {
            return broken(field, "without a name; it must be a text of 1 to 256 bytes");
        }
    }
    fields.insert("modifiedBy".to_owned(), tx.modified_by.as_str().into());
    fields.insert("modifiedOn".to_owned(), tx.modified_on.into());
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tx(class: &str, extra: Value) -> Tx {
        let mut json = json!({
            "_id": "t1", "_class": format!("core:class:{class}"), "objectId": "d1",
            "objectClass": "tracker:class:Issue", "objectSpace": "p1", "modifiedBy": "a1", "modifiedOn": 5
        });
        for (key, value) in extra.as_object().unwrap() {
            json[key] = value.clone();
        }
        Tx::parse(json).unwrap()
    }

    fn update(operations: Value) -> Tx {
        tx("TxUpdateDoc", json!({"operations": operations, "modifiedBy": "a2", "modifiedOn": 9}))
    }

    fn document() -> Value {
        json!({
            "_id": "d1", "_class": "tracker:class:Issue", "space": "p1", "title": "x",
            "modifiedBy": "a1", "modifiedOn": 5, "createdBy": "a1", "createdOn": 5
        })
    }

    #[test]
    fn a_create_falls_back_to_who_modified_it_and_when() {
        let change = apply(None, &tx("TxCreateDoc", json!({"attributes": {"title": "x"}})));
        assert_eq!(change, Ok(Change::Put(document())));
    }

    #[test]
    fn a_create_keeps_its_creator_and_its_parent_and_no_attribute_overrides_them() {
        let create = json!({
            "createdBy": "a0", "createdOn": 1, "attachedTo": "d0", "attachedToClass": "c0", "collection": "subIssues",
            "attributes": {"_id": "hostile", "attachedTo": "hostile", "modifiedOn": "hostile"}
        });
        let change = apply(None, &tx("TxCreateDoc", create));
        let expected = json!({
            "_id": "d1", "_class": "tracker:class:Issue", "space": "p1", "modifiedBy": "a1", "modifiedOn": 5,
            "createdBy": "a0", "createdOn": 1, "attachedTo": "d0", "attachedToClass": "c0", "collection": "subIssues"
        });
        assert_eq!(change, Ok(Change::Put(expected)));
    }

    #[test]
    fn a_create_of_an_id_that_is_taken_is_refused() {
        let change = apply(Some(document()), &tx("TxCreateDoc", json!({"attributes": {}})));
        assert_eq!(change, Err(ApplyError::AlreadyExists { id: "d1".into() }));
    }

    #[test]
    fn the_last_definition_of_a_part_of_the_model_stands() {
        let define = |space: &str, label: &str| {
            tx("TxCreateDoc", json!({"objectSpace": space, "attributes": {"label": label}}))
        };
        let Ok(Change::Put(first)) = apply(None, &define(MODEL, "first")) else {
            panic!("not created")
        };
        let Ok(Change::Put(last)) = apply(Some(first.clone()), &define(MODEL, "last")) else {
            panic!("not defined anew")
        };
        assert_eq!(last["label"], "last");
        let taken = Err(ApplyError::AlreadyExists { id: "d1".into() });
        assert_eq!(apply(Some(first), &define("p1", "other")), taken);
        assert_eq!(apply(Some(document()), &define(MODEL, "other")), taken);
    }

    #[test]
    fn an_update_marks_who_modified_it_and_when() {
        let Ok(Change::Put(after)) =
            apply(Some(document()), &update(json!({"title": "y", "modifiedOn": 1})))
        else {
            panic!("not updated")
        };
        let mut expected = document();
        expected["title"] = json!("y");
        expected["modifiedBy"] = json!("a2");
        expected["modifiedOn"] = json!(9);
        assert_eq!(after, expected);
    }

    #[test]
    fn an_update_of_a_missing_document_is_refused_and_its_removal_is_nothing() {
        assert_eq!(
            apply(None, &update(json!({"title": "y"}))),
            Err(ApplyError::NotFound { id: "d1".into() })
        );
        assert_eq!(apply(None, &tx("TxRemoveDoc", json!({}))), Ok(Change::Nothing));
        assert_eq!(apply(Some(document()), &tx("TxRemoveDoc", json!({}))), Ok(Change::Remove));
    }

    #[test]
    fn a_mixin_is_data_under_its_name_that_updates_change() {
        let mixin = |attributes: Value| {
            let mixin = "contact:mixin:Employee";
            let extra = json!({"mixin": mixin, "attributes": attributes, "modifiedBy": "a2", "modifiedOn": 9});
            tx("TxMixin", extra)
        };
        let applied = |before, tx| match apply(Some(before), &tx) {
            Ok(Change::Put(after)) => after,
            other => panic!("{other:?}"),
        };
        let given = applied(document(), mixin(json!({"active": true, "days": 1, "at.desk": 7})));
        let mut expected = document();
        expected["contact:mixin:Employee"] = json!({"active": true, "days": 1, "at": {"desk": 7}});
        expected["modifiedBy"] = json!("a2");
        expected["modifiedOn"] = json!(9);
        assert_eq!(given, expected);
        let changed =
            applied(given, mixin(json!({"$inc": {"days": 2}, "$unset": {"active": true}})));
        assert_eq!(changed["contact:mixin:Employee"], json!({"days": 3, "at": {"desk": 7}}));
        assert_eq!(changed["title"], "x", "the document's own fields are not touched");
    }

    #[test]
    fn a_mixin_needs_its_document_and_is_no_other_field() {
        let mixin = |mixin: &str| tx("TxMixin", json!({"mixin": mixin, "attributes": {"a": 1}}));
        let missing = apply(None, &mixin("my:mixin:M"));
        assert_eq!(missing, Err(ApplyError::NotFound { id: "d1".into() }));
        for field in ["title", "_id", "space", "modifiedOn"] {
            let refused = apply(Some(document()), &mixin(field));
            assert!(matches!(refused, Err(ApplyError::NoMixin { .. })), "{field}: {refused:?}");
        }
    }

    #[test]
    fn setting_the_space_moves_the_document() {
        let Ok(Change::Put(after)) = apply(Some(document()), &update(json!({"space": "p2"})))
        else {
            panic!("not updated")
        };
        assert_eq!(after["space"], "p2");
    }

    #[test]
    fn no_update_takes_a_document_its_identity() {
        for operations in [
            json!({"_id": "d2"}),
            json!({"$unset": {"_id": true}}),
            json!({"$rename": {"_class": "kind"}}),
            json!({"_class": 7}),
            json!({"space": ""}),
            json!({"$rename": {"title": "_id"}}),
        ] {
            let change = apply(Some(document()), &update(operations.clone()));
            assert!(matches!(change, Err(ApplyError::Broken { .. })), "{operations}");
        }
    }

    #[test]
    fn updates_cannot_dig_deeper_than_a_reader_can_follow() {
        let mut before = document();
        before["a"] = json!({});
        let path = ["a"; 31].join(".");
        let mut document = Some(before);
        let mut refused = false;
        for depth in 0..4 {
            let operations = json!({"$rename": {"a": path}});
            match apply(document.clone(), &update(operations)) {
                Ok(Change::Put(after)) => document = Some(after),
                other => {
                    assert_eq!(other, Err(ApplyError::TooDeep { id: "d1".into() }), "at {depth}");
                    refused = true;
                }
            }
        }
        assert!(refused, "the document grew without end");
    }
}
