//! One transaction on its way from a source to a workspace.

use std::fmt;

use huly_model::{Tx, TxError, tx::Action};
use serde_json::Value;

use crate::failure::Failure;

/// Where in its source a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of a file, from 1.
    Line(u64),
    /// An element of an array, from 1.
    Element(u64),
    /// The project that holds a repository's issues.
    Project,
    /// A commit, by its hash.
    Commit(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Element(number) => write!(f, "transaction {number}"),
            Self::Project => f.write_str("the project"),
            Self::Commit(hash) => write!(f, "commit {hash}"),
        }
    }
}

/// What a transaction does to its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Makes it.
    Create,
    /// Changes it.
    Update,
    /// Removes it.
    Remove,
}

/// A transaction that was checked, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Where it stands.
    pub(crate) place: Place,
    /// The class of its document.
    pub(crate) class: String,
    /// What it does to it.
    pub(crate) does: Does,
    /// The transaction as JSON.
    pub(crate) text: String,
}

impl Step {
    /// Checks a transaction.
    pub(crate) fn check(place: Place, transaction: Value) -> Result<Self, TxError> {
        let tx = Tx::parse(transaction)?;
        let does = match &tx.action {
            Action::Create(_) => Does::Create,
            Action::Update(_) | Action::Mixin { .. } => Does::Update,
            Action::Remove => Does::Remove,
        };
        Ok(Self { place, does, class: tx.object_class.clone(), text: tx.into_json().to_string() })
    }
}

/// Why a source stops before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Nobody takes its transactions any more.
    Gone,
    /// It cannot be read or holds something else than transactions.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Takes the transactions of a source, one after the other.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(Step) -> Result<(), Stop>;
