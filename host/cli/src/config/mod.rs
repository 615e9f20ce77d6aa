//! Configuration: flags over `HULYNET_*` environment over a TOML file over
//! defaults.
//!
//! Every setting stands once, in [`table`], with what it is for, what it takes
//! and its default. The flags, the names in the environment, the keys of the
//! file, the help and `hulynet config` are all made from that table.

mod error;
mod file;
mod layers;
mod table;

pub(crate) use error::ConfigError;
pub(crate) use layers::{Layers, Origin};
pub(crate) use table::{LogFormat, Scope, Setting, Settings, TABLE};
