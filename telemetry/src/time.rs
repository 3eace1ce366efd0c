//! The two times of a reading, and how they are written.

use std::fmt::{self, Display};
use std::time::Duration;

use jiff::Timestamp;

macro_rules! instant {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(i64);

        impl $name {
            /// Makes an instant of nanoseconds since 1970-01-01T00:00:00Z.
            #[must_use]
            pub const fn from_nanos(nanos: i64) -> Self {
                Self(nanos)
            }

            /// Returns nanoseconds since 1970-01-01T00:00:00Z.
            #[must_use]
            pub const fn as_nanos(self) -> i64 {
                self.0
            }

            /// Returns the instant `wait` later, at most the last one there is.
            #[must_use]
            pub fn plus(self, wait: Duration) -> Self {
                Self(self.0.saturating_add(nanos(wait)))
            }

            /// Returns the instant `wait` earlier, at least the first one there is.
            #[must_use]
            pub fn minus(self, wait: Duration) -> Self {
                Self(self.0.saturating_sub(nanos(wait)))
            }

            /// Returns how long after `earlier` this is; zero where it is not after.
            #[must_use]
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
            }
        }

        impl Display for $name {
            /// RFC 3339 in UTC with `Z`, with as many decimals as needed.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Timestamp::from_nanosecond(i128::from(self.0)).map_err(|_| fmt::Error)?.fmt(f)
            }
        }
    };
}

instant! {
    /// Event time (`sampled_at`): when the sensor sampled the world.
    EventTime
}
instant! {
    /// Ingest time (`received_at`): when the message was taken in; journal time.
    IngestTime
}

impl IngestTime {
    /// Returns this ingest time as the event time of a reading that has none.
    #[must_use]
    pub const fn as_event(self) -> EventTime {
        EventTime(self.0)
    }
}

impl EventTime {
    /// Returns this event time as ingest time, as a file replay takes it.
    #[must_use]
    pub const fn as_ingest(self) -> IngestTime {
        IngestTime(self.0)
    }

    /// Returns whether it stands for any time later than what 64 bits of nanoseconds hold (the year 2262).
    #[must_use]
    pub const fn is_beyond(self) -> bool {
        self.0 == i64::MAX
    }

    /// Returns whether it stands for any time earlier than what 64 bits of nanoseconds hold (the year 1677).
    #[must_use]
    pub const fn is_before_all(self) -> bool {
        self.0 == i64::MIN
    }

    /// Returns whether it is the time that was meant.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        !self.is_beyond() && !self.is_before_all()
    }
}

fn nanos(wait: Duration) -> i64 {
    i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)
}

/// Reads RFC 3339, with any offset. `None`: not one, or outside 1678..2262.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<EventTime> {
    let at: Timestamp = text.parse().ok()?;
    i64::try_from(at.as_nanosecond()).ok().map(EventTime)
}

/// Reads a duration: one or more of a whole number and `ns`, `us`, `ms`, `s`, `m`, `h`, `d`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters)?;
        let number: u64 = number.parse().ok()?;
        let nanos_each: u64 = match unit {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_nanos(number.checked_mul(nanos_each)?))?;
        rest = tail.trim_start();
    }
    Some(total)
}

/// Writes a duration in its largest whole unit: `15m`, `90s`, `250ms`.
#[must_use]
pub fn show_duration(wait: Duration) -> String {
    let nanos = wait.as_nanos();
    let units: [(u128, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let whole = units.iter().find(|(size, _)| nanos > 0 && nanos.is_multiple_of(*size));
    whole.map_or_else(|| "0s".to_owned(), |(size, unit)| format!("{}{unit}", nanos / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("2h", 7200), ("30d", 2_592_000), ("0s", 0)]
        {
            let wait = parse_duration(text).unwrap();
            assert_eq!(wait.as_secs(), seconds, "{text}");
            assert_eq!(parse_duration(&show_duration(wait)), Some(wait));
        }
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_mins(90)));
        for wrong in ["", "15", "m", "15 minutes", "-5s", "1e3s", "99999999999999999999d"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_printed_in_utc() {
        let at = parse_rfc3339("2013-03-01T08:00:00+08:00").unwrap();
        assert_eq!(at.to_string(), "2013-03-01T00:00:00Z");
        assert_eq!(EventTime::from_nanos(1_500_000_000).to_string(), "1970-01-01T00:00:01.5Z");
        assert_eq!(parse_rfc3339("2013-03-01 08:00"), None);
    }
}
