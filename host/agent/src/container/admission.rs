//! Which requests a container is given at all. Pure.
//!
//! Containers may ask in circles: a container that works on several requests
//! at a time serves the one that comes back, one that works on a single one
//! refuses it, because it would wait for itself. Circles that a container
//! closes inside, with a lock of its own, only it can see: it is told who waits
//! (`caller.path`).

use hulynet_protocol::{ContainerId, ErrorKind, NetworkError, limits::OPERATION_BYTES};

use super::Incoming;
use hulynet_agent_kinds::ContainerLimits;

/// Checks a request, for whose answer these containers wait.
///
/// # Errors
/// All final: the same request is refused again.
pub(super) fn check(
    id: &ContainerId,
    limits: &ContainerLimits,
    incoming: &Incoming,
    waiting: &[ContainerId],
) -> Result<(), NetworkError> {
    let refused = |kind, text: String| Err(NetworkError::refused(kind, text));
    if incoming.operation.len() > OPERATION_BYTES {
        return refused(
            ErrorKind::InvalidArguments,
            format!("the operation's name is over {OPERATION_BYTES} bytes"),
        );
    }
    let bytes = incoming.payload.len();
    if bytes > limits.request_bytes {
        return refused(
            ErrorKind::TooLarge,
            format!(
                "a request of {bytes} bytes; the container {id} takes at most {}",
                limits.request_bytes
            ),
        );
    }
    if waiting.len() >= limits.depth {
        return refused(
            ErrorKind::Busy,
            format!(
                "{} containers wait for one another and for {id}, at most {} may: {}",
                waiting.len(),
                limits.depth,
                way(waiting, id)
            ),
        );
    }
    if limits.concurrent == 1 && waiting.contains(id) {
        return refused(
            ErrorKind::Busy,
            format!(
                "the container {id} works on one request at a time and would wait for itself: {}; \
                 answer first and ask then, or let it work on several",
                way(waiting, id)
            ),
        );
    }
    Ok(())
}

/// The way that a request took, as far as a message has room.
fn way(path: &[ContainerId], id: &ContainerId) -> String {
    const SHOWN: usize = 8;
    let skipped = path.len().saturating_sub(SHOWN);
    let steps = path.iter().skip(skipped).chain([id]).map(ToString::to_string);
    let start = (skipped > 0).then(|| "…".to_owned());
    start.into_iter().chain(steps).collect::<Vec<_>>().join(" → ")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;
    use hulynet_protocol::{Caller, Kind, Retry, Uuid};

    use super::*;

    fn id(uuid: &str) -> ContainerId {
        ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new(uuid).unwrap() }
    }

    fn by(path: &[&str]) -> Incoming {
        Incoming {
            operation: "echo".to_owned(),
            payload: Bytes::from_static(b"1234"),
            caller: Caller { account: None, path: path.iter().map(|uuid| id(uuid)).collect() },
            deadline: Instant::now(),
            idempotency: None,
            trace: 0,
        }
    }

    /// Of a container that is asked, with everybody waiting.
    fn admit(limits: &ContainerLimits, incoming: &Incoming) -> Result<(), NetworkError> {
        check(&id("a"), limits, incoming, &incoming.caller.path)
    }

    fn refusal(limits: &ContainerLimits, incoming: &Incoming) -> String {
        let error = admit(limits, incoming).unwrap_err();
        assert_eq!(error.retry, Retry::Final);
        error.message
    }

    #[test]
    fn a_circle_is_served_by_a_concurrent_container_and_refused_by_an_exclusive_one() {
        let limits = ContainerLimits::default();
        admit(&limits, &by(&["a", "b"])).unwrap();
        let limits = ContainerLimits { concurrent: 1, ..limits };
        admit(&limits, &by(&["b", "c"])).unwrap();
        assert_eq!(
            refusal(&limits, &by(&["a", "b"])),
            "the container echo/a works on one request at a time and would wait for itself: \
             echo/a → echo/b → echo/a; answer first and ask then, or let it work on several"
        );
    }

    #[test]
    fn calls_are_nested_as_deep_as_allowed_and_no_deeper() {
        let limits = ContainerLimits { depth: 2, ..ContainerLimits::default() };
        admit(&limits, &by(&["b"])).unwrap();
        let message = refusal(&limits, &by(&["c", "b"]));
        assert!(message.contains("at most 2 may: echo/c → echo/b → echo/a"), "{message}");
        let long = vec!["x"; 1_000];
        let message = refusal(&limits, &by(&long));
        assert!(message.contains("… → echo/x") && message.len() < 300, "{message}");
    }

    #[test]
    fn a_large_request_is_refused() {
        let limits = ContainerLimits { request_bytes: 3, ..ContainerLimits::default() };
        let message = refusal(&limits, &by(&[]));
        assert_eq!(message, "a request of 4 bytes; the container echo/a takes at most 3");
    }
}
