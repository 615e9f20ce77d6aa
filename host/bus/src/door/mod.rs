//! The door in front of a listening socket.
//!
//! The `zeromq` crate believes every length that a peer announces, waits for
//! ever in handshakes, and spins when file descriptors run out. So the crate
//! never sees a connection from outside: the door accepts it, checks the
//! handshake, and then relays bytes to the crate's ROUTER on a unix socket in
//! a private directory, scanning the ZMTP frame headers that stream through.
//! Hostile input costs its own connection and nothing else.
//!
//! The door writes its own connection number as the identity into the peer's
//! READY, so that the ROUTER's routing id names the connection. It also
//! knows what it has handed to the kernel, which makes queues countable that
//! the crate hides (see [`crate::account`]).

mod accept;
mod link;
mod relay;

pub(crate) use accept::Door;
pub(crate) use link::{Link, Links};
