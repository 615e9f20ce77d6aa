//! What calls into containers of both worlds have in common.

use std::time::Instant;

use hulynet_protocol::{ConnectionId, ErrorKind, NetworkError, limits::PAYLOAD_BYTES};
use tokio::sync::oneshot;

use super::{handle::Incoming, reply::Reply};
use crate::{
    bindings::huly::network::common::{Error, Trace},
    capabilities::{Connections, from_guest, raise},
    network::Answer,
};

/// Milliseconds that a request has left, and who is to be answered. Nobody is
/// when the deadline passed while it waited.
pub(super) fn wanted(incoming: &Incoming, reply: Reply) -> Option<(u32, Reply)> {
    let left = incoming.deadline.saturating_duration_since(Instant::now());
    let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
    if deadline_ms > 0 && !reply.is_gone() {
        return Some((deadline_ms, reply));
    }
    reply.send(Err(NetworkError::not_processed(
        ErrorKind::DeadlineExceeded,
        "the deadline passed while the request waited for the container",
    )));
    None
}

/// An answer in one piece, which may have at most `limit` bytes; what helps when
/// it has more.
pub(super) fn whole(payload: Vec<u8>, limit: usize, remedy: &str) -> Result<Answer, NetworkError> {
    if payload.len() <= limit {
        return Ok(Answer::Payload(payload.into()));
    }
    let bytes = payload.len();
    let mut text =
        format!("the answer has {bytes} bytes, and at most {limit} are allowed; {remedy}");
    // The network carries no more than that, whatever is allowed.
    if limit < PAYLOAD_BYTES {
        text += &format!(", or {}", raise("reply-bytes"));
    }
    Err(NetworkError::maybe_processed(ErrorKind::TooLarge, text))
}

/// Who is told whether a client is connected.
pub(super) type Connected = oneshot::Sender<Result<(), NetworkError>>;

/// Who waits for a connection, if the client is still there.
pub(super) fn still_there(
    connections: &Connections,
    connection: &ConnectionId,
    reply: Connected,
) -> Option<Connected> {
    if !reply.is_closed() && connections.contains(connection) {
        return Some(reply);
    }
    // The client left while the call waited, and the container was told so
    // already: it must not hear of the beginning after the end. There is hardly
    // anybody to tell.
    let _ = reply.send(Err(NetworkError::not_processed(
        ErrorKind::Cancelled,
        "the client left before it was connected",
    )));
    None
}

/// Why a container is not well that says so.
pub(super) fn unwell(error: Error) -> String {
    format!("it answered a ping with: {}", from_guest(error))
}

/// A trace as containers know it.
pub(super) fn guest_trace(trace: u128) -> Trace {
    let (high, low) = uuid::Uuid::from_u128(trace).as_u64_pair();
    Trace { high, low }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_told_in_its_halves() {
        let Trace { high, low } = guest_trace(1 << 64 | 2);
        assert_eq!((high, low), (1, 2));
    }

    #[test]
    fn who_may_allow_no_larger_answer_is_not_told_to() {
        let refused = |bytes, limit| {
            let Err(error) = whole(vec![0; bytes], limit, "stream it") else {
                panic!("{bytes} bytes were taken with a limit of {limit}")
            };
            error.message
        };
        let raise = format!(", or {}", raise("reply-bytes"));
        let lowered = "the answer has 3 bytes, and at most 2 are allowed; stream it";
        assert_eq!(refused(3, 2), format!("{lowered}{raise}"));
        let largest = "the answer has 16777217 bytes, and at most 16777216 are allowed; stream it";
        assert_eq!(refused(PAYLOAD_BYTES + 1, PAYLOAD_BYTES), largest);
    }
}
