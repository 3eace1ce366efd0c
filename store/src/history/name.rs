//! Names of folders and files: what a file holds is told by its name, so that a listing is the index.
//!
//! ```text
//! history/measurement=soil/2026-11-25.0000000007-0000000012.1a2f-9c2b1d00.parquet
//!         │                │          │                     └ length and CRC32C of the tail (page index, footer)
//!         │                │          └ first and last flush it holds: the larger number is newer
//!         │                └ the UTC day, or the UTC month (`2026-11`)
//!         └ percent-encoded; DuckDB and pandas take it as a column
//! ```

use std::fmt::{self, Display, Write as _};

use jiff::civil::Date;
use telemetry::time::EventTime;

/// Nanoseconds of a day.
pub(super) const DAY_NANOS: i64 = 86_400_000_000_000;
/// Longest encoded name of a measurement: a folder's name has at most 255 bytes.
const ENCODED_MAX: usize = 200;
const FOLDER: &str = "measurement=";
const SUFFIX: &str = ".parquet";
/// Ends the name of a file that is being written.
pub(super) const TEMPORARY: &str = ".tmp";
/// Ends the name of a file that was found damaged.
pub(super) const SET_ASIDE: &str = ".damaged";

/// Stretch of time that one file covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Span {
    /// A UTC day, counted from 1970-01-01.
    Day(i32),
    /// A UTC month, counted from January 1970.
    Month(i32),
}

impl Span {
    /// Returns the day of a time.
    pub(super) fn day_of(nanos: i64) -> i32 {
        // The whole range of nanoseconds has some 213,000 days.
        i32::try_from(nanos.div_euclid(DAY_NANOS)).unwrap_or(i32::MAX)
    }

    /// Returns the month that it lies in.
    pub(super) fn month(self) -> Self {
        match self {
            Self::Day(day) => {
                let date = date(day);
                Self::Month((i32::from(date.year()) - 1970) * 12 + i32::from(date.month()) - 1)
            }
            Self::Month(_) => self,
        }
    }

    /// Returns its first day, and the first one after it.
    pub(super) fn days(self) -> (i32, i32) {
        match self {
            Self::Day(day) => (day, day + 1),
            Self::Month(month) => (first_day(month), first_day(month + 1)),
        }
    }

    /// Returns its first time.
    pub(super) fn start(self) -> i64 {
        i64::from(self.days().0).saturating_mul(DAY_NANOS)
    }

    /// Returns the first time after it.
    pub(super) fn end(self) -> i64 {
        i64::from(self.days().1).saturating_mul(DAY_NANOS)
    }

    /// Returns whether it has a time in `from..to`.
    pub(super) fn overlaps(self, from: EventTime, to: EventTime) -> bool {
        self.start() < to.as_nanos() && from.as_nanos() < self.end()
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() == 7 {
            let first: Date = format!("{text}-01").parse().ok()?;
            return Some(Self::Day(day_number(first)).month());
        }
        text.parse().ok().map(|date| Self::Day(day_number(date)))
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = date(self.days().0);
        match self {
            Self::Day(_) => write!(f, "{date}"),
            Self::Month(_) => write!(f, "{:04}-{:02}", date.year(), date.month()),
        }
    }
}

fn date(day: i32) -> Date {
    let first = Date::constant(1970, 1, 1);
    first.saturating_add(jiff::Span::new().try_days(day).unwrap_or_default())
}

fn day_number(date: Date) -> i32 {
    let first = Date::constant(1970, 1, 1);
    first.until(date).map_or(0, |span| span.get_days())
}

fn first_day(month: i32) -> i32 {
    let year = i16::try_from(1970 + month.div_euclid(12)).unwrap_or(i16::MAX);
    let month = i8::try_from(month.rem_euclid(12) + 1).unwrap_or(1);
    Date::new(year, month, 1).map_or(0, day_number)
}

/// Name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileName {
    /// What it covers.
    pub(super) span: Span,
    /// First flush that it holds.
    pub(super) first: u64,
    /// Last flush that it holds.
    pub(super) last: u64,
    /// Length of its tail: everything behind its data.
    pub(super) tail_bytes: u32,
    /// CRC32C of its tail.
    pub(super) tail_crc: u32,
}

