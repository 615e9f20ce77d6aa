//! How much one call may carry. They bound the memory of the host whatever a
//! guest asks for; the errors name the limit and the remedy.

/// Bytes of one document, as JSON text.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of one transaction, as JSON text. An update carries at most what a
/// document may hold, plus its own fields.
pub const MAX_TRANSACTION_BYTES: usize = MAX_DOCUMENT_BYTES + 64 * 1024;
/// How deep a document or a transaction may nest.
pub const MAX_NESTING: usize = 100;
/// Bytes of the id or the class of a document or a transaction.
pub const MAX_ID_BYTES: usize = 256;
/// Transactions in one commit.
pub const MAX_TRANSACTIONS: usize = 1_000;
/// Documents put or removed in one commit.
pub const MAX_CHANGES: usize = 10_000;
/// Bytes of one commit, transactions and documents together.
pub const MAX_COMMIT_BYTES: usize = 32 * 1024 * 1024;
/// Ids in one `get` or `lookup`.
pub const MAX_IDS: usize = 10_000;
/// Documents in the answer of one `find`.
pub const MAX_FOUND: usize = 100_000;
/// Bytes in the answer of one `find` or `get`.
pub const MAX_FOUND_BYTES: usize = 64 * 1024 * 1024;
/// Entries in the answer of one `log`.
pub const MAX_LOG_ENTRIES: u32 = 1_000;
/// Bytes after which the answer of one `log` ends.
pub const MAX_LOG_BYTES: usize = 8 * 1024 * 1024;
/// Workspaces that one account may belong to.
pub const MAX_MEMBERSHIPS: usize = 20_000;
