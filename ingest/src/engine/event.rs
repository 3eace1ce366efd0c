//! Something that happens rather than lasts: it is told for an hour after it was seen last.

use std::time::Duration;

use tokio::time::Instant;

/// How long it is told: nobody can see it end.
const TOLD_FOR: Duration = Duration::from_secs(3600);

/// When something was seen last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Event(Option<Instant>);

impl Event {
    /// Notes that it was seen.
    pub(crate) const fn handle_seen(&mut self, now: Instant) {
        self.0 = Some(now);
    }

    /// Returns whether it is to be told.
    pub(crate) fn is_told(self, now: Instant) -> bool {
        self.0.is_some_and(|seen| now.saturating_duration_since(seen) < TOLD_FOR)
    }
}

/// Dead letters that gave way to others since the start: nobody can try them again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expiry {
    /// What the account counted at the start.
    before: u64,
    count: u64,
    event: Event,
}

impl Expiry {
    /// Begins with what the newest snapshot counts.
    pub(crate) fn known(expired: u64) -> Self {
        Self { before: expired, count: expired, event: Event::default() }
    }

    /// Takes what the account counts now; it is empty before the first record is applied.
    pub(crate) fn handle_count(&mut self, expired: u64, now: Instant) {
        if expired > self.count {
            self.count = expired;
            self.event.handle_seen(now);
        }
    }

    /// Returns how many there were since the start, where that is to be told.
    pub(crate) fn poll(&self, now: Instant) -> Option<u64> {
        self.event.is_told(now).then(|| self.count - self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn letters_that_expired_in_this_run_are_told_for_an_hour() {
        let start = Instant::now();
        let mut expiry = Expiry::known(7);
        expiry.handle_count(0, start); // before the first record is applied
        expiry.handle_count(7, start);
        assert_eq!(expiry.poll(start), None);
        expiry.handle_count(10, start);
        let later = start + TOLD_FOR - Duration::from_secs(1);
        assert_eq!(expiry.poll(later), Some(3));
        assert_eq!(expiry.poll(start + TOLD_FOR), None);
        expiry.handle_count(11, start + TOLD_FOR);
        assert_eq!(expiry.poll(start + TOLD_FOR), Some(4));
    }
}
