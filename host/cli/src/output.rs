//! What commands print: tables for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use hulynet_protocol::{AgentRecord, ContainerRecord, ContainerState, Labels, StartFailure};
use serde_json::{Value, json};

use crate::units::Typed;

/// Prints rows under a head, or a sentence when there are none.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>, none: &str) -> io::Result<()> {
    if rows.is_empty() {
        return line(none);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(head.iter().copied());
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.add_rows(rows);
    line(&table.to_string())
}

/// Prints one line and flushes, so that a reader at the other end of a pipe
/// has it at once.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Tells a person something beside the output.
pub(crate) fn note(text: &str) {
    // Without a stderr there is nobody to tell, which is no reason to fail.
    let _ = writeln!(io::stderr(), "{text}");
}

/// A container for programs.
pub(crate) fn container_json(record: &ContainerRecord) -> Value {
    json!({
        "kind": record.id.kind.as_str(),
        "uuid": record.id.uuid.as_str(),
        "state": state(record.state),
        "agent": record.endpoint.agent.as_str(),
        "address": record.endpoint.address,
        "epoch": record.epoch.to_string(),
        "holders": record.holders,
        "labels": record.labels,
    })
}

/// An agent for programs.
pub(crate) fn agent_json(record: &AgentRecord) -> Value {
    json!({
        "agent": record.endpoint.agent.as_str(),
        "address": record.endpoint.address,
        "kinds": record.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "containers": record.containers,
        "intake": record.load.intake.as_str(),
        "used": f64::from(record.load.used) / 1e6,
        "failing": record.failing.iter().map(failure_json).collect::<Vec<_>>(),
        "labels": record.labels,
    })
}

/// A start that failed, for programs.
pub(crate) fn failure_json(failure: &StartFailure) -> Value {
    json!({
        "kind": failure.id.kind.as_str(),
        "uuid": failure.id.uuid.as_str(),
        "agent": failure.agent.as_str(),
        "message": failure.error.message,
        "ago_ms": failure.ago_ms,
        "failures": failure.failures,
        "spared_ms": failure.spared_ms,
    })
}

/// The head over [`container_row`].
pub(crate) const CONTAINER_HEAD: [&str; 8] =
    ["kind", "uuid", "state", "agent", "address", "epoch", "holders", "labels"];

/// A container for people.
pub(crate) fn container_row(record: &ContainerRecord) -> Vec<String> {
    vec![
        record.id.kind.to_string(),
        record.id.uuid.to_string(),
        state(record.state).to_owned(),
        record.endpoint.agent.to_string(),
        address(record.endpoint.address.as_deref()),
        record.epoch.to_string(),
        record.holders.to_string(),
        labels(&record.labels),
    ]
}

/// The head over [`agent_row`].
pub(crate) const AGENT_HEAD: [&str; 8] =
    ["agent", "address", "kinds", "containers", "intake", "used", "failing", "labels"];

/// An agent for people.
pub(crate) fn agent_row(record: &AgentRecord) -> Vec<String> {
    vec![
        record.endpoint.agent.to_string(),
        address(record.endpoint.address.as_deref()),
        record.kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        record.containers.to_string(),
        record.load.intake.as_str().to_owned(),
        format!("{}%", record.load.used / 10_000),
        record.failing.iter().map(failing).collect::<Vec<_>>().join(", "),
        labels(&record.labels),
    ]
}

/// A kind that does not start, and how often in a row it did not.
fn failing(failure: &StartFailure) -> String {
    format!("{} ({}x): {}", failure.id.kind, failure.failures, failure.error.message)
}

fn address(address: Option<&str>) -> String {
    address.unwrap_or("through the coordinator").to_owned()
}

fn labels(labels: &Labels) -> String {
    labels.show()
}

fn state(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Starting => "starting",
        ContainerState::Running => "running",
        ContainerState::Terminating => "terminating",
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{AgentId, ContainerId, Endpoint, Epoch, Kind, Uuid};

    use super::*;

    #[test]
    fn a_container_has_the_documented_shape() {
        let record = ContainerRecord {
            id: ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() },
            endpoint: Endpoint {
                agent: AgentId::new("x").unwrap(),
                address: Some("127.0.0.1:1".into()),
            },
            epoch: Epoch { term: 7, counter: 2 },
            state: ContainerState::Running,
            labels: Labels::from([("a".into(), "1".into())]),
            holders: 3,
        };
        let shape = json!({
            "kind": "echo", "uuid": "a", "state": "running", "agent": "x", "address": "127.0.0.1:1",
            "epoch": "7.2", "holders": 3, "labels": {"a": "1"}
        });
        assert_eq!(container_json(&record), shape);
        assert_eq!(container_row(&record).len(), CONTAINER_HEAD.len());
    }
}
