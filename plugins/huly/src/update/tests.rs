use proptest::prelude::*;
use serde_json::json;

use super::*;

fn update(before: Value, operations: Value) -> Result<Value, UpdateError> {
    let Value::Object(before) = before else { panic!("the document is an object") };
    Update::parse(&operations)?.apply(before).map(Value::Object)
}

#[test]
fn an_unknown_operator_is_refused_whatever_the_document_is() {
    let error = Update::parse(&json!({"a": 1, "$set": {"b": 1}})).unwrap_err();
    assert_eq!(error, UpdateError::UnknownOperator { operator: "$set".into() });
}

#[test]
fn every_operator_takes_dotted_keys() {
    let before = json!({"a": {"n": 1, "l": [1, 2], "o": [{"k": 1}], "x": 0, "old": 5}});
    let after = update(
        before,
        json!({
            "$inc": {"a.n": 1}, "$push": {"a.l": 3}, "$pull": {"a.l": 1}, "$unset": {"a.x": ""},
            "$rename": {"a.old": "b.new"}, "$update": {"a.o": {"$query": {"k": 1}, "$update": {"v": 2}}}
        }),
    );
    assert_eq!(
        after.unwrap(),
        json!({"a": {"n": 2, "l": [2, 3], "o": [{"k": 1, "v": 2}]}, "b": {"new": 5}})
    );
}

#[test]
fn an_operator_refuses_what_the_document_holds_by_name() {
    for (operations, message) in [
        (
            json!({"$inc": {"t": 1}}),
            "$inc needs a number at `t`, but the document has a string there",
        ),
        (
            json!({"$push": {"t": 1}}),
            "$push needs an array at `t`, but the document has a string there",
        ),
        (
            json!({"$pull": {"t": 1}}),
            "$pull needs an array at `t`, but the document has a string there",
        ),
        (
            json!({"$unset": {"l.0": 1}}),
            "$unset needs a key at `l.0`, but the document has an element of an array there",
        ),
    ] {
        assert_eq!(
            update(json!({"t": "text", "l": [1]}), operations).unwrap_err().to_string(),
            message
        );
    }
}

#[test]
fn an_operand_of_the_wrong_shape_is_refused_by_name() {
    for operations in [
        json!({"$inc": 1}),
        json!({"$inc": {"a": "1"}}),
        json!({"$push": {"a": {"$each": 1}}}),
        json!({"$push": {"a": {"$each": [], "$position": -1}}}),
        json!({"$push": {"a": {"$each": [], "$slice": 1}}}),
        json!({"$pull": {"a": {"$gt": 1}}}),
        json!({"$rename": {"a": 1}}),
        json!({"$update": {"a": {"$query": {}}}}),
        json!({"$update": {"a": {"$query": {}, "$update": {"$inc": {"x": 1}}}}}),
    ] {
        assert!(
            matches!(Update::parse(&operations), Err(UpdateError::Operand { .. })),
            "{operations}"
        );
    }
    assert!(matches!(
        Update::parse(&json!([])),
        Err(UpdateError::NotAnObject { found: "an array" })
    ));
}

#[test]
fn a_position_beyond_the_end_is_the_end() {
    let after =
        update(json!({"l": [1]}), json!({"$push": {"l": {"$each": [2], "$position": u64::MAX}}}));
    assert_eq!(after.unwrap(), json!({"l": [1, 2]}));
}

#[test]
fn all_matching_elements_are_updated() {
    let after = update(
        json!({"l": [{"k": 1}, {"k": 1.0, "v": 0}, {"k": 2}, 7]}),
        json!({"$update": {"l": {"$query": {"k": 1}, "$update": {"v": 5}}}}),
    );
    assert_eq!(after.unwrap(), json!({"l": [{"k": 1, "v": 5}, {"k": 1.0, "v": 5}, {"k": 2}, 7]}));
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c$.0]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[$]?(a|b|0|each|in|position|query|update)", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_update_of_any_document_panics(
        before in prop::collection::btree_map("[a-c]", json_value(), 0..4),
        operations in prop::collection::btree_map(
            prop_oneof!["[$](inc|push|pull|unset|rename|update)", "[a-c0.]{0,5}"],
            prop_oneof![json_value(), prop::collection::btree_map("[a-c0](\\.[a-c0]){0,2}", json_value(), 0..3)
                .prop_map(|keys| Value::Object(keys.into_iter().collect()))],
            0..4,
        ),
    ) {
        let operations = Value::Object(operations.into_iter().collect());
        if let Ok(update) = Update::parse(&operations) {
            let _outcome = update.apply(before.into_iter().collect());
        }
    }
}
