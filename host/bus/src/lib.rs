//! ZeroMQ sockets to frames: [`Server`] (ROUTER) and [`Peer`] (DEALER).
//!
//! A [`Bus`] is one thread that owns sockets. Handles on other threads reach
//! it over a lane (a queue of commands in order); it hands what arrives
//! to their owners over bounded channels. No send to a socket is ever awaited,
//! because the crate holds a lock while it waits.
//!
//! Both sides may ask. All requests belong to one connection: when it is lost,
//! the waiting ones end with an error and those in progress are cancelled. The
//! session outlives it: identity comes from hello, never from the socket.
//!
//! | module | what it does |
//! |---|---|
//! | `bus` | the thread |
//! | `door` | stands in front of every listening socket; hostile input ends there |
//! | `server` | a ROUTER's sessions and its task |
//! | `peer` | a DEALER and the supervisor that connects it again and again |
//! | `exchange` | the requests of one connection, both directions, pure |
//! | `window` | what a receiver of requests remembers, so that none runs twice, pure |
//! | `ask`, `response` | the calling side of a request |
//! | `request`, `signal` | the answering side |
//! | `lane`, `outbox`, `account` | the queues: their bounds and what happens when they are full |
//! | `wire` | messages to frames and back |

mod account;
mod address;
mod ask;
mod bus;
mod config;
mod door;
mod error;
mod exchange;
mod lane;
mod outbox;
mod peer;
mod request;
mod response;
mod server;
mod signal;
mod window;
mod wire;

pub use bus::Bus;
pub use config::{DoorConfig, PeerConfig, ServerConfig};
pub use error::BusError;
pub use peer::{Peer, PeerEvent};
pub use request::{ChunkSender, Request, Responder};
pub use response::{Body, ChunkReceiver, Response};
pub use server::{Dropped, Incoming, Server};
pub use window::{Arrival, WINDOW_ANSWERS, WINDOW_BYTES, Window};
