//! `explain`.

use std::time::Duration;

use hulynet_protocol::{ClientId, Explanation, LimitRecord, LimitUnit, Phase};
use hulynet_settings::units::{about_bytes, show_bytes};
use serde_json::{Value, json};

use super::reach::with_client;
use crate::{config::Settings, failure::Failure, output, target::Named, units::Typed};

/// `hulynet explain`.
pub(crate) async fn explain(settings: &Settings, named: &Named) -> Result<(), Failure> {
    let told = with_client(settings, async |client| {
        let explanation = client.explain(named.uuid.clone()).await?;
        // Only a container that runs uses anything. One that ended meanwhile,
        // and an agent that does not know, leave the rest as it is.
        let limits = match explanation.phase {
            Phase::Running => client.limits(explanation.id.clone()).await,
            _ => Ok(Vec::new()),
        };
        Ok((explanation, limits))
    });
    let (explanation, limits) = told.await?;
    if let Some(kind) = &named.kind
        && *kind != explanation.id.kind
    {
        return Err(Failure::refused(format!(
            "{} is of the kind {}, not {kind}",
            explanation.id.uuid, explanation.id.kind
        )));
    }
    let limits = limits.map_err(|error| format!("limits: they are not told: {error}"));
    if settings.json {
        if let Err(why) = &limits {
            tracing::warn!("{why}");
        }
        return Ok(output::line(&as_json(&explanation, limits.as_deref().ok()).to_string())?);
    }
    let limits = match limits {
        Ok(limits) => limits.iter().map(limit).collect(),
        Err(why) => vec![why],
    };
    for line in lines(&explanation).into_iter().chain(limits) {
        output::line(&line)?;
    }
    Ok(())
}

/// One fact a line, as an operator asks for them.
fn lines(explanation: &Explanation) -> Vec<String> {
    let Explanation { id, labels, phase, endpoint, reason, epoch, .. } = explanation;
    let mut lines = vec![format!("{id} is {} in the epoch {epoch}", phase.as_str())];
    let since = seconds(explanation.since_ms);
    match endpoint {
        Some(endpoint) => {
            let address = endpoint.address.as_deref().unwrap_or("through the coordinator");
            lines.push(format!("where: on the agent {} ({address}), for {since}", endpoint.agent));
            lines.push(format!("why there: {reason}"));
        }
        None => lines.push("where: nowhere".to_owned()),
    }
    lines.push(match explanation.holder_count {
        0 => "held by: nobody".to_owned(),
        count => format!("held by {count}: {}", names(&explanation.holders, count)),
    });
    for (what, clients) in
        [("wait for it to run", &explanation.waiting), ("wait for its end", &explanation.ending)]
    {
        if !clients.is_empty() {
            lines.push(format!("{what}: {}", names(clients, clients.len() as u64)));
        }
    }
    if let Some(ms) = explanation.next_ms {
        lines.push(format!("pending: {} in {}", pending(*phase), seconds(ms)));
    }
    if !explanation.offered_by.is_empty() {
        let agents: Vec<_> = explanation.offered_by.iter().map(|agent| agent.as_str()).collect();
        lines.push(format!("singleton, offered in this order by: {}", agents.join(", ")));
    }
    if !labels.is_empty() {
        lines.push(format!("labels: {}", labels.show()));
    }
    if explanation.failures > 0 {
        lines.push(format!("failures in a row: {}", explanation.failures));
    }
    if let Some(failure) = &explanation.last_failure {
        lines.push(format!(
            "last failure: {} ago on the agent {}: {}",
            seconds(failure.ago_ms),
            failure.agent,
            failure.error.message
        ));
    }
    lines
}

/// What the coordinator does next by itself.
fn pending(phase: Phase) -> &'static str {
    match phase {
        Phase::Vacant => "it is started again",
        Phase::Recovering => "its agent is waited for no longer",
        Phase::Starting => "the start is given up",
        Phase::Running => "unless somebody gets it, it is asked to end",
        Phase::Ending | Phase::Draining => "it is asked again to end",
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{}s", ms / 1000, ms % 1000 / 100)
}

/// One limit as people read it.
fn limit(limit: &LimitRecord) -> String {
    let show = |value: u64, bytes: fn(u64) -> String| match limit.unit {
        LimitUnit::Count => value.to_string(),
        LimitUnit::PerSecond => format!("{value} a second"),
        LimitUnit::Bytes => bytes(value),
        LimitUnit::BytesPerSecond => format!("{} a second", bytes(value)),
        LimitUnit::Milliseconds => Duration::from_millis(value).show(),
    };
    // As it is set, while what is used is hardly ever a whole number of anything.
    let allowed = show(limit.allowed, show_bytes);
    match limit.used {
        Some(used) => format!("limit: {}: {} of {allowed}", limit.name, show(used, about_bytes)),
        None => format!("limit: {}: {allowed}", limit.name),
    }
}

