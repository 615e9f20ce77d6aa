//! `get`, `call` and `terminate`.

use std::io::{self, IsTerminal, Write};

use bytes::Bytes;
use hulynet_client::{Answer, Client, GetOptions, Reference, Request};
use hulynet_protocol::{ContainerId, Labels};
use serde_json::{Value, json};

use super::{argument, reach::with_client};
use crate::{
    cli::{Call, Get},
    config::Settings,
    failure::Failure,
    output,
};

/// Finds or starts the container that was named.
pub(crate) async fn hold(
    client: &Client,
    get: &Get,
    options: GetOptions,
) -> Result<Reference, Failure> {
    Ok(client.get(get.selector.kind.as_str(), options).await?)
}

/// What is asked for; a contradiction is told before the network is asked.
pub(crate) fn options(get: &Get) -> Result<GetOptions, Failure> {
    let uuid = match (&get.selector.uuid, &get.uuid) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage(
                "the container is named twice, by KIND/UUID and by --uuid; leave one out",
            ));
        }
        (named, flag) => named.clone().or_else(|| flag.clone()),
    };
    Ok(GetOptions {
        uuid,
        labels: distinct(&get.labels)?,
        select: get.select.clone().unwrap_or_default(),
        extra: Vec::new(),
        near: distinct(&get.near)?,
        avoid: distinct(&get.avoid)?,
    })
}

/// Labels as they were typed, each once.
fn distinct(typed: &[(String, String)]) -> Result<Labels, Failure> {
    let mut labels = Labels::new();
    for (name, value) in typed {
        if labels.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!(
                "the label {name} is given twice; a container has one value of it"
            )));
        }
    }
    Ok(labels)
}

/// `hulynet get`.
pub(crate) async fn get(settings: &Settings, get: &Get) -> Result<(), Failure> {
    let options = options(get)?;
    let record =
        with_client(settings, async |client| Ok(hold(client, get, options).await?.record()?))
            .await?;
    if settings.json {
        output::line(&output::container_json(&record).to_string())?;
    } else {
        output::table(&output::CONTAINER_HEAD, vec![output::container_row(&record)], "")?;
    }
    Ok(())
}

/// `hulynet call`.
pub(crate) async fn call(settings: &Settings, call: &Call) -> Result<(), Failure> {
    let options = options(&call.get)?;
    let payload = argument::payload(call.argument.as_deref())?;
    with_client(settings, async |client| {
        let reference = hold(client, &call.get, options).await?;
        match reference.perform(Request::new(&call.operation, payload)).await? {
            Answer::Payload(payload) => print(&payload, settings.json)?,
            Answer::Stream(mut chunks) => {
                let mut last = b'\n';
                while let Some(chunk) = chunks.next().await {
                    let chunk = chunk?;
                    last = chunk.last().copied().unwrap_or(last);
                    write(&chunk)?;
                }
                if last != b'\n' && io::stdout().is_terminal() {
                    write(b"\n")?;
                }
            }
        }
        Ok(())
    })
    .await
}

fn print(payload: &Bytes, compact: bool) -> io::Result<()> {
    match serde_json::from_slice::<Value>(payload) {
        Ok(value) if compact => output::line(&value.to_string()),
        Ok(value) => output::line(&format!("{value:#}")),
        Err(_) if payload.is_empty() && compact => output::line("null"),
        Err(_) if payload.is_empty() => Ok(()),
        Err(_) => {
            output::note(&format!(
                "note: the answer is not JSON; its {} bytes are printed as they came",
                payload.len()
            ));
            write(payload)
        }
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// `hulynet terminate`.
pub(crate) async fn terminate(
    settings: &Settings,
    container: &ContainerId,
    force: bool,
) -> Result<(), Failure> {
    let ended = with_client(settings, async |client| {
        Ok(client.terminate(container.clone(), force).await?)
    })
    .await?;
    if !ended {
        return Err(Failure::refused(format!(
            "{container} answered 'not yet': it is finishing work; try again, or end it with --force"
        )));
    }
    output::line(&if settings.json {
        json!({ "ended": true }).to_string()
    } else {
        format!("{container} ended")
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::Uuid;

    use super::*;

    #[test]
    fn a_container_is_named_once() {
        let mut get = Get {
            selector: "echo/a".parse().unwrap(),
            uuid: None,
            labels: vec![("l".into(), "1".into())],
            select: None,
            near: vec![("region".into(), "europe".into())],
            avoid: vec![],
        };
        let named = options(&get).unwrap();
        assert_eq!(named.uuid.unwrap().as_str(), "a");
        assert_eq!((named.labels["l"].as_str(), named.near["region"].as_str()), ("1", "europe"));
        get.uuid = Some(Uuid::new("b").unwrap());
        assert!(options(&get).unwrap_err().to_string().contains("named twice"));
        get.selector = "echo".parse().unwrap();
        get.labels.push(("l".into(), "2".into()));
        assert!(options(&get).unwrap_err().to_string().contains("the label l is given twice"));
        get.labels.pop();
        assert_eq!(options(&get).unwrap().uuid.unwrap().as_str(), "b");
    }
}
