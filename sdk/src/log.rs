//! Structured log lines; the host adds the container's identity.
//!
//! ```
//! use hulynet_sdk::log;
//! let (workspace, count) = ("ws1", 3);
//! log::info!("imported {count} documents"; workspace = workspace, count = count);
//! ```
//!
//! A line never waits. One over the host's size limit is cut, and lines over its
//! rate are dropped and counted.

#[doc(inline)]
pub use crate::{
    __debug as debug, __error as error, __info as info, __trace as trace, __warn as warn,
};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step; off by default.
    Trace,
    /// For the kind's author.
    Debug,
    /// For the operator: normal life.
    Info,
    /// Something is wrong and was handled.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line; the macros of this module call it.
pub fn write(level: Level, message: &str, fields: &[(String, String)]) {
    crate::host::log(level, message, fields);
}

/// A format string with its arguments, then `; name = value` pairs.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $format:literal $(, $argument:expr)* $(; $($name:ident = $value:expr),+ $(,)?)?) => {
        $crate::log::write(
            $crate::log::Level::$level,
            &::std::format!($format $(, $argument)*),
            &[$($((::std::stringify!($name).to_owned(), ::std::string::ToString::to_string(&$value))),+)?],
        )
    };
}

/// Logs a step.
#[macro_export]
#[doc(hidden)]
macro_rules! __trace { ($($line:tt)+) => { $crate::__log!(Trace, $($line)+) }; }

/// Logs something for the kind's author.
#[macro_export]
#[doc(hidden)]
macro_rules! __debug { ($($line:tt)+) => { $crate::__log!(Debug, $($line)+) }; }

/// Logs normal life.
#[macro_export]
#[doc(hidden)]
macro_rules! __info { ($($line:tt)+) => { $crate::__log!(Info, $($line)+) }; }

/// Logs something wrong that was handled.
#[macro_export]
#[doc(hidden)]
macro_rules! __warn { ($($line:tt)+) => { $crate::__log!(Warn, $($line)+) }; }

/// Logs a failure.
#[macro_export]
#[doc(hidden)]
macro_rules! __error { ($($line:tt)+) => { $crate::__log!(Error, $($line)+) }; }
