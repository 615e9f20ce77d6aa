//! How soon a kind is served: from the moment its file is complete to the first
//! answer of a container of it, and after a start of the agent.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use hulynet_bus::Bus;
use hulynet_client::{Client, ErrorKind, GetOptions, Kind};

use crate::{
    agent::NAME,
    bus::{ask, member, registered},
    load::{Settings, percentile},
    measure::Measure,
    network::Network,
};

/// Files that are dropped in, one after the other.
const FILES: u8 = 5;
/// Kinds that are warm when an agent starts.
const WARM: u8 = 20;
/// Milliseconds in which a kind, and a warm agent, must be served.
const AIM: f64 = 1_000.0;
/// No file takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures all in one run.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<Vec<Measure>> {
    let code = fs::read(settings.kinds.join("echo.wasm")).context("the kind echo is built")?;
    let home = tempfile::tempdir()?;
    let (plugins, cache) = (home.path().join("plugins"), home.path().join("cache"));
    fs::create_dir(&plugins)?;
    fs::write(plugins.join("echo.wasm"), &code)?;
    let network = Network::with(settings, &plugins, |agent| agent.arg("--cache").arg(&cache))?;
    registered(&network.coordinator).await?;
    let client = member(&Bus::start("bench")?, &network.coordinator, true).await?;
    eprintln!("· files that are dropped in");
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for number in 0..FILES {
        let code = variant(&code, number);
        new.push(served(settings, &client, &plugins, &format!("new{number}"), &code).await?);
        known.push(served(settings, &client, &plugins, &format!("known{number}"), &code).await?);
    }
    drop((client, network));
    for number in 0..WARM {
        fs::write(plugins.join(format!("warm{number}.wasm")), variant(&code, number))?;
    }
    eprintln!("· starts of an agent with {WARM} kinds and more");
    let mut starts = Vec::new();
    for cold in [true, false, false, false] {
        let begun = Instant::now();
        let network = Network::with(settings, &plugins, |agent| agent.arg("--cache").arg(&cache))?;
        let client = member(&Bus::start("bench")?, &network.coordinator, true).await?;
        while client.kinds().await?.len() <= usize::from(WARM) {
            ensure!(begun.elapsed() < PATIENCE, "the kinds are not served in {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if !cold {
            starts.push(begun.elapsed());
        }
    }
    new.sort_unstable();
    known.sort_unstable();
    starts.sort_unstable();
    let measure = |name: &str, times: &[Duration]| {
        Measure::new(NAME, name, percentile(times, 100) / 1e3, "ms").at_most(AIM)
    };
    Ok(vec![
        measure(&format!("new file to first answer.slowest of {FILES}"), &new),
        measure(&format!("file compiled before.slowest of {FILES}"), &known),
        measure("coordinator and agent started with warm kinds.slowest of 3", &starts),
    ])
}

/// Other bytes that do the same: with a custom section behind.
fn variant(code: &[u8], mark: u8) -> Vec<u8> {
    [code, &[0, 3, 1, b'v', mark]].concat()
}

/// How long it takes from a complete file to an answer.
async fn served(
    settings: &Settings,
    client: &Client,
    plugins: &Path,
    name: &str,
    code: &[u8],
) -> anyhow::Result<Duration> {
    let partial = plugins.join(format!("{name}.partial"));
    fs::write(&partial, code)?;
    let begun = Instant::now();
    fs::rename(&partial, plugins.join(format!("{name}.wasm")))?;
    let kind = Kind::new(name)?;
    loop {
        match client.get(kind.clone(), GetOptions::default()).await {
            Ok(container) => {
                ask(&container, &settings.payload()).await?;
                return Ok(begun.elapsed());
            }
            Err(error) if error.kind == ErrorKind::UnknownKind => {
                ensure!(begun.elapsed() < PATIENCE, "{name} is not served in {PATIENCE:?}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