fn names(clients: &[ClientId], count: u64) -> String {
    let named: Vec<_> = clients.iter().map(ClientId::as_str).collect();
    let more = if count > named.len() as u64 { ", …" } else { "" };
    format!("{}{more}", named.join(", "))
}

fn texts(clients: &[ClientId]) -> Vec<&str> {
    clients.iter().map(ClientId::as_str).collect()
}

/// Without limits, they are unknown.
fn as_json(explanation: &Explanation, limits: Option<&[LimitRecord]>) -> Value {
    let limit = |limit: &LimitRecord| {
        (limit.name.clone(), json!({ "allowed": limit.allowed, "used": limit.used }))
    };
    let limits = limits.map(|limits| limits.iter().map(limit).collect::<serde_json::Map<_, _>>());
    json!({
        "kind": explanation.id.kind.as_str(),
        "uuid": explanation.id.uuid.as_str(),
        "phase": explanation.phase.as_str(),
        "agent": explanation.endpoint.as_ref().map(|endpoint| endpoint.agent.as_str()),
        "address": explanation.endpoint.as_ref().and_then(|endpoint| endpoint.address.clone()),
        "reason": explanation.reason.to_string(),
        "epoch": explanation.epoch.to_string(),
        "since_ms": explanation.since_ms,
        "holders": texts(&explanation.holders),
        "holder_count": explanation.holder_count,
        "waiting": texts(&explanation.waiting),
        "ending": texts(&explanation.ending),
        "next_ms": explanation.next_ms,
        "offered_by": explanation.offered_by.iter().map(|agent| agent.as_str()).collect::<Vec<_>>(),
        "failures": explanation.failures,
        "last_failure": explanation.last_failure.as_ref().map(output::failure_json),
        "labels": explanation.labels,
        "limits": limits,
    })
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{
        AgentId, ContainerId, Endpoint, Epoch, ErrorKind, Kind, Labels, NetworkError, Reason,
        StartFailure, Uuid,
    };

    use super::*;

    #[test]
    fn an_explanation_answers_what_an_operator_asks() {
        let id = ContainerId { kind: Kind::new("echo").unwrap(), uuid: Uuid::new("a").unwrap() };
        let agent = AgentId::new("x").unwrap();
        let failure = StartFailure {
            id: id.clone(),
            agent: AgentId::new("y").unwrap(),
            error: NetworkError::refused(ErrorKind::StartFailed, "it trapped"),
            ago_ms: 1500,
            failures: 1,
            spared_ms: 0,
        };
        let mut explanation = Explanation {
            id,
            labels: Labels::new(),
            phase: Phase::Running,
            endpoint: Some(Endpoint { agent: agent.clone(), address: None }),
            reason: Reason::Turn,
            epoch: Epoch { term: 7, counter: 2 },
            since_ms: 61_250,
            holders: vec![ClientId::new("c").unwrap()],
            holder_count: 2,
            waiting: vec![],
            ending: vec![],
            next_ms: None,
            offered_by: vec![agent],
            failures: 0,
            last_failure: Some(failure),
        };
        assert_eq!(
            lines(&explanation),
            [
                "echo/a is running in the epoch 7.2",
                "where: on the agent x (through the coordinator), for 61.2s",
                "why there: it was the agent's turn",
                "held by 2: c, …",
                "singleton, offered in this order by: x",
                "last failure: 1.5s ago on the agent y: it trapped",
            ]
        );
        (explanation.holder_count, explanation.next_ms) = (0, Some(4821));
        let pending = "pending: unless somebody gets it, it is asked to end in 4.8s";
        assert!(lines(&explanation).contains(&pending.to_owned()));
        let memory = LimitRecord {
            name: "memory".to_owned(),
            allowed: 256 << 20,
            used: Some((3 << 20) + 1),
            unit: LimitUnit::Bytes,
        };
        assert_eq!(limit(&memory), "limit: memory: 3MiB of 256MiB");
        let memory = LimitRecord { allowed: 1500 << 10, used: Some(3 << 20), ..memory };
        assert_eq!(limit(&memory), "limit: memory: 3MiB of 1500KiB");
        let events = LimitRecord {
            name: "events".to_owned(),
            allowed: 10,
            used: None,
            unit: LimitUnit::PerSecond,
        };
        assert_eq!(limit(&events), "limit: events: 10 a second");
        assert_eq!(as_json(&explanation, Some(&[memory]))["limits"]["memory"]["used"], 3 << 20);
        let unknown = as_json(&explanation, None);
        assert_eq!(unknown["last_failure"]["message"], "it trapped");
        assert_eq!(unknown["limits"], Value::Null);
    }
}
