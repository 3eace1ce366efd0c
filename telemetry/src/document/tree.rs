//! The tree of a TOML document, each value with its line.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::Problems;
use crate::problem::{Problem, excerpt};
use crate::text::say;

/// A value of a document, with the line it stands on.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Line in the file, from 1; `None` where the value came from elsewhere.
    pub line: Option<u32>,
    /// The value.
    pub value: NodeValue,
}

/// The value of a [`Node`].
#[derive(Debug, Clone, PartialEq)]
pub enum NodeValue {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Truth.
    Truth(bool),
    /// A date, time or both, as written.
    Datetime(String),
    /// A list.
    Array(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Node>),
}

impl NodeValue {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "kind.string",
            Self::Integer(_) => "kind.integer",
            Self::Float(_) => "kind.number",
            Self::Truth(_) => "kind.truth",
            Self::Datetime(_) => "kind.datetime",
            Self::Array(_) => "kind.array",
            Self::Table(_) => "kind.table",
        }
    }

    pub(super) fn written(&self) -> String {
        match self {
            Self::Text(text) => excerpt(&format!("\"{text}\"")),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::Datetime(at) => at.clone(),
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| item.value.written()).collect();
                excerpt(&format!("[{}]", items.join(", ")))
            }
            Self::Table(_) => String::new(),
        }
    }
}

/// Parses a TOML text into its tree; notes each syntax error and keeps what is readable.
#[must_use]
pub fn parse_tree(file: &str, text: &str, problems: &Problems) -> BTreeMap<String, Node> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    for error in errors {
        problems.add(Problem {
            file: file.to_owned(),
            line: error.span().and_then(|span| lines.number(span.start)),
            key: String::new(),
            value: String::new(),
            what: say("document.syntax", &[("detail", &error.message().replace('\n', " "))]),
            remedy: say("document.syntax.remedy", &[]),
        });
    }
    lines.table(table.get_ref())
}

struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn number(&self, offset: usize) -> Option<u32> {
        u32::try_from(self.0.partition_point(|newline| *newline < offset) + 1).ok()
    }

    fn table(&self, table: &DeTable<'_>) -> BTreeMap<String, Node> {
        let node = |(key, value): (
            &toml::Spanned<toml::de::DeString<'_>>,
            &toml::Spanned<DeValue<'_>>,
        )| {
            let line = self.number(key.span().start);
            (key.get_ref().to_string(), Node { line, value: self.value(value.get_ref()) })
        };
        table.iter().map(node).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> NodeValue {
        match value {
            DeValue::String(text) => NodeValue::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| NodeValue::Text(number.as_str().to_owned()), NodeValue::Integer),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or_else(|_| NodeValue::Text(number.as_str().to_owned()), NodeValue::Float),
            DeValue::Boolean(truth) => NodeValue::Truth(*truth),
            DeValue::Datetime(at) => NodeValue::Datetime(at.to_string()),
            DeValue::Array(items) => NodeValue::Array(
                items
                    .iter()
                    .map(|item| Node {
                        line: self.number(item.span().start),
                        value: self.value(item.get_ref()),
                    })
                    .collect(),
            ),
            DeValue::Table(table) => NodeValue::Table(self.table(table)),
        }
    }
}

pub(super) fn as_number(value: &NodeValue) -> Option<f64> {
    let number = match value {
        NodeValue::Float(number) => *number,
        #[expect(clippy::cast_precision_loss, reason = "limits and ranges are far below 2^53")]
        NodeValue::Integer(number) => *number as f64,
        NodeValue::Text(text) => text.parse().ok()?,
        NodeValue::Truth(_)
        | NodeValue::Datetime(_)
        | NodeValue::Array(_)
        | NodeValue::Table(_) => return None,
    };
    number.is_finite().then_some(number)
}
