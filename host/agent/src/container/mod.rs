//! Containers: which ones there are ([`table`]), and how one runs
//! ([`runtime`]): one store in one task with a bounded mailbox.

mod call;
mod ending;
mod handle;
mod meter;
mod runtime;
mod table;
mod vitals;

pub(crate) use ending::Ending;
pub(crate) use handle::{Container, Incoming, Start};
pub(crate) use meter::Meter;
pub(crate) use table::{Decision, Table};
