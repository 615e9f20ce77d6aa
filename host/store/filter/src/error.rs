use std::fmt;

/// Why a filter or its options cannot be used. Repeating the same query
/// gives the same error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterError {
    /// An operator that this network does not offer.
    UnknownOperator {
        /// The key that the operator was applied to.
        key: String,
        /// The operator as written.
        operator: String,
    },
    /// An object that mixes operators with plain keys.
    MixedOperators {
        /// The key whose value mixes them.
        key: String,
    },
    /// A value of the wrong shape.
    WrongType {
        /// The key, operator or option that carries the value.
        place: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// An option that this network does not offer.
    UnknownOption {
        /// The option as written.
        option: String,
    },
    /// A key that cannot name a field.
    BadKey {
        /// The key as written, shortened.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More than a query may carry.
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
}

/// The operators, as error messages list them.
pub(crate) const OPERATORS: &str =
    "$in, $nin, $exists, $gt, $gte, $lt, $lte, $ne, $like, $size, $all";

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOperator { key, operator } => write!(
                f,
                "the operator {operator:?} of {key:?} is not supported; use one of {OPERATORS}"
            ),
            Self::MixedOperators { key } => write!(
                f,
                "the value of {key:?} mixes operators with plain keys; use either operators \
                 ({OPERATORS}) or a plain value"
            ),
            Self::WrongType { place, expected } => write!(f, "{place:?} must be {expected}"),
            Self::UnknownOption { option } => write!(
                f,
                "the option {option:?} is not supported; use limit, sort, projection or total"
            ),
            Self::BadKey { key, reason } => write!(f, "the key {key:?} {reason}"),
            Self::TooLarge { what, limit } => {
                write!(f, "the query has too many {what}; at most {limit} are allowed")
            }
        }
    }
}

impl std::error::Error for FilterError {}
