//! Whether a log is damaged, as far as this run has seen.

use std::time::Duration;

use telemetry::text::{Text, say};
use tokio::time::Instant;

/// How long a damage is told after it was seen last: it is an event, not a state that ends.
const TOLD_FOR: Duration = Duration::from_secs(3600);

/// The damage of this run: bytes found at the opening, uplinks found to be lost since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Damage {
    bytes: u64,
    lost_before: u64,
    lost: u64,
    seen: Option<Instant>,
}

impl Damage {
    /// Begins with the uplinks that the newest snapshot counts as lost, and the damaged bytes of both logs.
    pub(crate) fn known(lost: u64, bytes: u64) -> Self {
        let seen = (bytes > 0).then(Instant::now);
        Self { bytes, lost_before: lost, lost, seen }
    }

    /// Takes the uplinks that the account counts as lost now.
    pub(crate) fn handle_lost(&mut self, lost: u64, now: Instant) {
        if lost > self.lost {
            self.lost = lost;
            self.seen = Some(now);
        }
    }

    /// Returns what to tell, with its remedy. `None`: nothing, or told long enough.
    pub(crate) fn poll_trouble(&self, now: Instant) -> Option<(Text, Text)> {
        let since = now.saturating_duration_since(self.seen?);
        let lost = self.lost - self.lost_before;
        (since < TOLD_FOR).then(|| {
            (
                say("ingest.damage", &[("bytes", &self.bytes), ("lost", &lost)]),
                say("ingest.damage.remedy", &[]),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn damage_of_this_run_is_told_for_an_hour_and_older_one_never() {
        let start = Instant::now();
        let mut damage = Damage::known(3, 0);
        damage.handle_lost(0, start); // before the first record is applied
        damage.handle_lost(3, start);
        assert_eq!(damage.poll_trouble(start), None);
        let later = start + Duration::from_secs(7200);
        damage.handle_lost(5, later);
        let (message, _) = damage.poll_trouble(later).unwrap();
        assert!(message.en.contains("2 uplinks"), "{}", message.en);
        assert_eq!(damage.poll_trouble(later + TOLD_FOR), None);
        assert!(Damage::known(3, 512).poll_trouble(start).is_some());
    }
}
