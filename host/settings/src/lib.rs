//! What people write for the program: values with units, and TOML files whose
//! mistakes are told with their line. Pure: texts in, values or messages out.
//!
//! | module | what it reads |
//! |---|---|
//! | [`units`] | durations and sizes such as `30s` and `64 MiB` |
//! | [`section`] | a table of a TOML file, key by key |

pub mod section;
pub mod units;

pub use section::{Mistake, Section, Wrong};
