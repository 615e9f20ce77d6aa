//! What a coordinator asks of an agent, and what the agent answers.

use std::borrow::Cow;

use bytes::Bytes;
use hulynet_protocol::{AgentId, ErrorKind, Kind, Labels, NetworkError, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    json::{self, Elements},
    labels, records,
};

/// The longest answer of a client that does not know the agent.
const MISSING_BYTES: usize = 4 * 1024;

/// The wish in a get, with the members that are there.
#[derive(Serialize)]
struct Wanted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<&'a Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<&'a RawValue>,
}

/// Asks an agent for a container; without a uuid it may give one that it has.
///
/// # Errors
/// `InvalidArguments` when `extra` is not JSON: agents of this language take
/// nothing else.
pub fn get(
    agent: &AgentId,
    kind: &Kind,
    uuid: Option<&Uuid>,
    labels: &Labels,
    extra: &[u8],
) -> Result<Bytes, NetworkError> {
    let extra = match extra {
        [] => None,
        extra => Some(raw("the extra of the container", extra)?),
    };
    let labels = (!labels.is_empty()).then(|| labels::write(labels));
    let wanted = Wanted { uuid, labels, extra };
    Ok(records::write(&("gg", (agent, (kind, wanted)))))
}

/// Asks an agent to pass a request to a container.
///
/// # Errors
/// `InvalidArguments` when the payload is not JSON.
pub fn send(
    agent: &AgentId,
    container: &Uuid,
    operation: &str,
    payload: &[u8],
) -> Result<Bytes, NetworkError> {
    Ok(records::write(&("cs", (agent, (container, operation, argument(payload)?)))))
}

/// Asks an agent to end a container.
#[must_use]
pub fn terminate(agent: &AgentId, container: &Uuid) -> Bytes {
    records::write(&("ct", (agent, (container,))))
}

fn argument(payload: &[u8]) -> Result<&RawValue, NetworkError> {
    match payload {
        [] => Ok(RawValue::NULL),
        payload => raw("the payload", payload),
    }
}

fn raw<'a>(what: &str, bytes: &'a [u8]) -> Result<&'a RawValue, NetworkError> {
    let refuse = |why: String| {
        NetworkError::refused(
            ErrorKind::InvalidArguments,
            format!("{what} goes to an agent that takes JSON only, and it is none: {why}"),
        )
    };
    let text = json::text(bytes).map_err(|error| refuse(error.0))?;
    serde_json::from_str(text).map_err(|error| refuse(error.to_string()))
}

/// The container that an agent gave: its uuid and the reference to it.
///
/// # Errors
/// `Protocol` for an answer of another shape; what [`result`] says.
pub fn given(answer: Result<Bytes, Bytes>) -> Result<(Uuid, String), NetworkError> {
    let answer = result(answer)?;
    let read = || -> Option<(Uuid, String)> {
        let text = json::text(&answer).ok()?;
        let Elements([uuid, reference]) = serde_json::from_str(text).ok()?;
        let uuid: String = serde_json::from_str(uuid?.get()).ok()?;
        Some((Uuid::new(uuid).ok()?, serde_json::from_str(reference?.get()).ok()?))
    };
    read().ok_or_else(|| {
        NetworkError::maybe_processed(
            ErrorKind::Protocol,
            "the agent did not answer with a uuid and a reference",
        )
    })
}

/// The answer of an agent; its errors are the container's. They carry the
/// stack that the agent sent, as the original passes it on.
///
/// # Errors
/// `Application`, final; not processed when the agent does not know itself by
/// the id it registered with.
pub fn result(answer: Result<Bytes, Bytes>) -> Result<Bytes, NetworkError> {
    match answer {
        Ok(result) => match missing_agent(&result) {
            Some(why) => Err(NetworkError::not_processed(ErrorKind::Unavailable, why)),
            None => Ok(result),
        },
        Err(error) => Err(NetworkError::refused(ErrorKind::Application, failure(&error))),
    }
}

/// A client that does not know the agent answers without an error.
fn missing_agent(result: &[u8]) -> Option<String> {
    // Looked at only where it can be the case: results may be large.
    if !result.starts_with(b"{\"error\":\"Agent ") || result.len() > MISSING_BYTES {
        return None;
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Missing {
        error: String,
    }
    let Missing { error } = serde_json::from_slice(result).ok()?;
    error.ends_with(" not found").then_some(error)
}

/// What an error answer says: its message, then its stack.
#[must_use]
pub fn failure(error: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Failure<'a> {
        #[serde(borrow)]
        message: Cow<'a, str>,
        #[serde(borrow, default)]
        stack: Option<Cow<'a, str>>,
    }
    match serde_json::from_slice(error) {
        Ok(Failure { message, stack: Some(stack) }) if !stack.is_empty() => {
            format!("{message}\n{stack}")
        }
        Ok(Failure { message, .. }) => message.into_owned(),
        Err(_) => "the peer failed without saying why".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> AgentId {
        AgentId::new("agent-A").unwrap()
    }

    fn uuid() -> Uuid {
        Uuid::new("c-1").unwrap()
    }

    #[test]
    fn questions_are_written_as_the_original_writes_them() {
        let kind = Kind::new("echo").unwrap();
        let get = |uuid: Option<&Uuid>, labels: &Labels, extra: &[u8]| {
            get(&agent(), &kind, uuid, labels, extra).unwrap()
        };
        assert_eq!(get(None, &Labels::new(), b""), r#"["gg",["agent-A",["echo",{}]]]"#);
        assert_eq!(
            get(Some(&uuid()), &labels::read(["l1", "l2"]), br#"{"x":1}"#),
            r#"["gg",["agent-A",["echo",{"uuid":"c-1","labels":["l1","l2"],"extra":{"x":1}}]]]"#
        );
        assert_eq!(
            send(&agent(), &uuid(), "echo", br#"{"a": 1.0}"#).unwrap(),
            r#"["cs",["agent-A",["c-1","echo",{"a": 1.0}]]]"#
        );
        assert_eq!(
            send(&agent(), &uuid(), "echo", b"").unwrap(),
            r#"["cs",["agent-A",["c-1","echo",null]]]"#
        );
        assert_eq!(terminate(&agent(), &uuid()), r#"["ct",["agent-A",["c-1"]]]"#);
        assert!(send(&agent(), &uuid(), "echo", b"\xff\x00").is_err());
    }

    #[test]
    fn answers_are_results_or_errors_with_what_the_agent_said() {
        let ok = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let err = |text: &'static str| Err(Bytes::from_static(text.as_bytes()));
        assert_eq!(given(ok(r#"["c-1","{}"]"#)).unwrap(), (uuid(), "{}".to_owned()));
        for wrong in ["null", "[]", r#"["c-1"]"#, r#"["",""]"#, "[1,2]", "x"] {
            assert_eq!(given(ok(wrong)).unwrap_err().kind, ErrorKind::Protocol, "{wrong}");
        }
        let missing = result(ok(r#"{"error":"Agent agent-A not found"}"#)).unwrap_err();
        assert_eq!(missing.message, "Agent agent-A not found");
        assert!(result(ok(r#"{"error":"Agent A failed"}"#)).is_ok());
        let failed = result(err(r#"{"message":"boom","stack":"Error: boom\n  at x"}"#));
        assert_eq!(failed.unwrap_err().message, "boom\nError: boom\n  at x");
        assert_eq!(failure(br#"{"message":"boom","stack":null}"#), "boom");
        assert_eq!(failure(b"junk"), "the peer failed without saying why");
    }
}
