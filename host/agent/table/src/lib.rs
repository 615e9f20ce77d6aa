//! The decisions of an agent, without IO and without wasmtime, so that
//! simulations run the same code as the service.
//!
//! | module | what it decides |
//! |---|---|
//! | [`table`] | which containers there are, and who may talk to them |
//! | [`membership`] | what the agent owes its coordinator, and until when it may serve |

pub mod membership;
pub mod table;

pub use membership::{Ask, Membership};
pub use table::{Attempt, Begun, Brought, Decision, Located, Table};
