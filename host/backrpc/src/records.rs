//! Containers and agents as lists and events show them.
//!
//! Members stand in the order of the original, which peers print and tests
//! compare.

use bytes::Bytes;
use hulynet_protocol::{AgentId, Kind, Labels, Uuid};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use serde_json::{Number, value::RawValue};

use crate::labels;

/// A container as an agent brings it; told again as it was received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brought {
    /// The agent that runs it.
    #[serde(rename = "agentId")]
    pub agent: AgentId,
    /// Its uuid.
    pub uuid: Uuid,
    /// The reference to it.
    pub endpoint: String,
    /// Its kind.
    pub kind: Kind,
    /// When it was used last, by its agent's clock.
    #[serde(rename = "lastVisit")]
    pub last_visit: Number,
}

/// A container that the coordinator had started.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// Its uuid.
    pub uuid: Uuid,
    /// The agent that runs it.
    pub agent: AgentId,
    /// Its kind.
    pub kind: Kind,
    /// When, in milliseconds since the coordinator's start.
    pub last_visit: f64,
    /// The reference to it.
    pub endpoint: String,
    /// Its labels; none are told as `null`.
    pub labels: Labels,
    /// What it was started with; nothing, or no JSON, is told as `null`.
    pub extra: Vec<u8>,
}

impl Serialize for Started {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = labels::write(&self.labels);
        let extra = std::str::from_utf8(&self.extra).ok();
        let extra: Option<&RawValue> = extra.and_then(|text| serde_json::from_str(text).ok());
        let mut record = serializer.serialize_struct("Started", 7)?;
        record.serialize_field("uuid", &self.uuid)?;
        record.serialize_field("agentId", &self.agent)?;
        record.serialize_field("kind", &self.kind)?;
        record.serialize_field("lastVisit", &self.last_visit)?;
        record.serialize_field("endpoint", &self.endpoint)?;
        record.serialize_field("labels", &(!texts.is_empty()).then_some(texts))?;
        record.serialize_field("extra", &extra)?;
        record.end()
    }
}

/// Either.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Record {
    /// From an agent.
    Brought(Brought),
    /// From the coordinator.
    Started(Started),
}

impl Record {
    /// The reference to the container.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        match self {
            Self::Brought(record) => &record.endpoint,
            Self::Started(record) => &record.endpoint,
        }
    }
}

/// An agent in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentRecord {
    /// Its id.
    #[serde(rename = "agentId")]
    pub agent: AgentId,
    /// The reference to it.
    pub endpoint: Option<String>,
    /// The kinds that it serves.
    pub kinds: Vec<Kind>,
    /// How many containers it runs.
    pub containers: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is another, or elsewhere.
    Updated,
    /// It is gone.
    Removed,
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match self {
            Self::Added => 0,
            Self::Updated => 1,
            Self::Removed => 2,
        })
    }
}

/// What happened to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentEvent {
    /// Its id.
    pub id: AgentId,
    /// The kinds that it serves.
    pub kinds: Vec<Kind>,
    /// What.
    pub event: Change,
}

/// What happened to a container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContainerEvent {
    /// Which.
    pub container: Record,
    /// What.
    pub event: Change,
}

/// The payload of a network event. Nothing in it is merged: removed and then
/// added are two facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Events {
    /// About agents, in order.
    pub agents: Vec<AgentEvent>,
    /// About containers, in order.
    pub containers: Vec<ContainerEvent>,
}

impl Events {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.containers.is_empty()
    }
}

/// The JSON of a record, an event or an answer.
#[must_use]
pub fn write(value: &impl Serialize) -> Bytes {
    // All of them are made of texts, numbers and checked JSON.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// The JSON of an error. The stack is empty: it would be ours.
#[must_use]
pub fn write_error(message: &str) -> Bytes {
    #[derive(Serialize)]
    struct Failure<'a> {
        message: &'a str,
        stack: &'a str,
    }
    write(&Failure { message, stack: "" })
}

/// The payload of a container's broadcast.
#[must_use]
pub fn write_broadcast(container: &Uuid, data: &Bytes) -> Bytes {
    let mut event = vec![b'['];
    event.extend_from_slice(&write(container));
    event.push(b',');
    event.extend_from_slice(data);
    event.push(b']');
    event.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(labels: Labels, extra: &[u8]) -> Started {
        Started {
            uuid: Uuid::new("c-1").unwrap(),
            agent: AgentId::new("agent-A").unwrap(),
            kind: Kind::new("echo").unwrap(),
            last_visit: 281.767789,
            endpoint: String::new(),
            labels,
            extra: extra.to_vec(),
        }
    }

    #[test]
    fn records_are_written_as_the_original_writes_them() {
        assert_eq!(
            write(&started(Labels::new(), b"")),
            r#"{"uuid":"c-1","agentId":"agent-A","kind":"echo","lastVisit":281.767789,"endpoint":"","labels":null,"extra":null}"#
        );
        let labelled = started(labels::read(["l1", "l2"]), br#"{"x":1}"#);
        assert!(write(&labelled).ends_with(br#""labels":["l1","l2"],"extra":{"x":1}}"#));
        let brought =
            r#"{"agentId":"a","uuid":"c","endpoint":"{}","kind":"k","lastVisit":1795289459958}"#;
        let record: Brought = serde_json::from_str(brought).unwrap();
        assert_eq!(write(&Record::Brought(record)), brought);
    }

    #[test]
    fn extra_that_is_no_json_is_told_as_null() {
        assert!(write(&started(Labels::new(), b"\xff")).ends_with(br#""extra":null}"#));
    }

    #[test]
    fn events_are_written_as_the_original_writes_them() {
        let id = AgentId::new("agent-A").unwrap();
        let kinds = vec![Kind::new("echo").unwrap(), Kind::new("other").unwrap()];
        let agents = vec![AgentEvent { id, kinds, event: Change::Added }];
        let events = Events { agents, containers: Vec::new() };
        assert_eq!(
            write(&events),
            r#"{"agents":[{"id":"agent-A","kinds":["echo","other"],"event":0}],"containers":[]}"#
        );
        let uuid = Uuid::new("c-1").unwrap();
        assert_eq!(
            write_broadcast(&uuid, &Bytes::from_static(br#"{"evt":1}"#)),
            r#"["c-1",{"evt":1}]"#
        );
        assert_eq!(write_error("no \"x\""), r#"{"message":"no \"x\"","stack":""}"#);
    }
}
