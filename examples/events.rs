//! Receives what a container broadcasts, until Ctrl-C.
//!
//! Start a network that serves the `echo` kind (`cargo xtask kinds`, then
//! `hulynet up --plugins target/kinds --grants plugins/grants.toml`), then
//!
//! ```text
//! cargo run -p examples --bin events [COORDINATOR]
//! ```
//!
//! and make it speak from another terminal:
//! `hulynet call echo/example broadcast '["hello"]'`.

use std::{error::Error, process::ExitCode};

use futures::StreamExt;
use hulynet_client::{Client, ConnectionEvent, GetOptions, Uuid};

#[tokio::main]
async fn main() -> ExitCode {
    examples::told(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let coordinator = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3737".to_owned());
    let client = Client::connect([coordinator]).await?;
    let options = GetOptions { uuid: Some(Uuid::new("example")?), ..GetOptions::default() };
    let mut connection = client.get("echo", options).await?.connect().await?;
    println!("connected to {}; Ctrl-C ends", connection.reference().id());

    connection.reference().request("broadcast", "hello from the example").await?;
    loop {
        tokio::select! {
            ended = tokio::signal::ctrl_c() => return Ok(ended?),
            event = connection.next() => match event {
                Some(event) => print(event?),
                None => return Ok(()),
            },
        }
    }
}

fn print(event: ConnectionEvent) {
    match event {
        ConnectionEvent::Message(payload) => println!("{}", String::from_utf8_lossy(&payload)),
        // What was broadcast meanwhile is lost: a program that keeps a copy of
        // the container's state reads it anew here.
        ConnectionEvent::Reconnected { epoch } => println!("(reconnected, epoch {epoch})"),
        ConnectionEvent::Missed(count) => println!("({count} messages were missed)"),
    }
}
