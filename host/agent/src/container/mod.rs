//! How a container runs: one store in one task with a bounded mailbox.

mod call;
mod ending;
mod handle;
mod meter;
mod runtime;
mod vitals;

pub(crate) use ending::Ending;
pub(crate) use handle::{Container, Incoming, Start};
pub(crate) use meter::Meter;
