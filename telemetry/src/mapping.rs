//! How the rows of a CSV file become readings: the `--mapping` of `replay` and `backtest`.
//!
//! ```text
//! mapping file ──parse──▶ Mapping ──bind(profile)──▶ Bound ──read(name, bytes)──▶ rows
//! ```

mod bind;
mod check;
mod rows;

use std::time::Duration;

use crate::document::Problems;
use crate::time::EventTime;
use crate::time_format::TimeFormat;
use crate::unit::Unit;

pub use bind::Bound;
pub use rows::{OpenError, Row, RowError, Rows};

/// A checked mapping. Only [`Mapping::parse`] makes one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mapping {
    /// Name of the profile whose properties the columns become.
    pub profile: String,
    /// What a row and a column are.
    pub layout: Layout,
    /// Between two cells.
    pub delimiter: u8,
    /// The tenant of every row.
    pub tenant: String,
    /// The site; `None`: the registry knows it.
    pub site: Option<Naming>,
    /// The device; `None`: the header names it (wide).
    pub device: Option<Naming>,
    /// The event time.
    pub time: TimeSource,
    /// The ingest time where the rows have one: they then keep their order of arrival.
    pub received_at: Option<TimeSource>,
    /// Columns that become properties; in a wide layout the one description of every other column.
    pub columns: Vec<Column>,
    /// Columns of a wide layout that are no devices.
    pub ignore: Vec<String>,
    file: String,
}

/// What a row and a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A row is a reading, a column a property.
    Long,
    /// A row is a time, a column a device.
    Wide,
}

/// Where a name comes from.
#[derive(Debug, Clone)]
pub enum Naming {
    /// The same for every row.
    Constant(String),
    /// A column.
    Column(String),
    /// What the pattern finds in the name of the file: its first group, or all of it.
    Filename(regex_lite::Regex),
}

/// Where a time comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum TimeSource {
    /// One column, or several with a space between their cells.
    Columns(Vec<String>, TimeFormat),
    /// The first row's time and the step to the next; a column may count the steps.
    Steps {
        /// Time of step 0.
        start: EventTime,
        /// Between two steps.
        step: Duration,
        /// Counts the steps; `None`: the rows are counted.
        column: Option<String>,
    },
}

/// A column that becomes a property.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name in the header; empty in a wide layout.
    pub column: String,
    /// Name of the property.
    pub property: String,
    /// Cells that stand for no value, beside the empty one; numbers compare as numbers.
    pub missing: Vec<String>,
    /// Unit of the cells; `None`: the property's.
    pub unit: Option<Unit>,
    line: Option<u32>,
}

impl Mapping {
    /// Parses a mapping file; notes every problem. `None` where one of them leaves no usable mapping.
    #[must_use]
    pub fn parse(file: &str, text: &str, problems: &Problems) -> Option<Self> {
        check::mapping(file, text, problems)
    }
}

#[cfg(test)]
mod tests;
