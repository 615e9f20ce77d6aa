//! The language of the original network (`huly.net` 0.7), so that its clients
//! and agents can join unchanged.
//!
//! Pure: no IO, no clock. Messages are three frames of text: an operation as
//! one ASCII digit, an id, and JSON. The bus tells them from native messages
//! by the first byte.
//!
//! | module | what it holds |
//! |---|---|
//! | [`codec`] | frames to messages and back |
//! | [`session`] | the rules of a server towards one peer |
//! | [`visit`] | the rules of a visitor at a server |
//! | [`json`] | reading JSON that nobody has checked |
//! | [`calls`] | what peers ask of a coordinator and of an agent |
//! | [`back`] | what a coordinator asks of an agent |
//! | [`records`] | containers and agents as lists and events show them |
//! | [`endpoints`] | references to agents and containers |
//! | [`labels`] | lists of texts to labels and back |
//!
//! Payloads of containers pass through as the bytes that they are: the rules
//! here never decode them.

pub mod back;
pub mod calls;
pub mod codec;
pub mod endpoints;
pub mod json;
pub mod labels;
pub mod records;
pub mod session;
pub mod visit;

pub use codec::{Malformed, Message, Operation, Text};
pub use json::Refusal;
