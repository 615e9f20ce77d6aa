//! ZeroMQ sockets to frames: [`Server`] (ROUTER) and [`Peer`] (DEALER).
//!
//! A [`Bus`] is one thread that owns sockets. Handles on other threads reach
//! it over a lane (a queue of commands in order); it hands what arrives
//! to their owners over bounded channels. No send to a socket is ever awaited,
//! because the crate holds a lock while it waits.
//!
//! Both sides may ask. Requests belong to a session, which outlives its
//! connections: identity comes from hello, never from the socket. When a
//! connection is lost, those in progress go on, and those that wait are sent
//! again over the next one; none runs twice. They end with an error when the
//! session does, and when there was no connection for as long as a session
//! lasts in silence. Streams end with their connection.
//!
//! | module | what it does |
//! |---|---|
//! | `bus` | the thread |
//! | `home` | the private directory behind a listening socket |
//! | `door` | stands in front of every listening socket; hostile input ends there |
//! | `admission` | from which addresses it takes connections, pure |
//! | `secret`, `proof` | the secret of a network, and how the two sides of a hello prove that they have it, pure |
//! | `server` | a ROUTER's sessions and its task |
//! | `peer` | a DEALER of one connection and the supervisor that makes it again and again |
//! | `guest` | one connection to a server of the original network |
//! | `exchange` | the requests of one session, both directions, pure |
//! | `calls` | the numbers of requests |
//! | `window` | what a receiver of requests remembers, so that none runs twice, pure |
//! | `ask`, `response` | the calling side of a request |
//! | `request`, `signal` | the answering side |
//! | `original` | the same in the language of the original network |
//! | `lane`, `outbox`, `account`, `share` | the queues: their bounds and what happens when they are full |
//! | `alarm` | the timer of a loop |
//! | `bucket`, `counters` | how much of a nuisance is borne, and how much there was |
//! | `wire` | messages to frames and back |
//! | `zmtp` | the transport below, where the `zeromq` crate is not to be trusted with it |

mod account;
mod address;
mod admission;
mod alarm;
mod ask;
mod bucket;
mod bus;
mod calls;
mod config;
mod counters;
mod door;
mod error;
mod exchange;
#[doc(hidden)]
pub mod fuzzing;
mod guest;
mod home;
mod lane;
mod original;
mod outbox;
mod peer;
mod proof;
mod request;
mod response;
mod secret;
mod server;
mod share;
mod signal;
mod window;
mod wire;
mod zmtp;

pub use admission::{Admission, AdmissionError};
pub use bus::Bus;
pub use config::{DoorConfig, PeerConfig, ServerConfig};
pub use counters::Dropped;
pub use error::BusError;
pub use guest::{Guest, Guests};
pub use original::{OriginalAnswer, OriginalRequest, OriginalResponder};
pub use peer::{Peer, PeerEvent};
pub use request::{ChunkSender, Request, Responder};
pub use response::{Body, ChunkReceiver, Response};
pub use secret::{Secret, SecretError};
pub use server::{Incoming, Language, Server};
pub use window::{Arrival, WINDOW_ANSWERS, WINDOW_BYTES, Window};
