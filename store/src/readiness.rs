//! Whether the store counts as ready, and when to ask it next.
//!
//! ```text
//!          probe failed, or the writer halts,                 (not ready within 4.5 s of the failure)
//!          or no write succeeds for a while                   (not ready within 9.5 s of the first that failed)
//!  Ready ───────────────────────────────────▶ NotReady
//!    ▲                                            │
//!    └── probe passed and the writer not halted, ─┘           (ready within 4.5 s of the recovery)
//!        a write succeeded since the last failed
//! ```

use std::time::Duration;

/// Time between the end of one probe and the next; with [`PROBE_TIMEOUT`] it gives the times above.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// Longest time of one probe.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(2_500);
/// How long writes may fail, one after the other, of a store that answers: it is busy then, and that passes.
const WRITES_MAY_FAIL: Duration = Duration::from_secs(5);

/// Whether the store answers and takes data. Times are monotonic, since any fixed moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    answers: bool,
    halted: bool,
    /// The first of the writes that failed since one succeeded.
    failing_since: Option<Duration>,
    /// They have failed for longer than they may.
    is_failing: bool,
    next_probe: Duration,
}

impl Readiness {
    /// Makes one that is not ready and wants a probe at once.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            answers: false,
            halted: false,
            failing_since: None,
            is_failing: false,
            next_probe: Duration::ZERO,
        }
    }

    /// Takes the result of a probe.
    pub fn handle_probe(&mut self, now: Duration, passed: bool) {
        self.answers = passed;
        let failing_for = self.failing_since.map(|since| now.saturating_sub(since));
        self.is_failing = failing_for.is_some_and(|span| span >= WRITES_MAY_FAIL);
        self.next_probe = now.saturating_add(PROBE_INTERVAL);
    }

    /// Takes the end of a write: `None` settled, `Some` failed with this remedy.
    ///
    /// A store that is away is judged by the probes, one that is only busy has some seconds; one that a person must
    /// repair is not ready however well it answers.
    pub fn handle_write(&mut self, now: Duration, failed: Option<crate::Remedy>) {
        let Some(remedy) = failed else {
            self.answers = true;
            self.halted = false;
            self.failing_since = None;
            self.is_failing = false;
            return;
        };
        self.failing_since.get_or_insert(now);
        self.halted |= remedy == crate::Remedy::Halt;
    }

    /// Returns when the next probe is due.
    #[must_use]
    pub const fn poll_timeout(&self) -> Duration {
        self.next_probe
    }

    /// Returns whether the store answers and takes data.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.answers && !self.halted && !self.is_failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Remedy;

    /// Probes as a shell would, against a store that is away from `down` until `up` and then hangs or
    /// refuses; returns when readiness fell and when it came back.
    fn run(down: u64, up: u64, each_probe: Duration) -> (Duration, Duration) {
        let (down, up) = (Duration::from_millis(down), Duration::from_millis(up));
        let mut ready = Readiness::new();
        let (mut now, mut fell, mut rose) = (Duration::ZERO, None, None);
        while rose.is_none() {
            now = now.max(ready.poll_timeout());
            let passed = now < down || now >= up;
            now += if passed { Duration::ZERO } else { each_probe };
            ready.handle_probe(now, passed);
            if !ready.is_ready() {
                fell = fell.or(Some(now));
            } else if fell.is_some() {
                rose = Some(now);
            }
        }
        (fell.unwrap() - down, rose.unwrap() - up)
    }

    #[test]
    fn readiness_falls_within_ten_seconds_and_returns_within_five() {
        for down in (1..5_000).step_by(137) {
            for each in [Duration::ZERO, PROBE_TIMEOUT] {
                let (fell, rose) = run(down, down + 30_011, each);
                assert!(fell <= Duration::from_secs(10), "{down} {each:?}: fell after {fell:?}");
                assert!(rose <= Duration::from_secs(5), "{down} {each:?}: rose after {rose:?}");
            }
        }
    }

    #[test]
    fn a_halted_writer_is_not_ready_however_well_the_store_answers() {
        let mut ready = Readiness::new();
        ready.handle_probe(Duration::ZERO, true);
        assert!(ready.is_ready());
        ready.handle_write(Duration::ZERO, Some(Remedy::Backoff));
        assert!(ready.is_ready(), "busy is no failure of the store");
        ready.handle_write(Duration::from_secs(1), Some(Remedy::Halt));
        ready.handle_probe(Duration::from_secs(2), true);
        assert!(!ready.is_ready());
        ready.handle_write(Duration::from_secs(3), None);
        assert!(ready.is_ready());
    }

    /// Scenario: a store that answers and takes no write, as one that says 503 to each does.
    /// Guarantees: it is not ready within 10 s of the first, however long it told to wait, and is with the first write
    /// that succeeds.
    #[test]
    fn a_store_that_takes_no_write_is_not_ready_however_well_it_answers() {
        let second = Duration::from_secs;
        for failed in [vec![1], vec![1, 2, 4, 7]] {
            let mut ready = Readiness::new();
            let mut fell = None;
            for now in 0..10 {
                if failed.contains(&now) {
                    ready.handle_write(second(now), Some(Remedy::After(second(60))));
                }
                ready.handle_probe(second(now), true);
                fell = fell.or((!ready.is_ready()).then_some(now));
            }
            assert_eq!(fell, Some(6), "{failed:?}");
            ready.handle_write(second(11), None);
            assert!(ready.is_ready());
            ready.handle_probe(second(12), true);
            assert!(ready.is_ready());
        }
    }
}
