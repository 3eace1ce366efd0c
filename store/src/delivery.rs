//! When to write again.

use std::time::Duration;

use telemetry::time::EventTime;

use crate::{HALT_PROBE, RETRY_AFTER_MAX, Remedy};

/// First bound of the exponential back-off.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Last bound of the exponential back-off.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Counts failures in a row and says how long to wait after each.
///
/// The wait of a back-off is drawn evenly from zero to a bound that doubles from 250 ms to 30 s (full
/// jitter), so that many writers do not come back at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Makes one without a failure.
    #[must_use]
    pub const fn new() -> Self {
        Self { failures: 0 }
    }

    /// Forgets the failures: the store took something.
    pub const fn handle_success(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and returns how long to wait. `random` is any 32 random bits.
    pub fn handle_failure(&mut self, remedy: Remedy, random: u32) -> Duration {
        self.failures = self.failures.saturating_add(1);
        match remedy {
            Remedy::After(wait) => wait.min(RETRY_AFTER_MAX),
            Remedy::Halt => HALT_PROBE,
            Remedy::Backoff | Remedy::Split | Remedy::Isolate | Remedy::CreateBucket => {
                self.bound().mul_f64(f64::from(random) / f64::from(u32::MAX))
            }
        }
    }

    /// Returns how many failures came in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    fn bound(self) -> Duration {
        let doubled =
            1_u32.checked_shl(self.failures.saturating_sub(1)).filter(|factor| *factor > 0);
        doubled.map_or(BACKOFF_MAX, |factor| BACKOFF_FIRST.saturating_mul(factor)).min(BACKOFF_MAX)
    }
}

/// Reads a `Retry-After`: seconds, or an HTTP date counted from `now`; at most [`RETRY_AFTER_MAX`].
pub(crate) fn retry_after(value: &str, now: EventTime) -> Option<Duration> {
    let value = value.trim();
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if digits {
        value.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        http_date(value)?.since(now)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// Reads a date of HTTP: `Wed, 25 Nov 2026 18:54:34 GMT`.
pub(crate) fn http_date(value: &str) -> Option<EventTime> {
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value.trim()).ok()?;
    i64::try_from(at.as_nanosecond()).ok().map(EventTime::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_to_half_a_minute_and_is_jittered_over_the_whole_range() {
        let mut backoff = Backoff::new();
        let bounds = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
        for millis in bounds {
            let mut low = backoff;
            assert_eq!(low.handle_failure(Remedy::Backoff, 0), Duration::ZERO);
            assert_eq!(
                backoff.handle_failure(Remedy::Backoff, u32::MAX),
                Duration::from_millis(millis)
            );
        }
        for _ in 0..100 {
            assert!(backoff.handle_failure(Remedy::Backoff, u32::MAX) <= BACKOFF_MAX);
        }
        assert_eq!(backoff.failures(), 109);
        backoff.handle_success();
        assert_eq!(backoff.handle_failure(Remedy::Backoff, u32::MAX), BACKOFF_FIRST);
    }

    #[test]
    fn a_remedy_with_its_own_time_is_kept_to_the_bound() {
        let mut backoff = Backoff::new();
        for (remedy, secs) in [
            (Remedy::After(Duration::from_secs(7)), 7),
            (Remedy::After(Duration::from_secs(9_999)), 30),
            (Remedy::Halt, HALT_PROBE.as_secs()),
        ] {
            assert_eq!(backoff.handle_failure(remedy, 0), Duration::from_secs(secs), "{remedy:?}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = http_date("Wed, 25 Nov 2026 18:54:34 GMT").unwrap();
        assert_eq!(now.to_string(), "2026-11-25T18:54:34Z");
        for (value, expected) in [
            ("0", Some(0)),
            (" 12 ", Some(12)),
            ("31", Some(30)),
            ("99999999999999999999999", Some(30)),
            ("Wed, 25 Nov 2026 18:54:46 GMT", Some(12)),
            ("Wed, 25 Nov 2026 18:00:00 GMT", Some(0)),
            ("Thu, 26 Nov 2026 18:00:00 GMT", Some(30)),
            ("-1", None),
            ("", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now), expected.map(Duration::from_secs), "{value}");
        }
    }
}
