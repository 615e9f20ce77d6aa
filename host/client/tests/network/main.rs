//! A client against fake coordinators and agents on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod events;
mod fake;
mod reconnect;
mod requests;
