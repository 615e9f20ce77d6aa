//! Kinds that attack their host, each beside a healthy container, whose answers
//! and latency are checked meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "tests fail by panicking; a test has no public interface"
)]

#[path = "../support/mod.rs"]
mod support;

mod asks;
mod circles;
mod computing;
mod events;
mod healthy;
mod lies;
mod logs;
mod memory;
mod original;
mod outside;
mod stage;
mod takes;
mod traps;
