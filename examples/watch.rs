//! Prints what happens in the network, until Ctrl-C.
//!
//! Start a network (`hulynet up`), then
//!
//! ```text
//! cargo run -p examples --bin watch [COORDINATOR]
//! ```

use std::{error::Error, process::ExitCode};

use futures::StreamExt;
use hulynet_client::{Change, Client, WatchEvent};

#[tokio::main]
async fn main() -> ExitCode {
    examples::told(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let coordinator = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3737".to_owned());
    let client = Client::connect([coordinator]).await?;
    let mut watch = client.watch().await?;
    loop {
        tokio::select! {
            ended = tokio::signal::ctrl_c() => return Ok(ended?),
            event = watch.next() => match event {
                Some(event) => print(event),
                None => return Ok(()),
            },
        }
    }
}

fn print(event: WatchEvent) {
    match event {
        WatchEvent::Snapshot(all) => {
            println!("{} agents, {} containers", all.agents.len(), all.containers.len());
        }
        WatchEvent::Change(event) => match event.change {
            Change::AgentAdded(agent) => println!("agent {} joined", agent.endpoint.agent),
            Change::AgentUpdated(agent) => println!("agent {} changed", agent.endpoint.agent),
            Change::AgentRemoved(agent) => println!("agent {agent} left"),
            Change::ContainerAdded(record) => println!("{} started", record.id),
            Change::ContainerUpdated(record) => {
                println!("{} moved to agent {}", record.id, record.endpoint.agent);
            }
            Change::ContainerRemoved { id, .. } => println!("{id} ended"),
        },
    }
}
