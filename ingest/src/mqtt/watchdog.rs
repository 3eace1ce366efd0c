//! Two watchdogs: the same error again and again, and silence while connected. Pure.

use std::time::Duration;

use telemetry::text::{Text, say};

/// From how many equal failures in a row on it is an alarm.
const ALARM_AT: u32 = 3;

/// Counts equal failures in a row: a poison message, a wrong password, a second client of our name.
#[derive(Debug, Default)]
pub(crate) struct SameError {
    last: Option<Text>,
    times: u32,
}

impl SameError {
    /// Notes a failure; returns the alarm once it has come often enough.
    pub(crate) fn failed(&mut self, reason: &Text) -> Option<Text> {
        if self.last.as_ref() == Some(reason) {
            self.times = self.times.saturating_add(1);
        } else {
            self.last = Some(reason.clone());
            self.times = 1;
        }
        (self.times >= ALARM_AT)
            .then(|| say("ingest.mqtt.same_error", &[("times", &self.times), ("reason", reason)]))
    }

    /// Notes that the connection holds.
    pub(crate) fn held(&mut self) {
        *self = Self::default();
    }
}

/// Measures how long nothing has come while the subscription stood, or while devices could connect.
///
/// Time away from the broker does not count: that is an outage of ours, not silence of theirs.
#[derive(Debug)]
pub(crate) struct Silence {
    limit: Option<Duration>,
    quiet: Duration,
}

impl Silence {
    pub(crate) const fn new(limit: Option<Duration>) -> Self {
        Self { limit, quiet: Duration::ZERO }
    }

    /// Notes that something came.
    pub(crate) fn heard(&mut self) {
        self.quiet = Duration::ZERO;
    }

    /// Notes that `passed` went by while something could come; returns the limit, in seconds, where it is reached.
    pub(crate) fn listened(&mut self, passed: Duration) -> Option<u64> {
        self.quiet = self.quiet.saturating_add(passed);
        self.limit.filter(|limit| self.quiet >= *limit).map(|limit| limit.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_equal_failure_in_a_row_is_an_alarm() {
        let (a, b) = (Text::plain("a"), Text::plain("b"));
        let mut same = SameError::default();
        let failures = [
            (&a, false),
            (&a, false),
            (&b, false),
            (&a, false),
            (&a, false),
            (&a, true),
            (&a, true),
        ];
        for (place, (reason, alarm)) in failures.into_iter().enumerate() {
            assert_eq!(same.failed(reason).is_some(), alarm, "failure {place}");
        }
        same.held();
        assert_eq!(same.failed(&a), None);
    }

    #[test]
    fn only_listened_time_counts_as_silence_and_a_message_ends_it() {
        let second = Duration::from_secs(1);
        let mut silence = Silence::new(Some(3 * second));
        assert_eq!(silence.listened(2 * second), None);
        assert_eq!(silence.listened(second), Some(3));
        silence.heard();
        assert_eq!(silence.listened(second), None);
        assert_eq!(Silence::new(None).listened(1000 * second), None);
    }
}
