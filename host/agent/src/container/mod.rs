//! How a container runs: one store in one task with a bounded mailbox.

mod admission;
mod call;
mod concurrent;
mod ending;
mod executor;
mod exports;
mod handle;
mod inspect;
mod mailbox;
mod meter;
mod pace;
mod reply;
mod runtime;
mod serial;
mod supervisor;
mod turn;
mod vitals;

use std::time::Duration;

pub(crate) use ending::Ending;
pub(crate) use executor::{Executor, here};
pub(crate) use exports::Linked;
pub(crate) use handle::{Container, Incoming, Killed, Start};
pub(crate) use mailbox::{Farewell, Mailbox};
pub(crate) use meter::Meter;
pub(crate) use pace::Pace;
pub(crate) use reply::{Asker, Gone};
pub(crate) use turn::Threads;
#[cfg(test)]
pub(crate) use {
    executor::Letters,
    mailbox::{Inbox, Letter},
    meter::GRACE,
    runtime::HANDED_OVER,
};

/// How long a container that works on as many requests as it may is given to
/// finish one of them after the last of those who waited has given up.
pub(crate) const STUCK: Duration = Duration::from_secs(1);
