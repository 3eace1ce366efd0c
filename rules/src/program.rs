//! A condition bound to the properties of one profile, ready to run.

use crate::condition::{Comparison, Condition, Op, Operator, combine};
use crate::schema::Schema;

/// A comparison with the index of its property in the profile.
#[derive(Debug, Clone)]
struct Test {
    limit: f64,
    slot: u16,
    operator: Operator,
}

/// How the truths of the comparisons are joined; the two common shapes need no stack.
#[derive(Debug, Clone)]
enum Shape {
    All,
    Any,
    Mixed(Box<[Op]>),
}

/// A condition over the slots of one profile.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    tests: Box<[Test]>,
    shape: Shape,
}

/// What a program found on one reading.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finding {
    truths: u64,
    /// Whether the condition holds.
    pub(crate) holds: bool,
}

/// The comparison that an alert names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cause {
    pub(crate) slot: u16,
    pub(crate) value: f64,
    pub(crate) limit: f64,
}

impl Program {
    /// Binds a condition; `None` where the profile lacks one of its properties as a number.
    pub(crate) fn bind(condition: &Condition, schema: &Schema<'_>) -> Option<Self> {
        let test = |c: &Comparison| {
            schema.slot(&c.property).map(|slot| Test { limit: c.limit, slot, operator: c.operator })
        };
        let tests = condition.comparisons().iter().map(test).collect::<Option<Box<[Test]>>>()?;
        let ops = condition.ops();
        let shape = match (ops.contains(&Op::And), ops.contains(&Op::Or)) {
            (_, false) => Shape::All,
            (false, true) => Shape::Any,
            (true, true) => Shape::Mixed(ops.into()),
        };
        Some(Self { tests, shape })
    }

    /// Runs over the values of one reading; `None`: one that is needed is absent, so it is not judged.
    pub(crate) fn run(&self, values: &[Option<f64>]) -> Option<Finding> {
        let mut truths = 0_u64;
        for (bit, test) in self.tests.iter().enumerate() {
            let value = value_of(test, values)?;
            truths |= u64::from(test.operator.holds(value, test.limit)) << bit;
        }
        let holds = match &self.shape {
            Shape::Any => truths != 0,
            Shape::All => usize::try_from(truths.count_ones()) == Ok(self.tests.len()),
            Shape::Mixed(ops) => combine(ops, truths),
        };
        Some(Finding { truths, holds })
    }

    /// Returns the first true comparison in text order; `None` where none is true.
    pub(crate) fn cause(&self, finding: Finding, values: &[Option<f64>]) -> Option<Cause> {
        let first = usize::try_from(finding.truths.trailing_zeros()).ok()?;
        let test = self.tests.get(first)?;
        Some(Cause { slot: test.slot, value: value_of(test, values)?, limit: test.limit })
    }
}

/// A number that is not finite is as good as absent: comparing it would mean nothing.
fn value_of(test: &Test, values: &[Option<f64>]) -> Option<f64> {
    values.get(usize::from(test.slot)).copied().flatten().filter(|value| value.is_finite())
}
