//! What takes longer than a turn is done beside the threads on which containers
//! run, where it would keep the others waiting.

use hulynet_protocol::{ErrorKind, NetworkError};
use serde_json::Value;

/// Bytes of JSON that take about a turn to be read or written.
pub(super) const AT_ONCE: usize = 128 * 1024;

/// Does something right here, or beside when it is `long`.
///
/// # Errors
/// `Internal` when it was lost: a defect, or the agent ends.
pub(super) async fn done<T: Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NetworkError> {
    if !long {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|lost| {
        let text = format!("documents could not be read or written: {lost}");
        NetworkError::not_processed(ErrorKind::Internal, text)
    })
}

/// Whether these have more than [`AT_ONCE`] bytes as texts, about. Looks no
/// further than it takes to know that.
pub(super) fn long_as_text<'v>(values: impl IntoIterator<Item = &'v Value>) -> bool {
    let mut left = AT_ONCE;
    !values.into_iter().all(|value| fits(value, &mut left))
}

/// Values that were read once are not nested deeper than JSON may be.
fn fits(value: &Value, left: &mut usize) -> bool {
    // Its separator, or its end.
    let own = match value {
        Value::String(text) => text.len() + 3,
        Value::Null | Value::Bool(_) | Value::Number(_) => 5,
        Value::Array(_) | Value::Object(_) => 2,
    };
    let Some(rest) = left.checked_sub(own) else { return false };
    *left = rest;
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, left)),
        Value::Object(fields) => fields.iter().all(|(name, value)| {
            let rest = left.checked_sub(name.len() + 4);
            *left = rest.unwrap_or(0);
            rest.is_some() && fits(value, left)
        }),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn only_what_is_long_is_done_beside() {
        let here = thread::current().id();
        assert_eq!(done(false, || thread::current().id()).await.unwrap(), here);
        assert_ne!(done(true, || thread::current().id()).await.unwrap(), here);
    }

    #[test]
    fn values_are_long_by_all_that_is_in_them() {
        let long = "x".repeat(AT_ONCE);
        let half = "x".repeat(AT_ONCE / 2);
        assert!(long_as_text([&json!(long)]));
        assert!(long_as_text([&json!([{ "a": [long] }])]));
        assert!(long_as_text([&json!({ long: 1 })]));
        assert!(long_as_text([&json!(half), &json!([half])]));
        assert!(long_as_text([&json!(vec![1; AT_ONCE])]));
        assert!(!long_as_text([&json!(half), &json!({ "a": 1, "b": [null, true] })]));
        assert!(!long_as_text([]));
    }
}
