//! The plugin directory of a real agent.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod cache;
mod directory;
mod terms;
mod versions;

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use hulynet_bus::Peer;
use hulynet_protocol::{Call, ErrorKind, Kind, KindReport, Labels, Reply, StartContainer};
use support::{PATIENCE, World, epoch, id, kind};

/// The kind `echo` with something appended that changes its bytes and not what
/// it does: a custom section.
fn variant(mark: u8) -> Vec<u8> {
    marked(&kind("echo"), mark)
}

/// The same of any kind.
fn marked(file: &Path, mark: u8) -> Vec<u8> {
    let mut bytes = fs::read(file).unwrap();
    bytes.extend([0, 3, 1, b'v', mark]);
    bytes
}

/// Puts a file in its place at once, as a careful program does.
fn put(directory: &Path, name: &str, bytes: &[u8]) {
    let partial = directory.join(format!("{name}.partial"));
    fs::write(&partial, bytes).unwrap();
    fs::rename(partial, directory.join(name)).unwrap();
}

async fn reports(client: &Peer) -> Vec<KindReport> {
    match client.call(Call::ReportKinds, Bytes::new(), PATIENCE).await.unwrap().reply {
        Reply::KindReports(reports) => reports,
        other => panic!("expected reports, got {other:?}"),
    }
}

/// The report about a kind, as soon as it is as expected.
async fn report(world: &World, name: &str, expected: impl Fn(&KindReport) -> bool) -> KindReport {
    let found = async {
        loop {
            let all = reports(&world.client).await;
            match all.into_iter().find(|report| report.kind.as_str() == name) {
                Some(report) if expected(&report) => return report,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    match found {
        Ok(report) => report,
        Err(_) => panic!("{name} is not as expected: {:?}", reports(&world.client).await),
    }
}

fn names(kinds: &[Kind]) -> Vec<&str> {
    kinds.iter().map(Kind::as_str).collect()
}

/// Waits until the coordinator knows exactly these kinds.
async fn served(world: &mut World, expected: &[&str]) {
    let told = async { while names(&world.coordinator.registration().await.kinds) != expected {} };
    let told = tokio::time::timeout(PATIENCE, told).await;
    assert!(told.is_ok(), "served are {:?} and not {expected:?}", world.agent.kinds());
}

/// Starts a container of another kind than `echo`.
async fn start_of(world: &World, kind: &str, uuid: &str) -> Result<(), ErrorKind> {
    let mut order =
        StartContainer { id: id(uuid), epoch: epoch(1), labels: Labels::new(), extra: vec![] };
    order.id.kind = Kind::new(kind).unwrap();
    world.coordinator.ask(Call::Start(order)).await.map(drop).map_err(|error| error.kind)
}
