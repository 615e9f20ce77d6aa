//! What takes longer than a turn is done beside the threads on which containers
//! run, where it would keep the others waiting. Only so much at a time: these
//! threads are the system's to share out, and the store needs some, too.

use std::{
    sync::{Arc, LazyLock},
    thread,
};

use hulynet_protocol::{ErrorKind, NetworkError};
use serde_json::Value;
use tokio::sync::Semaphore;

/// Of all agents of this program: half of the processors. Who waits for one is
/// counted among the container's own requests.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new((processors / 2).max(1)))
});

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
    if long { in_place(&PLACES, work).await } else { Ok(work()) }
}

/// Does something when there is a place. Once begun it goes on to its end when
/// nobody waits for it any more, and keeps its place as long.
async fn in_place<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NetworkError> {
    // They are never closed.
    let place = places.clone().acquire_owned().await.ok();
    let working = tokio::task::spawn_blocking(move || {
        let _held = place;
        work()
    });
    working.await.map_err(|lost| {
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
    use std::sync::mpsc;

    use futures::poll;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn only_what_is_long_is_done_beside() {
        let here = thread::current().id();
        assert_eq!(done(false, || thread::current().id()).await.unwrap(), here);
        assert_ne!(done(true, || thread::current().id()).await.unwrap(), here);
    }

    #[tokio::test]
    async fn what_was_begun_keeps_its_place_when_nobody_waits_any_more() {
        let places = Arc::new(Semaphore::new(1));
        let (begun, begins) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let work = move || {
            begun.send(()).unwrap();
            gate.recv().unwrap();
        };
        assert!(poll!(Box::pin(in_place(&places, work))).is_pending());
        begins.recv().unwrap();
        assert_eq!(places.available_permits(), 0);
        let mut next = Box::pin(in_place(&places, || 2));
        assert!(poll!(next.as_mut()).is_pending());
        release.send(()).unwrap();
        assert_eq!(next.await.unwrap(), 2);
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
