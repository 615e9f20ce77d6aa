//! Huly's application model as pure functions over JSON: what a transaction
//! means for a document, which classes derive from which, and which filter a
//! query stands for.
//!
//! Nothing here reads a clock, a store or a network, so the same code decides
//! inside a container (`wasm32-wasip2`) and inside a host program. Every input
//! may come from a stranger: it is checked where it enters ([`Tx::parse`],
//! [`Update::parse`], [`FindRequest::filter`]), and what passes cannot make the
//! rest panic, recurse without end or leave a document half changed.
//!
//! | module | question it answers |
//! |---|---|
//! | [`tx`] | is this JSON a transaction, and which? |
//! | [`mod@update`] | what do these update operators make of a document? |
//! | [`mod@apply`] | what does this transaction do to its document? |
//! | [`batch`] | what does a list of transactions do, in order and as a whole? |
//! | [`class`] | which classes derive from this one? |
//! | [`find`] | which filter answers this query? |
//! | [`mod@merge`] | how do the answers of several workspaces become one? |
//! | [`recent`] | what was used lately? (a bounded memory) |

pub mod apply;
pub mod batch;
pub mod class;
pub mod find;
pub mod merge;
pub mod recent;
pub mod tx;
pub mod update;
mod value;

pub use apply::{ApplyError, Change, apply};
pub use batch::{Applied, Batch, BatchError, Logged};
pub use class::{Hierarchy, Kind};
pub use find::{FindError, FindRequest};
pub use merge::{Merge, Merged, Placed};
pub use recent::Recent;
pub use tx::{Tx, TxError};
pub use update::{Update, UpdateError};
