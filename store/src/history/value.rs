//! Values and columns, as the history keeps them.

use std::sync::Arc;

use telemetry::line_protocol::FieldValue;

/// Type of a field's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// DOUBLE.
    Float,
    /// INT64.
    Int,
    /// BOOLEAN.
    Bool,
    /// UTF-8.
    Text,
}

impl Kind {
    /// Returns its name, for the detail of a dead letter.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Int => "integer",
            Self::Bool => "boolean",
            Self::Text => "text",
        }
    }

    /// Returns what a cell of this type holds as a number: truth is 1 or 0, text is none.
    pub(super) const fn number(self, bits: u64) -> Option<f64> {
        match self {
            Self::Float => Some(f64::from_bits(bits)),
            Self::Int => Some(bits.cast_signed() as f64),
            Self::Bool => Some(bits as f64),
            Self::Text => None,
        }
    }
}

/// One field: a column of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// The field's name.
    pub(super) name: Arc<str>,
    /// Its type.
    pub(super) kind: Kind,
}

/// Value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A finite number.
    Float(f64),
    /// A whole number.
    Int(i64),
    /// Truth.
    Bool(bool),
    /// Text.
    Text(Box<str>),
}

impl Value {
    /// Takes a value of line protocol; `None`: a whole number beyond 64 bits with a sign.
    pub(super) fn of(value: FieldValue<'_>) -> Option<Self> {
        Some(match value {
            FieldValue::Float(number) => Self::Float(number),
            FieldValue::Int(number) => Self::Int(number),
            FieldValue::Unsigned(number) => Self::Int(i64::try_from(number).ok()?),
            FieldValue::Bool(truth) => Self::Bool(truth),
            FieldValue::Text(text) => Self::Text(text.into()),
        })
    }

    /// Returns its type.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Float(_) => Kind::Float,
            Self::Int(_) => Kind::Int,
            Self::Bool(_) => Kind::Bool,
            Self::Text(_) => Kind::Text,
        }
    }
}
