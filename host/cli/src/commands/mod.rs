//! The commands that ask a network, or look at files, and end.

pub(crate) mod argument;
pub(crate) mod ask;
pub(crate) mod config;
pub(crate) mod connect;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod kinds;
pub(crate) mod list;
pub(crate) mod reach;
