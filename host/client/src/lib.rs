//! The client of a network: [`Client`], [`Reference`] and [`Connection`].
//!
//! ```no_run
//! use hulynet_client::{Client, GetOptions};
//!
//! # async fn run() -> Result<(), hulynet_client::NetworkError> {
//! let client = Client::connect(["127.0.0.1:3737"]).await?;
//! let echo = client.get("echo", GetOptions::default()).await?;
//! let reply = echo.request("echo", r#"["hello"]"#).await?;
//! println!("{}", String::from_utf8_lossy(&reply));
//! # Ok(())
//! # }
//! ```
//!
//! A client asks the coordinator where a container lives and then talks to its
//! agent directly, or through the coordinator when the agent cannot be
//! reached. Connections that are lost are made again, and what the client held
//! is held again; a container that moved is found again. Calls fail only with
//! a typed [`NetworkError`] that says whether a retry is safe; those that were
//! certainly not processed are repeated here, within their deadline.
//!
//! Decisions are made in pure modules ([`references`], [`attachment`], [`paths`],
//! [`retry`] and the private `feed`, `mailbox` and `window`); the rest moves bytes and
//! time.

mod agents;
pub mod attachment;
mod builder;
mod client;
mod connection;
mod connections;
mod coordinator;
mod driver;
mod feed;
mod held;
mod mailbox;
pub mod paths;
mod reference;
pub mod references;
mod request;
pub mod retry;
mod shared;
mod subscription;
mod typed;
mod watch;
mod window;

pub use builder::Builder;
pub use client::Client;
pub use connection::Connection;
pub use feed::{WATCH_CHANGES, WatchEvent};
pub use hulynet_bus::{Secret, SecretError};
pub use hulynet_protocol::{
    AccountId, AgentRecord, Caller, Change, ClientId, ConnectionId, ContainerId, ContainerRecord,
    Endpoint, Epoch, ErrorKind, Explanation, GetOptions, Kind, KindReport, KindState, Labels,
    NetworkError, NetworkEvent, Policy, Retry, Selector, Snapshot, Uuid,
};
pub use mailbox::ConnectionEvent;
pub use reference::Reference;
pub use request::{Answer, Chunks, Request};
pub use subscription::Subscription;
pub use watch::Watch;
pub use window::{CONNECTION_BYTES, CONNECTION_EVENTS};
