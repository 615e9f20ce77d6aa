//! A network with a secret: everybody who has its file works as in any other,
//! and nobody else gets anything.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, path::Path};

use end_to_end::{Network, Output, hulynet};
use serde_json::json;
use tempfile::TempDir;

/// A network of one agent with the echo kind, and the file of its secret; the
/// commands of the network name the file in their configuration.
fn network(files: &Path) -> Network {
    let file = files.join("network.secret");
    fs::write(&file, "8JYtYb2Tq1v0PpW6zqU5uA==\n").unwrap();
    let flags = ["--secret-file", file.to_str().unwrap()];
    let mut network = Network::coordinated(&flags);
    fs::write(network.path("hulynet.toml"), format!("secret-file = {file:?}\n")).unwrap();
    let log = ["--log", "info,hulynet_bus=debug"];
    network.add_agent_with("agent", &["echo"], &[flags, log].concat());
    network
}

#[test]
fn who_has_the_secret_gets_containers_and_asks_them_at_their_agent() {
    let files = TempDir::new().unwrap();
    let mut network = network(files.path());
    assert_eq!(network.json(&["call", "echo/a", "echo", r#"["hello"]"#]), json!(["hello"]));
    // The coordinator is no peer of the agent's: who joins it is the client.
    network.agents[0].process.wait_for_error("a peer joined");
    network.restart_coordinator();
    assert_eq!(network.json(&["call", "echo/a", "echo", r#"["again"]"#]), json!(["again"]));
}

#[test]
fn who_has_another_secret_or_none_is_told_by_coordinator_and_agent() {
    let files = TempDir::new().unwrap();
    let network = network(files.path());
    let other = files.path().join("other.secret");
    fs::write(&other, "another secret of another network\n").unwrap();
    let other = ["--secret-file", other.to_str().unwrap()];
    let agent = network.agents[0].ready["address"].as_str().unwrap();
    for (address, who) in [(network.address.as_str(), "coordinator"), (agent, "agent")] {
        for (flags, why) in [(&[][..], "this peer has none"), (&other, "does not prove")] {
            let mut command = hulynet();
            command.args(["list", "--coordinator", address]).args(flags);
            let output = Output::of(command.current_dir(files.path()));
            let told = output.refusal(1);
            let who = format!("the {who} refuses hello");
            assert!(told.contains(&who) && told.contains(why), "{flags:?}: {told}");
            assert!(told.contains("secret-file"), "{told}");
        }
    }
    network.coordinator.wait_for_error("the hello of a peer is refused");
    network.agents[0].process.wait_for_error("the hello of a peer is refused");
    assert!(!network.agents[0].process.errors().contains("a peer joined"));
}
