//! What is wrong with the text of a condition.

use std::fmt::{self, Display};

use telemetry::text::{Text, say};

use super::{COMPARISONS_MAX, DEPTH_MAX, LENGTH_MAX};

/// What the grammar wanted at the place of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A property, or an opening parenthesis.
    Property,
    /// One of the six comparisons.
    Operator,
    /// A number.
    Limit,
    /// `&&`, `||` or the end.
    Joint,
    /// A closing parenthesis.
    Close,
}

impl Expected {
    const fn key(self) -> &'static str {
        match self {
            Self::Property => "rules.expected.property",
            Self::Operator => "rules.expected.operator",
            Self::Limit => "rules.expected.limit",
            Self::Joint => "rules.expected.joint",
            Self::Close => "rules.expected.close",
        }
    }
}

impl Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&say(self.key(), &[]).en)
    }
}

/// Why a condition could not be read; columns count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Something else stands where the grammar wants another thing; `found` is empty at the end.
    #[error("column {column}: expected {expected}, found `{found}`")]
    Unexpected {
        /// Where.
        column: u32,
        /// What the grammar wants there.
        expected: Expected,
        /// What stands there.
        found: Box<str>,
    },
    /// A character or word that the grammar does not know.
    #[error("column {column}: `{found}` has no meaning here")]
    Unknown {
        /// Where.
        column: u32,
        /// What stands there.
        found: Box<str>,
    },
    /// A number that is none, or too large.
    #[error("column {column}: `{found}` is not a finite number")]
    NotANumber {
        /// Where.
        column: u32,
        /// What stands there.
        found: Box<str>,
    },
    /// Parentheses nested deeper than [`DEPTH_MAX`].
    #[error("column {column}: parentheses nested deeper than {DEPTH_MAX}")]
    TooDeep {
        /// Where.
        column: u32,
    },
    /// More than [`COMPARISONS_MAX`] comparisons.
    #[error("column {column}: more than {COMPARISONS_MAX} comparisons")]
    TooMany {
        /// Where.
        column: u32,
    },
    /// A text longer than [`LENGTH_MAX`].
    #[error("longer than {LENGTH_MAX} bytes")]
    TooLong,
}

impl ConditionError {
    /// Returns what is wrong, and what would be right.
    #[must_use]
    pub fn texts(&self) -> (Text, Text) {
        match self {
            Self::Unexpected { column, expected, found } if found.is_empty() => {
                (say("rules.when.ends", &[("column", column)]), say(expected.key(), &[]))
            }
            Self::Unexpected { column, expected, found } => (
                say("rules.when.unexpected", &[("column", column), ("found", found)]),
                say(expected.key(), &[]),
            ),
            Self::Unknown { column, found } => (
                say("rules.when.unexpected", &[("column", column), ("found", found)]),
                say("rules.when.grammar", &[]),
            ),
            Self::NotANumber { column, found } => (
                say("rules.when.not_a_number", &[("column", column), ("found", found)]),
                say(Expected::Limit.key(), &[]),
            ),
            Self::TooDeep { column } => (
                say("rules.when.too_deep", &[("column", column), ("most", &DEPTH_MAX)]),
                say("rules.when.split", &[]),
            ),
            Self::TooMany { column } => (
                say("rules.when.too_many", &[("column", column), ("most", &COMPARISONS_MAX)]),
                say("rules.when.split", &[]),
            ),
            Self::TooLong => {
                (say("rules.when.too_long", &[("most", &LENGTH_MAX)]), say("rules.when.split", &[]))
            }
        }
    }
}
