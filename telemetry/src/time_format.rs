//! How the time of a payload or a row is written, and how it becomes event time.
//!
//! A time that cannot be read is no time: `None`. One outside 1678..2262 becomes the first or last
//! instant there is, which the time policy then calls `past` or `future`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::time::EventTime;

/// Which of two instants a local time means that comes twice, when clocks go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ambiguous {
    /// The first of the two.
    #[default]
    Earlier,
    /// The second of the two.
    Later,
}

/// The time zone of times that do not name one, from the bundled database.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    zone: TimeZone,
    ambiguous: Ambiguous,
}

impl Zone {
    /// Finds a zone by its IANA name (`Asia/Shanghai`), as an offset (`+08:00`) or `UTC`.
    #[must_use]
    pub fn parse(name: &str, ambiguous: Ambiguous) -> Option<Self> {
        let zone = if name.starts_with(['+', '-']) {
            DateTimeParser::new().parse_time_zone(name).ok()
        } else {
            // By the name alone: `UTC+8` is a rule of POSIX as well, and means eight hours west of Greenwich.
            TimeZoneDatabase::bundled().get(name).ok()
        };
        zone.map(|zone| Self { zone, ambiguous })
    }

    /// Returns the instant of a local time. One that the clocks skipped is read as if they had not yet been set.
    #[must_use]
    pub fn at(&self, local: DateTime) -> Option<EventTime> {
        let found = self.zone.to_ambiguous_timestamp(local);
        let is_gap = matches!(found.offset(), jiff::tz::AmbiguousOffset::Gap { .. });
        let at = match self.ambiguous {
            Ambiguous::Later if !is_gap => found.later(),
            Ambiguous::Later | Ambiguous::Earlier => found.compatible(),
        };
        at.ok().map(event)
    }
}

/// What is wrong with a time format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A directive that does not exist, or a pattern from which no date can be read.
    #[error("not a time pattern: {0}")]
    Pattern(String),
    /// A pattern without an offset needs a zone.
    #[error("the pattern has no offset")]
    NoZone,
}

/// How a time is written.
#[derive(Debug, Clone, PartialEq)]
pub enum TimeFormat {
    /// Seconds since 1970, with a fraction where there is one.
    UnixS,
    /// Milliseconds since 1970.
    UnixMs,
    /// Microseconds since 1970.
    UnixUs,
    /// Nanoseconds since 1970.
    UnixNs,
    /// RFC 3339, or the same without an offset where a zone is given.
    Rfc3339(Option<Zone>),
    /// A strftime pattern; a date without a time is midnight.
    Pattern(Box<str>, Option<Zone>),
}

impl TimeFormat {
    /// Reads a format by its name, or checks a strftime pattern.
    ///
    /// # Errors
    /// A pattern that cannot be used, or one without an offset where no zone is given.
    pub fn parse(text: &str, zone: Option<Zone>) -> Result<Self, FormatError> {
        match text {
            "unix_s" => return Ok(Self::UnixS),
            "unix_ms" => return Ok(Self::UnixMs),
            "unix_us" => return Ok(Self::UnixUs),
            "unix_ns" => return Ok(Self::UnixNs),
            "rfc3339" => return Ok(Self::Rfc3339(zone)),
            _ => {}
        }
        if !text.contains('%') {
            return Err(FormatError::Pattern("no `%` directive in it".to_owned()));
        }
        // What the pattern writes it must read again, and a date must come of it.
        let sample = DateTime::constant(2023, 11, 22, 13, 14, 15, 0);
        let sample = TimeZone::UTC.to_ambiguous_zoned_datetime(sample).compatible();
        let wrong = |error: jiff::Error| FormatError::Pattern(error.to_string());
        let written = strtime::format(text, &sample.map_err(wrong)?).map_err(wrong)?;
        let read = strtime::parse(text, &written).map_err(wrong)?;
        if read.timestamp().is_none() {
            read.to_datetime().map_err(wrong)?;
        }
        if zone.is_none() && read.to_timestamp().is_err() {
            return Err(FormatError::NoZone);
        }
        Ok(Self::Pattern(text.into(), zone))
    }

    /// Reads a whole number; only Unix times are numbers.
    #[must_use]
    pub fn of_int(&self, number: i64) -> Option<EventTime> {
        Some(EventTime::from_nanos(number.saturating_mul(self.nanos_each()?)))
    }

