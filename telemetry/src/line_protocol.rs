//! InfluxDB line protocol: readings written as points, and points read back.
//!
//! The writer sorts nothing and allocates nothing per reading: a profile knows the order and the
//! escaped text of its fields. The same reading gives the same bytes everywhere (T3).
//! One point is one line: no input, however hostile, adds a line, a tag or a field.

mod escape;
mod number;
mod read;
mod write;

pub use escape::{write_key, write_measurement, write_text};
pub use read::{FieldValue, Line, LineError, lines, parse_line};
pub use write::{PointHead, Stamp, write_fields, write_prefix, write_reading};

pub(crate) use write::FieldOrder;
