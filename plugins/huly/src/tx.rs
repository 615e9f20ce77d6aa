//! Transactions: parsed and checked once, where they enter.
//!
//! The classes understood are `core:class:TxCreateDoc`, `core:class:TxUpdateDoc`,
//! `core:class:TxRemoveDoc` and `core:class:TxMixin`. Every other class is
//! refused by name rather than logged without effect, because a log that does
//! not give the documents when it is replayed is not a log.

use serde_json::{Map, Value};

use crate::update::{Update, UpdateError};
use crate::value::{MAX_DEPTH, fields_within_depth, replace_nul, type_name};

/// Longest identifier (`_id`, `objectId`, a class, a space, an account), in bytes.
pub const MAX_ID_BYTES: usize = 256;

const CREATE: &str = "core:class:TxCreateDoc";
const UPDATE: &str = "core:class:TxUpdateDoc";
const REMOVE: &str = "core:class:TxRemoveDoc";
const MIXIN: &str = "core:class:TxMixin";

/// Why some JSON is not a transaction. Final: the same JSON is refused again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// Something else than an object.
    #[error("a transaction is an object with `_id`, `_class`, `objectId` and so on, not {found}")]
    NotAnObject {
        /// The type found.
        found: &'static str,
    },
    /// A field that every transaction of this class has is not there.
    #[error("field `{field}` is missing; it must be {expected}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A field holds something else than it must.
    #[error("field `{field}` must be {expected}, not {found}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A class of transaction that is not applied here.
    #[error(
        "transactions of class `{class}` are not supported; send {CREATE}, {UPDATE}, {REMOVE} or {MIXIN}"
    )]
    Unsupported {
        /// The class, shortened.
        class: String,
    },
    /// The transaction nests arrays and objects too deeply.
    #[error("the transaction nests deeper than {MAX_DEPTH} levels; flatten it")]
    TooDeep,
    /// The operations of an update, or the attributes of a mixin, are wrong in
    /// themselves.
    #[error("field `{field}`: {source}")]
    Update {
        /// The field.
        field: &'static str,
        /// What is wrong.
        source: UpdateError,
    },
}

/// A checked transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Tx {
    /// The transaction's own id: the key of idempotent resends.
    pub id: String,
    /// The document it is about.
    pub object_id: String,
    /// The class of that document.
    pub object_class: String,
    /// The space of that document.
    pub object_space: String,
    /// The account that made the change.
    pub modified_by: String,
    /// When, in milliseconds since 1970 UTC.
    pub modified_on: i64,
    /// What it does to the document.
    pub action: Action,
    json: Value,
}

/// What a transaction does to its document.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Makes a new document.
    Create(Create),
    /// Changes a document that exists.
    Update(Update),
    /// Changes the data of a mixin of a document that exists; the first one
    /// gives the document the mixin.
    Mixin {
        /// The class of the mixin: the key of its data in the document.
        mixin: String,
        /// What becomes of the data.
        update: Update,
    },
    /// Removes a document.
    Remove,
}

/// The parts of a create transaction that other transactions lack.
#[derive(Debug, Clone, PartialEq)]
pub struct Create {
    /// The document's own fields.
    pub attributes: Map<String, Value>,
    /// Who created it, if the transaction says so; otherwise who modified it.
    pub created_by: Option<String>,
    /// When it was created, if the transaction says so; otherwise when it was
    /// modified.
    pub created_on: Option<i64>,
    /// The document it is attached to.
    pub attached: Option<Attached>,
}

/// Where an attached document hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The parent's id.
    pub to: String,
    /// The parent's class.
    pub class: String,
    /// The parent's collection.
    pub collection: String,
}

