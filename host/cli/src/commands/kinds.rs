//! `kinds --verbose`: what every agent tells about its kinds.

use futures::future::join_all;
use hulynet_client::{AgentRecord, Endpoint, KindReport};
use serde_json::{Map, Value, json};

use super::reach::with_client;
use crate::{config::Settings, failure::Failure, output};

/// `hulynet kinds --verbose`.
pub(crate) async fn verbose(settings: &Settings) -> Result<(), Failure> {
    let told = with_client(settings, async |client| {
        let agents = client.agents().await?;
        // One that cannot be asked does not keep the others from answering.
        let asked = agents.into_iter().map(async |AgentRecord { endpoint, .. }| {
            let reports = client.kind_reports(&endpoint).await;
            (endpoint, reports)
        });
        Ok(join_all(asked).await)
    })
    .await?;
    let mut all = Vec::new();
    for (agent, reports) in told {
        match reports {
            Ok(reports) => all.extend(reports.into_iter().map(|report| (agent.clone(), report))),
            Err(error) => {
                output::note(&format!("the agent {} does not tell: {error}", agent.agent));
            }
        }
    }
    if settings.json {
        let reports = all.iter().map(|(agent, report)| as_json(agent, report));
        return Ok(output::line(&reports.collect::<Value>().to_string())?);
    }
    if all.is_empty() {
        output::line(
            "no agent serves a kind; put a .wasm file into an agent's plugin directory, or wait until it is compiled",
        )?;
    }
    for (agent, report) in &all {
        for line in lines(agent, report) {
            output::line(&line)?;
        }
    }
    Ok(())
}

/// One fact a line.
fn lines(agent: &Endpoint, report: &KindReport) -> Vec<String> {
    let KindReport { kind, state, asked, granted, .. } = report;
    let mut lines = vec![format!("{kind} on the agent {}: {}", agent.agent, state.as_str())];
    let mut fact = |what: &str, text: &str| lines.push(format!("  {what}: {text}"));
    if let Some(reason) = &report.reason {
        fact("why", reason);
    }
    let serves = !report.limits.is_empty();
    if let Some(hash) = &report.hash {
        fact("version", report.version.as_deref().unwrap_or("not told"));
        fact("hash", hash);
        if let Some(description) = &report.description {
            fact("description", description);
        }
        if let Some(signer) = &report.signer {
            fact("signed by", signer);
        }
        // What refused files ask for may be unknown.
        if serves || !asked.is_empty() {
            fact("asks for", or_nothing(asked));
        }
        fact("is granted", or_nothing(granted));
    }
    if serves {
        let limits = report.limits.iter().map(|(key, value)| format!("{key} {value}"));
        fact("limits", &limits.collect::<Vec<_>>().join(", "));
        fact("requests", &report.concurrency);
        fact("termination", &report.termination);
    }
    let older = report.containers - report.newest.min(report.containers);
    fact(
        "containers",
        &match older {
            0 => report.containers.to_string(),
            older => format!("{}, {older} of them of older versions", report.containers),
        },
    );
    lines
}

/// A set of capabilities for people.
pub(crate) fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

fn as_json(agent: &Endpoint, report: &KindReport) -> Value {
    let limits: Map<String, Value> =
        report.limits.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    json!({
        "agent": agent.agent.as_str(),
        "kind": report.kind.as_str(),
        "state": report.state.as_str(),
        "reason": report.reason,
        "version": report.version,
        "description": report.description,
        "hash": report.hash,
        "signer": report.signer,
        "asked": report.asked,
        "granted": report.granted,
        "concurrency": report.concurrency,
        "termination": report.termination,
        "limits": limits,
        "containers": report.containers,
        "newest": report.newest,
    })
}

#[cfg(test)]
mod tests {
    use hulynet_client::{Kind, KindState};
    use hulynet_protocol::AgentId;

    use super::*;

    #[test]
    fn a_report_answers_what_an_operator_asks() {
        let agent = Endpoint { agent: AgentId::new("x").unwrap(), address: None };
        let report = KindReport {
            kind: Kind::new("echo").unwrap(),
            state: KindState::RolledBack,
            reason: Some("it trapped".to_owned()),
            hash: Some("abc".to_owned()),
            version: Some("1.2.0".to_owned()),
            description: None,
            signer: None,
            asked: "documents = true".to_owned(),
            granted: String::new(),
            concurrency: "concurrent".to_owned(),
            termination: "ask".to_owned(),
            limits: vec![
                ("memory".to_owned(), "64MiB".to_owned()),
                ("mailbox".to_owned(), "10".to_owned()),
            ],
            containers: 3,
            newest: 1,
        };
        assert_eq!(
            lines(&agent, &report),
            [
                "echo on the agent x: rolled back",
                "  why: it trapped",
                "  version: 1.2.0",
                "  hash: abc",
                "  asks for: documents = true",
                "  is granted: nothing",
                "  limits: memory 64MiB, mailbox 10",
                "  requests: concurrent",
                "  termination: ask",
                "  containers: 3, 2 of them of older versions",
            ]
        );
        assert_eq!(as_json(&agent, &report)["limits"]["memory"], "64MiB");
    }

    #[test]
    fn of_refused_files_it_is_told_what_they_ask_for_and_not_how_they_are_served() {
        let agent = Endpoint { agent: AgentId::new("x").unwrap(), address: None };
        let refused = KindReport {
            kind: Kind::new("echo").unwrap(),
            state: KindState::Refused,
            reason: Some("no".to_owned()),
            hash: Some("abc".to_owned()),
            version: None,
            description: None,
            signer: None,
            asked: "documents = true".to_owned(),
            granted: "containers = [\"*\"]".to_owned(),
            concurrency: "concurrent".to_owned(),
            termination: "ask".to_owned(),
            limits: Vec::new(),
            containers: 0,
            newest: 0,
        };
        let told = [
            "echo on the agent x: refused",
            "  why: no",
            "  version: not told",
            "  hash: abc",
            "  asks for: documents = true",
            "  is granted: containers = [\"*\"]",
            "  containers: 0",
        ];
        assert_eq!(lines(&agent, &refused), told);
        let unknown = lines(&agent, &KindReport { asked: String::new(), ..refused });
        let rest: Vec<_> = told.into_iter().filter(|line| !line.contains("asks for")).collect();
        assert_eq!(unknown, rest);
    }
}
