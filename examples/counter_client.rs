//! Asks a container: first with raw bytes, then through a typed client.
//!
//! Start a network that serves the `counter` kind (`cargo xtask kinds`, then
//! `hulynet up --plugins target/kinds`), then
//!
//! ```text
//! cargo run -p examples --bin counter_client [COORDINATOR]
//! ```
//!
//! Run it again: the container lives for as long as somebody holds it and a
//! few seconds more, so the count goes on when you are quick.

use std::{error::Error, process::ExitCode};

use hulynet_client::{Client, GetOptions, Uuid};

/// What the `counter` kind does.
#[hulynet_sdk::interface]
#[allow(dead_code, reason = "only the client that is made of it is used")]
trait Counter {
    /// Adds to the value and tells it.
    async fn add(&mut self, n: u64) -> u64;
}

#[tokio::main]
async fn main() -> ExitCode {
    examples::told(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let coordinator = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3737".to_owned());
    let client = Client::connect([coordinator]).await?;

    // The container "example" of the kind `counter`: the one that is live, or a
    // new one. It stays live while the reference exists.
    let options = GetOptions { uuid: Some(Uuid::new("example")?), ..GetOptions::default() };
    let reference = client.get("counter", options).await?;
    println!("{} is live, epoch {}", reference.id(), reference.epoch()?);

    // A payload is bytes; kinds of the SDK take and give JSON.
    let reply = reference.request("add", "[1]").await?;
    println!("bytes: {}", String::from_utf8_lossy(&reply));

    // The same container, with types.
    let counter = CounterClient(&reference);
    for n in 2..=3 {
        println!("typed: {}", counter.add(n).await?);
    }

    reference.release().await?;
    Ok(())
}
