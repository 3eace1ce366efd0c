//! A time as a simulated world sees it: the sun, the working day, the season.

use crate::maths::{cos, float};

/// Seconds of a day.
pub(crate) const DAY_S: f64 = 86_400.0;
/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// One time, with what its place makes of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moment {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) ms: i64,
    /// The same on the clock of the place.
    local_ms: i64,
    /// Number of the sample, for what is drawn anew with each.
    pub(crate) sample: i64,
}

impl Moment {
    /// Makes a moment of a time and the place's distance from UTC.
    pub(crate) const fn new(ms: i64, utc_offset_ms: i64, sample: i64) -> Self {
        Self { ms, local_ms: ms.saturating_add(utc_offset_ms), sample }
    }

    /// Returns days since 1970-01-01 on the clock of the place.
    pub(crate) fn days(&self) -> f64 {
        float(self.local_ms) / 1000.0 / DAY_S
    }

    /// Returns the number of the day on the clock of the place.
    pub(crate) const fn day(&self) -> i64 {
        self.local_ms.div_euclid(DAY_MS)
    }

    /// Returns when a day of the place began, in milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) const fn day_began_ms(&self, day: i64) -> i64 {
        day.saturating_mul(DAY_MS).saturating_sub(self.local_ms.saturating_sub(self.ms))
    }

    /// Returns the hour of the day, 0..24.
    pub(crate) fn hour(&self) -> f64 {
        float(self.local_ms.rem_euclid(DAY_MS)) / 3_600_000.0
    }

    /// Returns the season: -1 in the middle of January, 1 in the middle of July. North of the equator.
    pub(crate) fn season(&self) -> f64 {
        -cos((self.days() - 15.0) / 365.2425)
    }
}

/// Returns whether a day is a Saturday or Sunday; 1970-01-01 was a Thursday.
pub(crate) const fn is_weekend(day: i64) -> bool {
    matches!(day.saturating_add(4).rem_euclid(7), 0 | 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_place_decides_hour_and_day() {
        // 2026-11-21T20:30:00Z is Sunday, half past four in the morning, in China.
        let at = Moment::new(1_795_293_000_000, 8 * 3_600_000, 0);
        assert!((at.hour() - 4.5).abs() < 1e-9);
        assert!(is_weekend(at.day()) && is_weekend(at.day() - 1) && !is_weekend(at.day() + 1));
        assert_eq!(at.day_began_ms(at.day()), 1_795_293_000_000 - 16_200_000);
        let july = Moment::new(1_784_100_000_000, 0, 0);
        assert!(july.season() > 0.99, "{}", july.season());
    }
}
