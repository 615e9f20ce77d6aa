//! `list`, `agents` and `kinds`.

use hulynet_protocol::{Kind, Selector};
use serde_json::Value;

use super::reach::with_client;
use crate::{config::Settings, failure::Failure, output};

/// `hulynet list`.
pub(crate) async fn containers(
    settings: &Settings,
    kind: Option<&Kind>,
    select: Option<&Selector>,
) -> Result<(), Failure> {
    let select = select.cloned().unwrap_or_default();
    let filtered = !select.is_empty();
    let mut records =
        with_client(settings, async |client| Ok(client.select(kind.cloned(), select).await?))
            .await?;
    records.sort_by(|a, b| a.id.cmp(&b.id));
    if settings.json {
        return Ok(output::line(
            &records.iter().map(output::container_json).collect::<Value>().to_string(),
        )?);
    }
    let none = match kind {
        _ if filtered => "no container with such labels runs".to_owned(),
        Some(kind) => format!("no container of kind {kind} runs"),
        None => "no container runs; 'hulynet call KIND OPERATION' starts one".to_owned(),
    };
    Ok(output::table(
        &output::CONTAINER_HEAD,
        records.iter().map(output::container_row).collect(),
        &none,
    )?)
}

/// `hulynet agents`.
pub(crate) async fn agents(settings: &Settings) -> Result<(), Failure> {
    let records = with_client(settings, async |client| Ok(client.agents().await?)).await?;
    if settings.json {
        return Ok(output::line(
            &records.iter().map(output::agent_json).collect::<Value>().to_string(),
        )?);
    }
    let none = "no agent is registered; start one with 'hulynet agent', or wait for one that compiles its kinds";
    Ok(output::table(&output::AGENT_HEAD, records.iter().map(output::agent_row).collect(), none)?)
}

/// `hulynet kinds`.
pub(crate) async fn kinds(settings: &Settings) -> Result<(), Failure> {
    let kinds = with_client(settings, async |client| Ok(client.kinds().await?)).await?;
    if settings.json {
        return Ok(output::line(
            &kinds.iter().map(|kind| Value::from(kind.as_str())).collect::<Value>().to_string(),
        )?);
    }
    let none = "no agent serves a kind; put a .wasm file into an agent's plugin directory, or wait until it is compiled";
    Ok(output::table(&["kind"], kinds.iter().map(|kind| vec![kind.to_string()]).collect(), none)?)
}