    /// Reads a number with a fraction; only Unix times are numbers.
    #[must_use]
    pub fn of_float(&self, number: f64) -> Option<EventTime> {
        let each = self.nanos_each()?;
        if !number.is_finite() {
            return None;
        }
        // Whole and fraction apart: a double has no room for nanoseconds of today's seconds.
        let whole = saturate(number.trunc()).saturating_mul(each);
        #[expect(clippy::cast_precision_loss, reason = "at most 1e9")]
        let rest = saturate((number.fract() * each as f64).round());
        // Of a time of today the digits behind the microseconds are none of the number as it was written.
        let is_exact = whole.unsigned_abs() < 1 << f64::MANTISSA_DIGITS;
        let rest = if is_exact { rest } else { (rest + rest.signum() * 500) / 1000 * 1000 };
        Some(EventTime::from_nanos(whole.saturating_add(rest)))
    }

    /// Reads a text; a Unix time may be written as one.
    #[must_use]
    pub fn of_text(&self, text: &str) -> Option<EventTime> {
        let text = text.trim();
        match self {
            Self::UnixS | Self::UnixMs | Self::UnixUs | Self::UnixNs => match text.parse() {
                Ok(whole) => self.of_int(whole),
                Err(_) => self.of_decimal(text).or_else(|| self.of_float(text.parse().ok()?)),
            },
            Self::Rfc3339(zone) => rfc3339(text, zone.as_ref()),
            Self::Pattern(pattern, zone) => {
                by_pattern(&strtime::parse(&**pattern, text).ok()?, zone.as_ref())
            }
        }
    }

    /// Reads digits, a point and digits, to the nanosecond.
    fn of_decimal(&self, text: &str) -> Option<EventTime> {
        let (whole, fraction) = text.split_once('.')?;
        let each = self.nanos_each()?;
        let nanos = whole.parse::<i64>().ok()?.saturating_mul(each);
        if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut rest = 0;
        let mut place = each / 10;
        for digit in fraction.bytes() {
            rest += i64::from(digit - b'0') * place;
            place /= 10;
        }
        let rest = if whole.starts_with('-') { -rest } else { rest };
        Some(EventTime::from_nanos(nanos.saturating_add(rest)))
    }

    fn nanos_each(&self) -> Option<i64> {
        match self {
            Self::UnixS => Some(1_000_000_000),
            Self::UnixMs => Some(1_000_000),
            Self::UnixUs => Some(1000),
            Self::UnixNs => Some(1),
            Self::Rfc3339(_) | Self::Pattern(..) => None,
        }
    }
}

fn rfc3339(text: &str, zone: Option<&Zone>) -> Option<EventTime> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(event(at));
    }
    zone?.at(text.parse().ok()?)
}

fn by_pattern(read: &BrokenDownTime, zone: Option<&Zone>) -> Option<EventTime> {
    match read.to_timestamp() {
        // A fraction beside `%s` stands for itself.
        Ok(at) if read.timestamp().is_some() => {
            let nanos = i64::from(read.subsec_nanosecond().unwrap_or(0));
            let fraction = if at.subsec_nanosecond() == 0 { nanos } else { 0 };
            Some(EventTime::from_nanos(event(at).as_nanos().saturating_add(fraction)))
        }
        Ok(at) => Some(event(at)),
        Err(_) => zone?.at(read.to_datetime().ok()?),
    }
}

