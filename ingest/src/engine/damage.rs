//! Whether a log is damaged, as far as this run has seen.

use telemetry::text::{Text, say};
use tokio::time::Instant;

use crate::engine::event::Event;

/// What the opening of both logs found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FoundDamage {
    /// Damaged bytes that were looked at; most of a log is not read before somebody wants it.
    pub bytes: u64,
    /// Segments missing between others.
    pub missing_segments: u64,
    /// The journal ends before what was derived from it: only records that were durable ever are.
    pub ends_early: bool,
}

/// The damage of this run: what the opening found, and what the pipeline met since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Damage {
    found: FoundDamage,
    /// Damaged bytes that the pipeline passed over; those that the opening found may be among them.
    passed_bytes: u64,
    lost_before: u64,
    lost: u64,
    event: Event,
}

impl Damage {
    /// Begins with the uplinks that the newest snapshot counts as lost, and what the opening found.
    pub(crate) fn known(lost: u64, found: FoundDamage) -> Self {
        let mut event = Event::default();
        if found != FoundDamage::default() {
            event.handle_seen(Instant::now());
        }
        Self { found, passed_bytes: 0, lost_before: lost, lost, event }
    }

    /// Takes the uplinks that the account counts as lost now, and the damaged bytes that the pipeline passed over: a
    /// record that is no uplink leaves no gap in the account.
    pub(crate) fn handle_passed(&mut self, lost: u64, passed_bytes: u64, now: Instant) {
        if lost > self.lost || passed_bytes > self.passed_bytes {
            self.lost = self.lost.max(lost);
            self.passed_bytes = self.passed_bytes.max(passed_bytes);
            self.event.handle_seen(now);
        }
    }

    /// Returns what to tell, with its remedy. `None`: nothing, or told long enough.
    pub(crate) fn poll_trouble(&self, now: Instant) -> Option<(Text, Text)> {
        self.event.is_told(now).then(|| (self.message(), say("ingest.damage.remedy", &[])))
    }

    fn message(&self) -> Text {
        let (bytes, lost) = (self.found.bytes.max(self.passed_bytes), self.lost - self.lost_before);
        let missing = self.found.missing_segments;
        let told =
            say("ingest.damage", &[("bytes", &bytes), ("missing", &missing), ("lost", &lost)]);
        if !self.found.ends_early {
            return told;
        }
        let early = say("ingest.damage.ends_early", &[]);
        Text { zh: format!("{}；{}", early.zh, told.zh), en: format!("{}; {}", early.en, told.en) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn damage_of_this_run_is_told_for_an_hour_and_older_one_never() {
        let start = Instant::now();
        let mut damage = Damage::known(3, FoundDamage::default());
        damage.handle_passed(0, 0, start); // before the first record is applied
        damage.handle_passed(3, 0, start);
        assert_eq!(damage.poll_trouble(start), None);
        let later = start + Duration::from_secs(7200);
        damage.handle_passed(5, 900, later);
        let (message, _) = damage.poll_trouble(later).unwrap();
        assert!(
            message.en.contains("2 uplinks") && message.en.contains("900 bytes"),
            "{message:?}"
        );
        assert_eq!(damage.poll_trouble(later + Duration::from_hours(1)), None);
    }

    /// A damaged tick, configuration or refusal is no gap among the uplinks.
    #[tokio::test(start_paused = true)]
    async fn each_kind_of_damage_is_told() {
        let now = Instant::now();
        let found = |bytes, missing_segments, ends_early| {
            let damage = Damage::known(3, FoundDamage { bytes, missing_segments, ends_early });
            damage.poll_trouble(now).unwrap().0.en
        };
        assert!(found(512, 0, false).contains("512 bytes"));
        assert!(found(0, 2, false).contains("2 segments"));
        assert!(found(0, 0, true).contains("ends before"));
        let mut damage = Damage::known(3, FoundDamage::default());
        damage.handle_passed(3, 64, now);
        assert!(damage.poll_trouble(now).unwrap().0.en.contains("64 bytes"));
    }
}
