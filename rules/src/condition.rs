//! The text of `when` and `clear`: `property op number`, joined by `&&`, `||` and parentheses.
//!
//! ```text
//! either     := both ("||" both)*
//! both       := part ("&&" part)*                 && binds tighter than ||
//! part       := "(" either ")" | comparison
//! comparison := property ("<" | "<=" | ">" | ">=" | "==" | "!=") limit
//! limit      := "-"? number | "true" | "false"    truth counts as 1 and 0
//! ```

mod error;
mod lexer;
mod parser;

use lexer::tokens;

pub use error::{ConditionError, Expected};

/// Most comparisons of one condition: their truths fit one machine word.
pub const COMPARISONS_MAX: usize = 64;
/// Deepest nesting of parentheses.
pub const DEPTH_MAX: usize = 16;
/// Longest text of a condition, in bytes.
pub const LENGTH_MAX: usize = 4096;

/// How a value is held against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Operator {
    /// Returns the operator as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }

    /// Returns whether `value` stands to `limit` as the operator says.
    #[must_use]
    #[expect(
        clippy::float_cmp,
        reason = "`==` in a rule asks for exactly that number: states, counts, truth"
    )]
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::LessOrEqual => value <= limit,
            Self::Greater => value > limit,
            Self::GreaterOrEqual => value >= limit,
            Self::Equal => value == limit,
            Self::NotEqual => value != limit,
        }
    }
}

/// One `property op number`.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Name of the property.
    pub property: Box<str>,
    /// How it is compared.
    pub operator: Operator,
    /// The limit, finite, in the property's unit.
    pub limit: f64,
    /// Where the property stands in the text, in characters from 1.
    pub column: u32,
}

/// One step of the flat program: comparisons in text order, joined from a stack of truths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Takes the truth of the next comparison.
    Test,
    /// Joins the two newest truths by `&&`.
    And,
    /// Joins the two newest truths by `||`.
    Or,
}

/// A condition that was understood; which properties exist is checked when it is bound to a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    comparisons: Vec<Comparison>,
    ops: Vec<Op>,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    ///
    /// [`ConditionError`] tells the column and what was expected there.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        if text.len() > LENGTH_MAX {
            return Err(ConditionError::TooLong);
        }
        parser::parse(&tokens(text)?)
    }

    /// Returns the comparisons in text order, at least one.
    #[must_use]
    pub fn comparisons(&self) -> &[Comparison] {
        &self.comparisons
    }

    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Returns what the condition means, whatever its spacing, columns and needless parentheses.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut comparisons = self.comparisons.iter();
        for op in &self.ops {
            match op {
                Op::And => out.extend(b"&"),
                Op::Or => out.extend(b"|"),
                Op::Test => {
                    let Some(Comparison { property, operator, limit, .. }) = comparisons.next()
                    else {
                        break;
                    };
                    // A property holds no space, so that the parts stay apart.
                    out.extend(
                        format!("{property} {} {:016x};", operator.as_str(), limit.to_bits())
                            .bytes(),
                    );
                }
            }
        }
        out
    }

    /// Returns whether whatever fulfils `self` fulfils `other` too, as far as one property or equal text shows it.
    pub(crate) fn implies(&self, other: &Self) -> bool {
        if self.canonical() == other.canonical() {
            return true;
        }
        self.shares_one_property_with(other)
            && self
                .turning_points(other)
                .all(|value| !self.holds_at(value) || other.holds_at(value))
    }

    /// Returns whether no value fulfils the condition, as far as a single property shows it.
    pub(crate) fn is_never_true(&self) -> bool {
        self.shares_one_property_with(self)
            && !self.turning_points(self).any(|value| self.holds_at(value))
    }

    fn shares_one_property_with(&self, other: &Self) -> bool {
        let Some(first) = self.comparisons.first() else { return false };
        self.comparisons.iter().chain(&other.comparisons).all(|c| c.property == first.property)
    }

    /// Values of which one lies in each stretch where no comparison changes.
    fn turning_points<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = f64> + 'a {
        let limits = self.comparisons.iter().chain(&other.comparisons).map(|c| c.limit);
        limits.flat_map(|limit| [limit.next_down(), limit, limit.next_up()])
    }

    fn holds_at(&self, value: f64) -> bool {
        let bits = self.comparisons.iter().enumerate();
        let truths = bits.fold(0, |truths, (bit, c)| {
            truths | u64::from(c.operator.holds(value, c.limit)) << bit
        });
        combine(&self.ops, truths)
    }
}

/// Runs a program over the truths of its comparisons, the first in the lowest bit.
///
/// The stack is one word: [`DEPTH_MAX`] levels leave at most two waiting truths each.
pub(crate) fn combine(ops: &[Op], truths: u64) -> bool {
    let (mut stack, mut next) = (0_u64, truths);
    for op in ops {
        match op {
            Op::Test => {
                stack = (stack << 1) | (next & 1);
                next >>= 1;
            }
            Op::And => stack = (stack >> 1) & (stack | !1),
            Op::Or => stack = (stack >> 1) | (stack & 1),
        }
    }
    stack & 1 == 1
}

#[cfg(test)]
mod tests;