impl Tx {
    /// Checks one transaction. Fields that no rule knows are kept in
    /// [`Tx::json`]; `meta` is dropped, because it is never persisted. U+0000
    /// in a text becomes U+FFFD: not every engine can store it, and what is
    /// broadcast must be what is stored.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its field.
    pub fn parse(json: Value) -> Result<Self, TxError> {
        let Value::Object(mut fields) = json else {
            return Err(TxError::NotAnObject { found: type_name(&json) });
        };
        fields.shift_remove("meta");
        if !fields_within_depth(&fields, MAX_DEPTH) {
            return Err(TxError::TooDeep);
        }
        fields.values_mut().for_each(replace_nul);
        let reader = Reader(&fields);
        let class = reader.text("_class")?;
        let action = match class.as_str() {
            CREATE => Action::Create(reader.create()?),
            UPDATE => Action::Update(reader.update("operations")?),
            MIXIN => {
                Action::Mixin { mixin: reader.text("mixin")?, update: reader.update("attributes")? }
            }
            REMOVE => Action::Remove,
            _ => return Err(TxError::Unsupported { class: class.chars().take(64).collect() }),
        };
        Ok(Self {
            id: reader.text("_id")?,
            object_id: reader.text("objectId")?,
            object_class: reader.text("objectClass")?,
            object_space: reader.text("objectSpace")?,
            modified_by: reader.text("modifiedBy")?,
            modified_on: reader.time("modifiedOn")?,
            action,
            json: Value::Object(fields),
        })
    }

    /// The transaction as it is logged and broadcast.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The transaction as it is logged and broadcast, without a copy.
    pub fn into_json(self) -> Value {
        self.json
    }
}

const TEXT: &str = "a text of 1 to 256 bytes without control characters";
const TIME: &str = "an integer of milliseconds since 1970";

/// Reads fields and names the one that is wrong.
struct Reader<'a>(&'a Map<String, Value>);

impl Reader<'_> {
    fn required(&self, field: &'static str, expected: &'static str) -> Result<&Value, TxError> {
        self.present(field).ok_or(TxError::Missing { field, expected })
    }

    fn present(&self, field: &'static str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn text(&self, field: &'static str) -> Result<String, TxError> {
        text(field, self.required(field, TEXT)?)
    }

    fn time(&self, field: &'static str) -> Result<i64, TxError> {
        time(field, self.required(field, TIME)?)
    }

    fn update(&self, field: &'static str) -> Result<Update, TxError> {
        let operations = self.required(field, "an object")?;
        Update::parse(operations).map_err(|source| TxError::Update { field, source })
    }

    fn create(&self) -> Result<Create, TxError> {
        const OBJECT: &str = "an object";
        let attributes = match self.required("attributes", OBJECT)? {
            Value::Object(attributes) => attributes.clone(),
            other => {
                return Err(TxError::Wrong {
                    field: "attributes",
                    expected: OBJECT,
                    found: type_name(other),
                });
            }
        };
        let attached = match self.present("attachedTo") {
            None => None,
            Some(to) => Some(Attached {
                to: text("attachedTo", to)?,
                class: self.text("attachedToClass")?,
                collection: self.text("collection")?,
            }),
        };
        Ok(Create {
            attributes,
            created_by: self.present("createdBy").map(|by| text("createdBy", by)).transpose()?,
            created_on: self.present("createdOn").map(|on| time("createdOn", on)).transpose()?,
            attached,
        })
    }
}

fn text(field: &'static str, value: &Value) -> Result<String, TxError> {
    match value {
        Value::String(text) if is_id(text) => Ok(text.clone()),
        Value::String(text) if text.is_empty() => Err(wrong(field, TEXT, "an empty one")),
        Value::String(text) if text.len() > MAX_ID_BYTES => Err(wrong(field, TEXT, "a longer one")),
        Value::String(_) => Err(wrong(field, TEXT, "one with control characters")),
        other => Err(wrong(field, TEXT, type_name(other))),
    }
}

fn time(field: &'static str, value: &Value) -> Result<i64, TxError> {
    let found = if value.is_number() { "a number that is none" } else { type_name(value) };
    value.as_i64().ok_or_else(|| wrong(field, TIME, found))
}

fn wrong(field: &'static str, expected: &'static str, found: &'static str) -> TxError {
    TxError::Wrong { field, expected, found }
}

