//! Questions about JSON values that several modules ask.

use serde_json::{Map, Number, Value};

/// Deepest nesting that a document may have.
///
/// Readers of JSON commonly stop at 128 levels (serde_json does), and a
/// document travels inside messages that add a few levels of their own.
pub(crate) const MAX_DEPTH: usize = 64;

/// The largest integer up to which every integer is exact in a double.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Names the type of a value, with its article, for error messages.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// True if the value nests at most `limit` levels of arrays and objects.
pub(crate) fn within_depth(value: &Value, limit: usize) -> bool {
    match value {
        Value::Array(items) => limit > 0 && items.iter().all(|item| within_depth(item, limit - 1)),
        Value::Object(fields) => fields_within_depth(fields, limit),
        _ => true,
    }
}

/// [`within_depth`] of the object that these fields make.
pub(crate) fn fields_within_depth(fields: &Map<String, Value>, limit: usize) -> bool {
    limit > 0 && fields.values().all(|field| within_depth(field, limit - 1))
}

/// Replaces U+0000 by U+FFFD in every text and key. The value's depth must be
/// known to be bounded.
pub(crate) fn replace_nul(value: &mut Value) {
    let replaced = |text: &str| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(text) if text.contains('\0') => *text = replaced(text),
        Value::Array(items) => items.iter_mut().for_each(replace_nul),
        Value::Object(fields) => {
            fields.values_mut().for_each(replace_nul);
            if fields.keys().any(|key| key.contains('\0')) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(key, value)| (replaced(&key), value))
                    .collect();
            }
        }
        _ => {}
    }
}

/// Adds two numbers: integers stay integers, and a fraction that adds up to a
/// whole number becomes an integer, as a reader with one number type sees it.
/// `None` if the sum is not finite.
pub(crate) fn add(left: &Number, right: &Number) -> Option<Number> {
    if let (Some(left), Some(right)) = (integer(left), integer(right)) {
        let sum = left + right;
        if let Ok(sum) = i64::try_from(sum) {
            return Some(sum.into());
        }
        if let Ok(sum) = u64::try_from(sum) {
            return Some(sum.into());
        }
    }
    let sum = left.as_f64()? + right.as_f64()?;
    if sum.fract() == 0.0 && sum.abs() <= MAX_EXACT {
        return Some((sum as i64).into());
    }
    Number::from_f64(sum)
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sum(left: Value, right: Value) -> Value {
        let (Value::Number(left), Value::Number(right)) = (left, right) else {
            panic!("not numbers")
        };
        add(&left, &right).map_or(Value::Null, Value::Number)
    }

    #[test]
    fn integers_stay_integers() {
        assert_eq!(sum(json!(1), json!(2)), json!(3));
        assert_eq!(sum(json!(u64::MAX), json!(-1)), json!(u64::MAX - 1));
        assert_eq!(sum(json!(1.5), json!(0.5)), json!(2));
        assert_eq!(sum(json!(1.5), json!(0.25)), json!(1.75));
    }

    #[test]
    fn a_sum_beyond_every_number_is_refused_and_never_wraps() {
        assert_eq!(sum(json!(f64::MAX), json!(f64::MAX)), Value::Null);
        assert_eq!(sum(json!(u64::MAX), json!(u64::MAX)), json!(u64::MAX as f64 * 2.0));
    }

    #[test]
    fn depth_counts_arrays_and_objects() {
        assert!(within_depth(&json!(1), 0));
        assert!(!within_depth(&json!([]), 0));
        assert!(within_depth(&json!({"a": [1]}), 2));
        assert!(!within_depth(&json!({"a": [[]]}), 2));
    }
}
