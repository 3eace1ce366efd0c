//! Journal time: the wall clock at the start plus monotonic time, never backward.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use telemetry::time::IngestTime;
use tokio::time::Instant;

/// A jump of the host's clock beyond this is alarmed.
pub const JUMP_MAX: Duration = Duration::from_secs(5);

/// Tells the host's clock in nanoseconds since 1970; never a time before it.
pub type HostClock = fn() -> i64;

/// The clock that stamps journal records. A jump of the host's clock is not followed until a restart.
#[derive(Debug)]
pub struct JournalClock {
    host: HostClock,
    base: i64,
    started: Instant,
    last: i64,
    /// First time that no message has taken.
    free_from: i64,
}

impl JournalClock {
    /// Starts at the wall clock, or after `last` where the wall clock is behind the journal.
    #[must_use]
    pub fn starting_after(last: IngestTime) -> Self {
        Self::on(wall_nanos, last)
    }

    /// As [`JournalClock::starting_after`], by another clock than this host's.
    #[must_use]
    pub fn on(host: HostClock, last: IngestTime) -> Self {
        let base = host().max(last.as_nanos().saturating_add(1));
        Self { host, base, started: Instant::now(), last: base, free_from: base }
    }

    /// Returns the time now.
    pub fn now(&mut self) -> IngestTime {
        let passed = i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        self.last = self.last.max(self.base.saturating_add(passed));
        IngestTime::from_nanos(self.last)
    }

    /// Stamps a message that may stand at `width` times of its own, one nanosecond apart: no other message gets any
    /// of them, however fast they come.
    pub fn stamp(&mut self, width: usize) -> IngestTime {
        let at = self.now().as_nanos().max(self.free_from);
        self.free_from =
            at.saturating_add(i64::try_from(width).unwrap_or(i64::MAX)).saturating_add(1);
        self.last = at;
        IngestTime::from_nanos(at)
    }

    /// Returns how far the host's clock is from journal time, if further than [`JUMP_MAX`]; positive: ahead.
    pub fn jump_seconds(&mut self) -> Option<i64> {
        let apart = (self.host)().saturating_sub(self.now().as_nanos()) / 1_000_000_000;
        (apart.unsigned_abs() > JUMP_MAX.as_secs()).then_some(apart)
    }
}

/// Returns the host's clock in nanoseconds since 1970.
#[must_use]
pub fn wall_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Returns the seconds since a time by the host's clock, for a histogram.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "seconds in a histogram")]
pub(crate) fn seconds_since(at_nanos: i64) -> f64 {
    wall_nanos().saturating_sub(at_nanos) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_time_never_goes_backward_even_where_the_wall_clock_did() {
        let ahead = IngestTime::from_nanos(wall_nanos() + 3_600_000_000_000);
        let mut clock = JournalClock::starting_after(ahead);
        let (first, second) = (clock.now(), clock.now());
        assert!(first > ahead && second >= first);
        let stamps: Vec<i64> = (0..100).map(|_| clock.stamp(500).as_nanos()).collect();
        assert!(
            stamps.windows(2).all(|pair| pair[1] - pair[0] > 500),
            "readings without a time keep a place each"
        );
        assert!(clock.now().as_nanos() >= stamps[99]);
        assert!(clock.jump_seconds().is_some_and(|apart| apart < -3000));
    }
}
