use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Whether two values are the same, numbers by value: `1` is `1.0`.
#[must_use]
pub fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b).is_eq(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_value(a, b)))
        }
        _ => a == b,
    }
}

/// The order of values in a sort: missing and `null`, booleans, numbers,
/// texts (without regard to case, then by code point), arrays (element by
/// element), objects (all alike). A total preorder over any values.
#[must_use]
pub fn compare_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => compare_texts(a, b),
        (Value::Array(a), Value::Array(b)) => a
            .iter()
            .zip(b)
            .map(|(a, b)| compare_values(a, b))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// The order that `$gt` and its kin see: none between different types.
pub(crate) fn compare_scalars(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => Some(compare_numbers(a, b)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// About how many bytes a value takes as JSON text; escapes are not counted.
#[must_use]
pub fn approximate_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => {
            2 + items.iter().map(|item| approximate_bytes(item) + 1).sum::<usize>()
        }
        Value::Object(fields) => {
            2 + fields
                .iter()
                .map(|(key, item)| key.len() + 4 + approximate_bytes(item))
                .sum::<usize>()
        }
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

/// Integers beyond 2^53 share a float with their neighbours; the exact part
/// behind the float keeps the order total.
fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    let (a_float, a_exact) = number_key(a);
    let (b_float, b_exact) = number_key(b);
    a_float.partial_cmp(&b_float).unwrap_or(Ordering::Equal).then(a_exact.cmp(&b_exact))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "two floats that are equal have the same saturated integer"
)]
fn number_key(number: &Number) -> (f64, i128) {
    let float = number.as_f64().unwrap_or(0.0);
    let exact = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
        .unwrap_or(float as i128);
    (float, exact)
}

fn compare_texts(a: &str, b: &str) -> Ordering {
    let order = if a.is_ascii() && b.is_ascii() {
        let a = a.bytes().map(|byte| byte.to_ascii_lowercase());
        a.cmp(b.bytes().map(|byte| byte.to_ascii_lowercase()))
    } else {
        fold_case(a).cmp(&fold_case(b))
    };
    order.then_with(|| a.cmp(b))
}

/// Lower case, each character by itself: unlike in `str::to_lowercase`, what
/// stands beside a character has no influence, so parts fold like the whole.
pub(crate) fn fold_case(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        assert!(same_value(&json!(1), &json!(1.0)));
        assert!(same_value(&json!({"a": [0, -0.0]}), &json!({"a": [0.0, 0]})));
        assert!(!same_value(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
        assert!(compare_values(&json!(-1), &json!(u64::MAX)).is_lt());
    }

    #[test]
    fn texts_sort_without_regard_to_case() {
        let mut texts = vec![json!("b"), json!("B"), json!("a"), json!("Ä"), json!("C")];
        texts.sort_by(compare_values);
        assert_eq!(texts, vec![json!("a"), json!("B"), json!("b"), json!("C"), json!("Ä")]);
    }

    fn values() -> impl Strategy<Value = Value> {
        let near = (9_007_199_254_740_990_i64..9_007_199_254_740_995).prop_map(|n| json!(n));
        let floats =
            (9_007_199_254_740_990_i64..9_007_199_254_740_995).prop_map(|n| json!(n as f64));
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
            any::<f32>().prop_map(|n| json!(n)),
            near,
            floats,
            "[aAbBßİ]{0,3}".prop_map(Value::from),
            prop::collection::vec(any::<i8>(), 0..3).prop_map(|list| json!(list)),
        ]
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in values(), b in values(), c in values()) {
            prop_assert_eq!(compare_values(&a, &b), compare_values(&b, &a).reverse());
            if compare_values(&a, &b).is_le() && compare_values(&b, &c).is_le() {
                prop_assert!(compare_values(&a, &c).is_le());
            }
        }
    }
}