fn event(at: Timestamp) -> EventTime {
    let nanos = at.as_nanosecond();
    EventTime::from_nanos(i64::try_from(nanos).unwrap_or(if nanos < 0 {
        i64::MIN
    } else {
        i64::MAX
    }))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` saturates, which is what a time beyond i64 needs"
)]
fn saturate(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn format(text: &str, zone: &str) -> TimeFormat {
        let zone = (!zone.is_empty()).then(|| Zone::parse(zone, Ambiguous::Earlier).unwrap());
        TimeFormat::parse(text, zone).unwrap()
    }

    #[test]
    fn texts_become_event_time() {
        let cases = [
            ("unix_ms", "", "1763856000000", "2025-11-23T00:00:00Z"),
            ("unix_s", "", "1763856000.25", "2025-11-23T00:00:00.25Z"),
            ("unix_s", "", "1763856000.123", "2025-11-23T00:00:00.123Z"),
            ("unix_s", "", "1763856000.123456789", "2025-11-23T00:00:00.123456789Z"),
            ("unix_s", "", "-0.25", "1969-12-31T23:59:59.75Z"),
            ("unix_ms", "", "1763856000000.5", "2025-11-23T00:00:00.0005Z"),
            ("unix_us", "", "1763856000000001", "2025-11-23T00:00:00.000001Z"),
            ("rfc3339", "", "2013-03-01T08:00:00+08:00", "2013-03-01T00:00:00Z"),
            ("rfc3339", "Europe/Rome", "2004-03-10T18:00:00", "2004-03-10T17:00:00Z"),
            (
                "%Y-%m-%d %H:%M:%S",
                "America/Los_Angeles",
                "2013-07-04 00:00:00",
                "2013-07-04T07:00:00Z",
            ),
            ("%Y %m %d %H", "Asia/Shanghai", "2013 3 1 0", "2013-02-28T16:00:00Z"),
            ("%d/%m/%Y %H:%M", "+08:00", "4/1/2016 0:05", "2016-01-03T16:05:00Z"),
            ("%Y-%m-%d", "UTC", "2012-12-31", "2012-12-31T00:00:00Z"),
            ("%Y-%m-%dT%H:%M:%S%z", "", "2020-01-01T00:00:00+0100", "2019-12-31T23:00:00Z"),
            ("%s", "", "1763856000", "2025-11-23T00:00:00Z"),
            ("%s%.f", "", "1763856000.125", "2025-11-23T00:00:00.125Z"),
        ];
        for (pattern, zone, text, expected) in cases {
            let at = format(pattern, zone).of_text(text).map(|at| at.to_string());
            assert_eq!(at.as_deref(), Some(expected), "{pattern} {zone} {text}");
        }
    }

    #[test]
    fn a_time_that_comes_twice_is_the_one_asked_for_and_one_that_never_came_is_moved_on() {
        let local = DateTime::constant(2013, 11, 3, 1, 30, 0, 0);
        let at = |which| {
            Zone::parse("America/Los_Angeles", which).unwrap().at(local).unwrap().to_string()
        };
        assert_eq!(at(Ambiguous::Earlier), "2013-11-03T08:30:00Z");
        assert_eq!(at(Ambiguous::Later), "2013-11-03T09:30:00Z");
        for which in [Ambiguous::Earlier, Ambiguous::Later] {
            let zone = Zone::parse("America/Los_Angeles", which).unwrap();
            let skipped = zone.at(DateTime::constant(2013, 3, 10, 2, 30, 0, 0)).unwrap();
            assert_eq!(skipped.to_string(), "2013-03-10T10:30:00Z");
        }
    }

    #[test]
    fn what_is_no_time_is_none_and_what_is_too_far_is_the_last() {
        for (pattern, zone, text) in [
            ("unix_ms", "", "soon"),
            ("unix_ms", "", "nan"),
            ("unix_ms", "", ""),
            ("rfc3339", "", "2004-03-10T18:00:00"),
            ("rfc3339", "", "1763856000000"),
            ("%Y-%m-%d", "UTC", "2012-13-31"),
        ] {
            assert_eq!(format(pattern, zone).of_text(text), None, "{pattern} {text}");
        }
        assert_eq!(TimeFormat::UnixMs.of_int(i64::MAX), Some(EventTime::from_nanos(i64::MAX)));
        assert_eq!(TimeFormat::UnixS.of_float(-1e300), Some(EventTime::from_nanos(i64::MIN)));
        assert_eq!(
            format("rfc3339", "").of_text("9999-01-01T00:00:00Z"),
            Some(EventTime::from_nanos(i64::MAX))
        );
        assert_eq!(TimeFormat::Rfc3339(None).of_int(1), None);
    }

    #[test]
    fn a_pattern_is_checked_when_it_is_read() {
        assert_eq!(TimeFormat::parse("%Y-%m-%d", None), Err(FormatError::NoZone));
        for wrong in ["%Y-%m", "%H:%M", "%!", "epoch", "unix_sec"] {
            let zone = Zone::parse("UTC", Ambiguous::Earlier);
            assert!(
                matches!(TimeFormat::parse(wrong, zone), Err(FormatError::Pattern(_))),
                "{wrong}"
            );
        }
        for wrong in ["Asia/Shangai", "CST8,M3.2.0,M11.1.0", "8", ""] {
            assert_eq!(Zone::parse(wrong, Ambiguous::Earlier), None, "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_text_or_number_makes_a_format_panic(text in ".{0,40}", number in any::<f64>(), whole in any::<i64>()) {
            for pattern in ["unix_s", "unix_ms", "unix_us", "unix_ns", "rfc3339", "%Y-%m-%d %H:%M:%S", "%s"] {
                let format = format(pattern, "Asia/Shanghai");
                let _read = (format.of_text(&text), format.of_float(number), format.of_int(whole));
            }
        }
    }
}