/// True if the text can be an identifier: 1 to [`MAX_ID_BYTES`] bytes without
/// control characters.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ID_BYTES && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn create() -> Value {
        json!({
            "_id": "t1", "_class": CREATE, "space": "core:space:Tx", "objectId": "d1",
            "objectClass": "tracker:class:Issue", "objectSpace": "p1", "modifiedBy": "a1", "modifiedOn": 5,
            "attributes": {"title": "x"}
        })
    }

    fn with(field: &str, value: Value) -> Value {
        let mut json = create();
        json[field] = value;
        json
    }

    #[test]
    fn every_missing_field_is_named() {
        for field in [
            "_id",
            "_class",
            "objectId",
            "objectClass",
            "objectSpace",
            "modifiedBy",
            "modifiedOn",
            "attributes",
        ] {
            let error = Tx::parse(with(field, Value::Null)).unwrap_err();
            assert!(
                matches!(error, TxError::Missing { field: named, .. } if named == field),
                "{field}: {error}"
            );
        }
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named_with_what_it_must_be() {
        let error = Tx::parse(with("modifiedOn", json!("now"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "field `modifiedOn` must be an integer of milliseconds since 1970, not a string"
        );
        for (field, value) in [
            ("objectId", json!(7)),
            ("objectId", json!("")),
            ("_id", json!("x".repeat(MAX_ID_BYTES + 1))),
            ("objectSpace", json!("a\nb")),
            ("modifiedOn", json!(1.5)),
            ("attributes", json!([])),
            ("createdOn", json!("x")),
            ("attachedTo", json!(1)),
        ] {
            let error = Tx::parse(with(field, value)).unwrap_err();
            assert!(
                matches!(error, TxError::Wrong { field: named, .. } if named == field),
                "{field}: {error}"
            );
        }
    }

    #[test]
    fn other_classes_of_transaction_are_refused_by_name() {
        for class in ["core:class:TxApplyIf", "core:class:TxWorkspaceEvent", "nonsense"] {
            let error = Tx::parse(with("_class", json!(class))).unwrap_err();
            assert_eq!(error, TxError::Unsupported { class: class.into() });
        }
    }

    #[test]
    fn unknown_fields_are_logged_and_meta_is_not() {
        let mut json = with("extra", json!({"kept": true}));
        json["meta"] = json!({"dropped": true});
        assert_eq!(Tx::parse(json).unwrap().into_json(), with("extra", json!({"kept": true})));
    }

    #[test]
    fn a_text_is_logged_without_nul() {
        let tx = Tx::parse(with("attributes", json!({"a\u{0}": ["x\u{0}y"]}))).unwrap();
        assert_eq!(tx.json()["attributes"], json!({"a\u{fffd}": ["x\u{fffd}y"]}));
    }

    #[test]
    fn an_attached_document_needs_its_class_and_collection() {
        let error = Tx::parse(with("attachedTo", json!("parent"))).unwrap_err();
        assert!(matches!(error, TxError::Missing { field: "attachedToClass", .. }), "{error}");
    }

    #[test]
    fn operations_are_checked_before_any_document_is_read() {
        let mut json = with("_class", json!(UPDATE));
        json["operations"] = json!({"$nope": {}});
        assert_eq!(
            Tx::parse(json).unwrap_err().to_string(),
            "field `operations`: unknown operator `$nope`; known are $inc, $push, $pull, $unset, $rename, $update and plain keys"
        );
    }

    #[test]
    fn a_mixin_needs_its_name_and_attributes_that_are_an_update() {
        let mut json = with("_class", json!(MIXIN));
        let missing = |field| TxError::Missing { field, expected: TEXT };
        assert_eq!(Tx::parse(json.clone()).unwrap_err(), missing("mixin"));
        json["mixin"] = json!("contact:mixin:Employee");
        assert!(matches!(Tx::parse(json.clone()).unwrap().action, Action::Mixin { .. }));
        json["attributes"] = json!({"$nope": {}});
        let error = Tx::parse(json).unwrap_err().to_string();
        assert!(error.starts_with("field `attributes`: unknown operator `$nope`"), "{error}");
    }

    #[test]
    fn a_transaction_that_nests_without_end_is_refused() {
        let mut deep = json!(1);
        for _ in 0..MAX_DEPTH {
            deep = json!([deep]);
        }
        assert_eq!(Tx::parse(with("attributes", json!({"deep": deep}))), Err(TxError::TooDeep));
        assert!(matches!(Tx::parse(json!([])), Err(TxError::NotAnObject { found: "an array" })));
    }
}
