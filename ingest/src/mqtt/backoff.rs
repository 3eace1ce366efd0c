//! How long to wait before the next try. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Doubling pauses from 0.5 s to 30 s, each shortened at random by up to half, so that many
/// consumers do not come back in step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the next pause. `random` is drawn evenly from `0.0..1.0`.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let full = FIRST
            .saturating_mul(1u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0).max(FIRST)
    }

    /// Begins again at the shortest pause.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pauses_double_up_to_half_a_minute_and_begin_again() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), FIRST);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_pause_lies_between_the_shortest_and_the_longest(draws in prop::collection::vec(0.0..1.0f64, 1..80)) {
            let mut backoff = Backoff::default();
            for random in draws {
                let pause = backoff.next(random);
                prop_assert!((FIRST..=LONGEST).contains(&pause));
            }
        }
    }
}
