//! Queries over JSON documents, decided without IO.
//!
//! An engine narrows its candidates as well as it can and lets this crate
//! decide: [`Filter::matches`] for each document, then a [`Collector`] for
//! sorting, limiting, counting and projecting. Every engine, and every guest
//! that merges answers, therefore agrees on what a query means. The crate
//! builds for `wasm32-wasip2`.
//!
//! The rules follow the in-memory database of the Huly platform:
//!
//! - a plain value means equality; a scalar also equals an array that has it
//!   as an element; numbers compare by value (`1` equals `1.0`);
//! - `null` equals missing, everywhere (`$exists: true` asks for a value that
//!   is neither);
//! - a dotted key walks into objects; on its way through an array a number
//!   picks an element, and any other segment looks into every element;
//! - `$gt`, `$gte`, `$lt`, `$lte` compare a number with a number, a text with
//!   a text, a boolean with a boolean, and nothing else;
//! - `$like` knows the wildcard `%`, ignores case, covers the whole text, and
//!   a wildcard never covers a line break;
//! - `$ne` and `$nin` are exactly what equality and `$in` are not.

mod collect;
mod error;
mod filter;
mod like;
mod limits;
mod operator;
mod options;
mod path;
mod projection;
mod sort;
mod value;

pub use collect::{Collector, Found};
pub use error::FilterError;
pub use filter::{Filter, Texts};
pub use limits::{
    MAX_DEPTH, MAX_FILTER_BYTES, MAX_FILTER_VALUES, MAX_KEY_BYTES, MAX_KEY_SEGMENTS, MAX_KEYS,
};
pub use options::Options;
pub use path::KeyPath;
pub use projection::Projection;
pub use sort::{Direction, Sort};
pub use value::{approximate_bytes, compare_values, same_value};
