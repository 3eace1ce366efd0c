//! Who sends when: every device at its interval, from the start of the fleet on.

use telemetry::time::EventTime;

use crate::fleet::Fleet;
use crate::soil::millis;

/// The uplinks of a span, in the order of time, then of devices.
#[derive(Debug, Clone)]
pub struct Schedule<'a> {
    fleet: &'a Fleet,
    /// The intervals there are, in milliseconds.
    intervals: Vec<i64>,
    now_ms: i64,
    to_ms: i64,
    next: u32,
}

impl Fleet {
    /// Returns who sends when, from a time on and before another; what [`Fleet::live`] said counts.
    #[must_use]
    pub fn schedule(&self, from: EventTime, to: EventTime) -> Schedule<'_> {
        let parts = self.scenario().sites.iter().flat_map(|site| &site.parts);
        let mut intervals: Vec<i64> = parts.map(|part| millis(part.interval).max(1)).collect();
        intervals.sort_unstable();
        intervals.dedup();
        let mut schedule =
            Schedule { fleet: self, intervals, now_ms: 0, to_ms: ms_from(to), next: 0 };
        schedule.now_ms = schedule.first_from(ms_from(from));
        schedule
    }

    /// Returns how many uplinks a span has.
    #[must_use]
    pub fn uplinks(&self, from: EventTime, to: EventTime) -> u64 {
        let (from, to) = (ms_from(from), ms_from(to));
        let live = self.live_ms().map_or(i64::MAX, |(since, _)| since);
        // Points of a grid within a span.
        let within = |from: i64, to: i64, (begin, every): (i64, i64)| {
            let before = |at: i64| -begin.saturating_sub(at).div_euclid(every);
            u64::try_from(before(to).saturating_sub(before(from))).unwrap_or(0)
        };
        let by_interval = |device| {
            let interval = self.interval_ms(device).unwrap_or(1);
            within(from.min(live), to.min(live), (self.start_ms(), interval))
        };
        let own: u64 = (0..self.len()).map(by_interval).sum();
        let after = self.live_ms().map_or(0, |grid| within(from.max(live), to.max(live), grid));
        own + after * u64::from(self.len())
    }

    /// Returns whether a device sends at a time.
    fn is_due(&self, device: u32, at_ms: i64) -> bool {
        if let Some((since, every)) = self.live_ms().filter(|(since, _)| at_ms >= *since) {
            return (at_ms - since).rem_euclid(every) == 0;
        }
        let passed = at_ms.saturating_sub(self.start_ms());
        self.interval_ms(device).is_some_and(|interval| passed.rem_euclid(interval) == 0)
    }
}

/// Returns the first whole millisecond at or after a time.
pub(crate) const fn ms_from(at: EventTime) -> i64 {
    -(-at.as_nanos()).div_euclid(1_000_000)
}

impl Schedule<'_> {
    /// Returns the first point of any grid at or after a time.
    fn first_from(&self, ms: i64) -> i64 {
        let next = |begin: i64, every: i64| {
            let turns = -begin.saturating_sub(ms).div_euclid(every);
            begin.saturating_add(turns.saturating_mul(every))
        };
        match self.fleet.live_ms() {
            Some((since, every)) if ms >= since => next(since, every),
            live => {
                let start = self.fleet.start_ms();
                let first = self.intervals.iter().map(|interval| next(start, *interval)).min();
                let since = live.map_or(i64::MAX, |(since, _)| since);
                first.unwrap_or(i64::MAX).min(since)
            }
        }
    }
}

impl Iterator for Schedule<'_> {
    type Item = (EventTime, u32);

    fn next(&mut self) -> Option<Self::Item> {
        while self.now_ms < self.to_ms {
            while self.next < self.fleet.len() {
                let device = self.next;
                self.next += 1;
                if self.fleet.is_due(device, self.now_ms) {
                    let at = EventTime::from_nanos(self.now_ms.saturating_mul(1_000_000));
                    return Some((at, device));
                }
            }
            self.next = 0;
            self.now_ms = self.first_from(self.now_ms.saturating_add(1));
        }
        None
    }
}
