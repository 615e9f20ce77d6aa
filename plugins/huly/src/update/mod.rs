//! Update operators: what the `operations` of an update transaction make of a
//! document.
//!
//! A plain key sets a value (`a`, or dotted: `a.b.0`); `$inc`, `$push`,
//! `$pull`, `$unset`, `$rename` and `$update` take an object of keys. All keys
//! may be dotted. The meaning of each is that of Huly's own update code; where
//! that silently does nothing or throws (pushing to a text, say), this is an
//! error that names the key.
//!
//! [`Update::parse`] refuses everything that is wrong whatever the document
//! is; [`Update::apply`] returns a new document or an error, never a document
//! that is half changed.

mod operator;
mod path;

use serde_json::{Map, Value};

use operator::Operation;
pub use path::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS};

use crate::value::type_name;

/// Why an update was refused. Final: the same update of the same document is
/// refused again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// `operations` is something else than an object.
    #[error("operations are {found}; they must be an object of keys and operators")]
    NotAnObject {
        /// The type found.
        found: &'static str,
    },
    /// An operator that does not exist.
    #[error(
        "unknown operator `{operator}`; known are $inc, $push, $pull, $unset, $rename, $update and plain keys"
    )]
    UnknownOperator {
        /// The operator as it was written.
        operator: String,
    },
    /// An operator was given something that it does not take.
    #[error("{operator} of `{key}` takes {expected}, not {found}")]
    Operand {
        /// The operator.
        operator: &'static str,
        /// The key it was applied to; empty for the operator's own object.
        key: String,
        /// What it takes.
        expected: &'static str,
        /// What it was given.
        found: String,
    },
    /// A path that cannot lead anywhere.
    #[error("path `{path}` {reason}; write keys separated by single dots")]
    Path {
        /// The path, shortened.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A path leads through a value that has no fields.
    #[error(
        "path `{path}` cannot reach `{segment}`: {found} is in the way; set that key as a whole first"
    )]
    InTheWay {
        /// The whole path.
        path: String,
        /// The segment that could not be reached.
        segment: String,
        /// The type in the way.
        found: &'static str,
    },
    /// A path names an element that an array does not have.
    #[error("path `{path}`: the array has no element `{segment}`; use $push to add one")]
    NoSuchElement {
        /// The whole path.
        path: String,
        /// The segment that is not an index of the array.
        segment: String,
    },
    /// The document holds something that the operator cannot work on.
    #[error("{operator} needs {expected} at `{path}`, but the document has {found} there")]
    Target {
        /// The operator.
        operator: &'static str,
        /// The path it was applied to.
        path: String,
        /// What the operator works on.
        expected: &'static str,
        /// What the document holds.
        found: &'static str,
    },
    /// A sum that no number can hold.
    #[error("$inc of `{path}` goes beyond the largest number; use a smaller step")]
    Overflow {
        /// The path.
        path: String,
    },
}

/// A checked list of update operations.
#[derive(Debug, Clone, PartialEq)]
pub struct Update(Vec<Operation>);

impl Update {
    /// Checks `operations`: every operator known, every operand of the right
    /// shape, every path possible.
    ///
    /// # Errors
    /// The first thing that is wrong, by name.
    pub fn parse(operations: &Value) -> Result<Self, UpdateError> {
        let Value::Object(operations) = operations else {
            return Err(UpdateError::NotAnObject { found: type_name(operations) });
        };
        let mut parsed = Vec::with_capacity(operations.len());
        for (key, operand) in operations {
            if key.starts_with('$') {
                operator::parse(key, operand, &mut parsed)?;
            } else {
                parsed.push(Operation::set(key, operand)?);
            }
        }
        Ok(Self(parsed))
    }

    /// The document after all operations, in the order in which they are
    /// written.
    ///
    /// # Errors
    /// The first operation that the document does not allow; nothing is kept
    /// of the others.
    pub fn apply(
        &self,
        mut document: Map<String, Value>,
    ) -> Result<Map<String, Value>, UpdateError> {
        for operation in &self.0 {
            operation.apply(&mut document)?;
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests;
