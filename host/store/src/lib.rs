//! The engines behind the data capabilities.
//!
//! [`Documents`] and [`Workspace`] are what the host offers to kinds: durable
//! documents and a log of transactions, one workspace per tenant, with
//! membership and fencing decided here and not in a guest. The traits assume
//! nothing of a local file, so that a server engine can stand behind them
//! too; an engine is done when the `conformance` suite (a Cargo feature)
//! passes.
//!
//! [`SqliteDocuments`] is the embedded engine: no server to start, several
//! processes on one machine may share its directory.

mod checked;
#[cfg(feature = "conformance")]
pub mod conformance;
mod documents;
mod error;
pub mod limits;
mod membership;
mod sqlite;

pub use documents::{Commit, Committed, Documents, Find, LogEntry, Workspace};
pub use error::StoreError;
pub use membership::{Membership, Role};
pub use sqlite::SqliteDocuments;

pub use hulynet_protocol::{AccountId, WorkspaceId};

pub use hulynet_filter::{Filter, FilterError, Found, Options};