impl FileName {
    /// Reads a name; `None`: not one of ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(SUFFIX)?.split('.');
        let span = Span::parse(parts.next()?)?;
        let (first, last) = parts.next()?.split_once('-')?;
        let (tail_bytes, tail_crc) = parts.next()?.split_once('-')?;
        let parsed = Self {
            span,
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            tail_bytes: u32::from_str_radix(tail_bytes, 16).ok()?,
            tail_crc: u32::from_str_radix(tail_crc, 16).ok()?,
        };
        // Exactly as it would be written: one file has one name.
        (parsed.to_string() == name).then_some(parsed)
    }

    /// Returns whether everything in `other` is in this file too.
    pub(super) fn supersedes(&self, other: &Self) -> bool {
        let (days, others) = (self.span.days(), other.span.days());
        let holds = days.0 <= others.0
            && others.1 <= days.1
            && self.first <= other.first
            && other.last <= self.last;
        holds && (self.span, self.first, self.last) != (other.span, other.first, other.last)
    }
}

impl Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { span, first, last, tail_bytes, tail_crc } = self;
        write!(f, "{span}.{first:010}-{last:010}.{tail_bytes:x}-{tail_crc:08x}{SUFFIX}")
    }
}

/// Returns the folder of a measurement; `None`: its name is too long.
pub(super) fn folder(measurement: &str) -> Option<String> {
    let mut out = FOLDER.to_owned();
    for byte in measurement.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    (out.len() <= ENCODED_MAX && !measurement.is_empty()).then_some(out)
}

/// Returns the measurement of a folder; `None`: not one of ours.
pub(super) fn measurement(name: &str) -> Option<String> {
    let mut bytes = name.strip_prefix(FOLDER)?.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    let measurement = String::from_utf8(out).ok()?;
    (folder(&measurement).as_deref() == Some(name)).then_some(measurement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::time::parse_rfc3339;

    #[test]
    fn file_names_are_read_as_they_are_written() {
        let day =
            Span::Day(Span::day_of(parse_rfc3339("2026-11-25T23:59:59Z").unwrap().as_nanos()));
        let name = FileName { span: day, first: 7, last: 12, tail_bytes: 0x1a2f, tail_crc: 0xbeef };
        assert_eq!(name.to_string(), "2026-11-25.0000000007-0000000012.1a2f-0000beef.parquet");
        assert_eq!(FileName::parse(&name.to_string()), Some(name));
        let month = FileName { span: day.month(), ..name };
        assert_eq!(month.to_string(), "2026-11.0000000007-0000000012.1a2f-0000beef.parquet");
        assert_eq!(FileName::parse(&month.to_string()), Some(month));
        for foreign in [
            "soil.parquet",
            "2026-11-25.7-12.1a2f-0000beef.parquet",
            "2026-11-25.0000000007-0000000012.1a2f-0000beef.parquet.tmp",
            "2026-13-25.0000000007-0000000012.1a2f-0000beef.parquet",
            "2026-11-25.0000000007-0000000012.1a2f-0000beef.x.parquet",
            "+26-11.0000000007-0000000012.1a2f-0000beef.parquet",
        ] {
            assert_eq!(FileName::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn every_time_lies_in_its_day_and_month() {
        for nanos in [i64::MIN, -1, 0, 1, DAY_NANOS, 1_764_111_111_000_000_000, i64::MAX] {
            let day = Span::Day(Span::day_of(nanos));
            for span in [day, day.month()] {
                let (from, to) = span.days();
                assert!(from <= Span::day_of(nanos) && Span::day_of(nanos) < to, "{nanos} {span}");
                assert_eq!(Span::parse(&span.to_string()), Some(span));
            }
        }
        let february = Span::parse("2028-02").unwrap();
        assert_eq!(february.end() - february.start(), 29 * DAY_NANOS);
    }

    #[test]
    fn folders_stand_for_exactly_one_measurement() {
        for name in ["soil", "土壤", "a/b", "..", "a.b c", "m=1", "%41", "A-b_9"] {
            let folder = folder(name).unwrap();
            assert!(folder.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'), "{folder}");
            assert_eq!(measurement(&folder).as_deref(), Some(name));
        }
        assert_eq!(folder(&"土".repeat(30)), None);
        for foreign in
            ["soil", "measurement=", "measurement=%zz", "measurement=%61", "measurement=%"]
        {
            assert_eq!(measurement(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_merged_file_supersedes_what_it_was_made_of_and_nothing_else() {
        let name = |span, first, last| FileName { span, first, last, tail_bytes: 1, tail_crc: 1 };
        let day = Span::Day(20_000);
        let merged = name(day, 3, 9);
        assert!(merged.supersedes(&name(day, 3, 3)) && merged.supersedes(&name(day, 5, 9)));
        assert!(!merged.supersedes(&merged) && !merged.supersedes(&name(day, 2, 3)));
        assert!(!merged.supersedes(&name(Span::Day(20_001), 4, 4)));
        assert!(name(day.month(), 1, 9).supersedes(&merged));
        assert!(!name(day.month(), 1, 8).supersedes(&merged));
        assert!(!merged.supersedes(&name(day.month(), 3, 9)));
    }
}
