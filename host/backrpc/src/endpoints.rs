//! References to agents and containers: JSON in a text, compared as text.

use std::borrow::Cow;

use hulynet_protocol::{AgentId, Uuid};
use serde::{Deserialize, Serialize};

/// How a reference is followed.
const ROUTED: u8 = 0;
const DIRECT: u8 = 1;
const UNREACHABLE: u8 = 2;

#[derive(Serialize)]
struct ToAgent<'a> {
    host: &'a str,
    port: u16,
    kind: u8,
    #[serde(rename = "agentId")]
    agent: &'a str,
}

#[derive(Serialize)]
struct ToNoAgent<'a> {
    kind: u8,
    #[serde(rename = "agentId")]
    agent: &'a str,
    host: &'a str,
    port: u16,
}

#[derive(Serialize)]
struct ToContainer<'a> {
    kind: u8,
    host: &'a str,
    port: u16,
    #[serde(rename = "agentId")]
    agent: &'a str,
    uuid: &'a str,
}

/// The reference to an agent at `HOST:PORT`, or to one without an address.
#[must_use]
pub fn to_agent(agent: &AgentId, address: Option<&str>) -> String {
    let agent = agent.as_str();
    match address.and_then(split) {
        Some((host, port)) => write(&ToAgent { host, port, kind: DIRECT, agent }),
        None => write(&ToNoAgent { kind: UNREACHABLE, agent, host: "", port: 0 }),
    }
}

/// The reference to a container that is asked through its agent.
#[must_use]
pub fn to_container(agent: &AgentId, address: Option<&str>, uuid: &Uuid) -> String {
    let (kind, (host, port)) = match address.and_then(split) {
        Some(address) => (ROUTED, address),
        None => (UNREACHABLE, ("", 0)),
    };
    write(&ToContainer { kind, host, port, agent: agent.as_str(), uuid: uuid.as_str() })
}

/// Where a reference leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Ask the agent at this address.
    Routed(String),
    /// Ask this server, which is the container.
    Direct(String),
    /// It has no address.
    Unreachable,
}

/// Reads a reference of a peer. One that cannot be read is
/// [`Way::Unreachable`]: it may be a form that we do not know.
#[must_use]
pub fn read(reference: &str) -> Way {
    #[derive(Deserialize)]
    struct Shape<'a> {
        kind: u8,
        #[serde(borrow, default)]
        host: Cow<'a, str>,
        #[serde(default)]
        port: u16,
    }
    match serde_json::from_str(reference) {
        Ok(Shape { kind, host, port }) if !host.is_empty() && port != 0 => match kind {
            ROUTED => Way::Routed(address(&host, port)),
            DIRECT => Way::Direct(address(&host, port)),
            _ => Way::Unreachable,
        },
        _ => Way::Unreachable,
    }
}

/// `HOST:PORT`; a bare IPv6 address gets its brackets.
fn address(host: &str, port: u16) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

fn write(reference: &impl Serialize) -> String {
    // Texts and numbers always have a JSON form.
    serde_json::to_string(reference).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_the_order_of_the_original() {
        let agent = AgentId::new("agent-A").unwrap();
        let uuid = Uuid::new("c-1").unwrap();
        assert_eq!(
            to_agent(&agent, Some("127.0.0.1:39103")),
            r#"{"host":"127.0.0.1","port":39103,"kind":1,"agentId":"agent-A"}"#
        );
        assert_eq!(to_agent(&agent, None), r#"{"kind":2,"agentId":"agent-A","host":"","port":0}"#);
        assert_eq!(
            to_container(&agent, Some("[::1]:39103"), &uuid),
            r#"{"kind":0,"host":"[::1]","port":39103,"agentId":"agent-A","uuid":"c-1"}"#
        );
        assert_eq!(
            to_container(&agent, None, &uuid),
            r#"{"kind":2,"host":"","port":0,"agentId":"agent-A","uuid":"c-1"}"#
        );
    }

    #[test]
    fn a_reference_is_followed_or_unreachable() {
        let direct = r#"{"kind":1,"host":"h","port":39103,"uuid":"d-1","agentId":"a"}"#;
        assert_eq!(read(direct), Way::Direct("h:39103".to_owned()));
        let routed = r#"{"kind":0,"host":"h","port":1,"agentId":"a","uuid":"c"}"#;
        assert_eq!(read(routed), Way::Routed("h:1".to_owned()));
        for host in ["::1", "[::1]"] {
            let reference = format!(r#"{{"kind":0,"host":"{host}","port":1}}"#);
            assert_eq!(read(&reference), Way::Routed("[::1]:1".to_owned()));
        }
        for other in ["", "{}", "null", r#"{"kind":0,"host":"","port":0}"#, "{\"kind\":9}"] {
            assert_eq!(read(other), Way::Unreachable, "{other}");
        }
    }
}
