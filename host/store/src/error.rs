use std::path::PathBuf;

use hulynet_protocol::{Epoch, IdError, Retry};

/// Why the store refused or failed; [`StoreError::retry`] tells whether the
/// same call may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A name that no workspace or account can have.
    #[error(transparent)]
    InvalidName(#[from] IdError),
    /// The workspace belongs to somebody else.
    #[error(
        "the workspace {workspace:?} exists already and has another owner; choose another name"
    )]
    AlreadyExists {
        /// The workspace.
        workspace: String,
    },
    /// The workspace does not exist, or the account is not a member: who is
    /// not a member cannot tell which.
    #[error(
        "the account {account:?} has no workspace {workspace:?}; \
         create it, or ask its owner to add the account"
    )]
    NoSuchWorkspace {
        /// The workspace.
        workspace: String,
        /// The account that asked.
        account: String,
    },
    /// The account is a member but may not do this.
    #[error("the account {account:?} may not {action} in the workspace {workspace:?}; {remedy}")]
    Forbidden {
        /// The workspace.
        workspace: String,
        /// The account that asked.
        account: String,
        /// What it tried.
        action: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// The sequence numbers of a commit do not follow the log.
    #[error(
        "the commit begins at {first} but the log ends at {head}; read the log and begin at its next number"
    )]
    Conflict {
        /// Where the commit wanted to begin.
        first: u64,
        /// The last sequence number in the log.
        head: u64,
    },
    /// A newer writer has taken over the workspace.
    #[error(
        "the writer's epoch {writer} is older than {current}, which has taken over; stop writing"
    )]
    StaleEpoch {
        /// The epoch of the refused writer.
        writer: Epoch,
        /// The epoch of the last writer.
        current: Epoch,
    },
    /// The transaction is in the log already: a resend.
    #[error("the transaction {id:?} is in the log already, with the number {sequence}")]
    Duplicate {
        /// The transaction.
        id: String,
        /// Its sequence number.
        sequence: u64,
    },
    /// A transaction, document or id of the wrong shape.
    #[error("{what} {reason}")]
    Invalid {
        /// The thing, with its place in the call.
        what: String,
        /// What is wrong with it and what is expected.
        reason: &'static str,
    },
    /// More than one call may carry or answer.
    #[error("{what} over the limit of {limit} {unit}; {remedy}")]
    TooLarge {
        /// The thing that is too large.
        what: String,
        /// The limit.
        limit: usize,
        /// Its unit.
        unit: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// Too much is going on: nothing was done.
    #[error("the store is busy ({what}); try again")]
    Busy {
        /// What is busy.
        what: &'static str,
    },
    /// The data were written by a newer version of the program.
    #[error(
        "{} has the format {found}, this program knows {supported}; upgrade the program",
        file.display()
    )]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The newest that is known.
        supported: i64,
    },
    /// The data cannot be read back.
    #[error("{place} is damaged: {reason}; restore it from a backup")]
    Damaged {
        /// The file or row.
        place: String,
        /// What does not fit.
        reason: String,
    },
    /// The engine failed: a full disk, a lost file, a lost server.
    #[error("{doing} failed: {reason}")]
    Engine {
        /// What was being done.
        doing: String,
        /// The engine's own words.
        reason: String,
        /// Whether it may have been done.
        retry: Retry,
    },
}

impl StoreError {
    /// Whether the same call may be repeated.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. } => Retry::NotProcessed,
            Self::Engine { retry, .. } => *retry,
            _ => Retry::Final,
        }
    }
}
