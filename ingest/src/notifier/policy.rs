//! What to do about an answer: pure, time and jitter are arguments.

use std::time::Duration;

use telemetry::time::IngestTime;

use super::reason::{Reason, ReasonCode};

/// Least wait between two tries.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest wait between two tries, unless the endpoint asks for more.
pub const BACKOFF_MAX: Duration = Duration::from_mins(5);
/// Longest wait an endpoint may ask for with `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);
/// A notice older than this that still cannot be delivered has failed.
pub const GIVE_UP_AFTER: Duration = Duration::from_hours(7 * 24);

/// What the endpoint said to one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has the notice.
    Delivered {
        /// Proof for the delivery log, in the endpoint's words.
        receipt: String,
    },
    /// Not now.
    Retry {
        /// Why not.
        reason: Reason,
        /// The wait the endpoint asks for.
        after: Option<Duration>,
    },
    /// Never: trying again would not help.
    Refused {
        /// Why not.
        reason: Reason,
    },
}

/// What a try was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When the queue took the notice.
    pub accepted_at: IngestTime,
    /// Which try it was, from 1.
    pub number: u32,
}

/// What becomes of a notice after a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered; it is over.
    Delivered {
        /// Proof for the delivery log.
        receipt: String,
    },
    /// It waits for its next try.
    Waiting {
        /// Why the last try did not succeed.
        reason: Reason,
        /// When it is due.
        next_try_at: IngestTime,
    },
    /// It has failed for good.
    Failed {
        /// Why.
        reason: Reason,
    },
}

/// Returns the wait after the `tries`-th try in a row that failed: 1 s doubled up to 5 min, of which `jitter`
/// (0..=255) takes up to half away.
#[must_use]
pub fn backoff(tries: u32, jitter: u8) -> Duration {
    let doublings = tries.saturating_sub(1).min(9);
    let full = BACKOFF_MIN.saturating_mul(1_u32 << doublings).min(BACKOFF_MAX);
    let half = full / 2;
    (full - half * u32::from(jitter) / u32::from(u8::MAX)).max(BACKOFF_MIN)
}

/// Decides what becomes of a notice after a try.
#[must_use]
pub fn judge(now: IngestTime, attempt: Attempt, answer: Answer, jitter: u8) -> Verdict {
    match answer {
        Answer::Delivered { receipt } => Verdict::Delivered { receipt },
        Answer::Refused { reason } => Verdict::Failed { reason },
        Answer::Retry { reason, .. } if now.since(attempt.accepted_at) >= GIVE_UP_AFTER => {
            Verdict::Failed { reason: expired(&reason) }
        }
        Answer::Retry { reason, after } => {
            let wait = backoff(attempt.number, jitter).max(asked(after));
            Verdict::Waiting { reason, next_try_at: now.plus(wait) }
        }
    }
}

/// Returns the reason of a notice that is too old, whose last try did not succeed for `last`.
pub(super) fn expired(last: &Reason) -> Reason {
    Reason::new(ReasonCode::Expired, &format!("{} {}", last.code.as_str(), last.detail))
}

/// What an HTTP status means for a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusVerdict {
    /// 2xx.
    Delivered,
    /// 408, 425, 429 and 5xx.
    Retry,
    /// Everything else: other 4xx, and 3xx, since a redirect could lead the alert anywhere.
    Refused,
}

/// Judges an HTTP status.
#[must_use]
pub const fn judge_status(status: u16) -> StatusVerdict {
    match status {
        200..=299 => StatusVerdict::Delivered,
        408 | 425 | 429 | 500..=599 => StatusVerdict::Retry,
        _ => StatusVerdict::Refused,
    }
}

/// Holds back while the endpoint does not answer, so that an outage costs one try at a time and not one for
/// every notice that waits.
///
/// After a failure it closes for [`backoff`], then lets one probe through; a success opens it. A single
/// notice that always fails holds the others up for at most one [`BACKOFF_MIN`] a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gate {
    failures: u32,
    closed: Option<Closed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Closed {
    since: IngestTime,
    until: IngestTime,
}

impl Gate {
    /// Takes in how a try went that began at `began_at`.
    pub fn handle_answer(
        &mut self,
        now: IngestTime,
        began_at: IngestTime,
        answer: &Answer,
        jitter: u8,
    ) {
        match answer {
            Answer::Delivered { .. } => *self = Self::default(),
            // The endpoint answers; it is this notice that it does not want.
            Answer::Refused { .. } => {}
            Answer::Retry { after, .. } => {
                // Tries that were under way together fail together: one outage, not many.
                let same = self.closed.is_some_and(|closed| began_at <= closed.since);
                if !same {
                    self.failures = self.failures.saturating_add(1);
                }
                let wait = if same { Duration::ZERO } else { backoff(self.failures, jitter) };
                let until = now.plus(wait.max(asked(*after)));
                let before = self.closed.map_or(until, |closed| closed.until);
                let since = self.closed.filter(|_| same).map_or(now, |closed| closed.since);
                self.closed = Some(Closed { since, until: until.max(before) });
            }
        }
    }

    /// Returns how many tries may be under way at `now`, out of `most`.
    #[must_use]
    pub fn slots(&self, now: IngestTime, most: usize) -> usize {
        match self.closed {
            Some(closed) if now < closed.until => 0,
            Some(_) => most.min(1),
            None => most,
        }
    }

    /// Returns when the next try is allowed, where it is not now.
    #[must_use]
    pub fn opens_at(&self) -> Option<IngestTime> {
        self.closed.map(|closed| closed.until)
    }

    /// Returns whether the endpoint failed last.
    #[must_use]
    pub const fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

fn asked(after: Option<Duration>) -> Duration {
    after.unwrap_or_default().min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T0: IngestTime = IngestTime::from_nanos(1_763_856_000_000_000_000);
    const S: Duration = Duration::from_secs(1);

    #[test]
    fn back_off_doubles_from_one_second_to_five_minutes() {
        let table = [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (8, 128),
            (9, 256),
            (10, 300),
            (11, 300),
            (u32::MAX, 300),
        ];
        for (tries, seconds) in table {
            assert_eq!(backoff(tries, 0), S * seconds, "{tries} tries");
        }
        assert_eq!(backoff(3, 255), S * 2);
        assert_eq!(backoff(1, 255), S);
    }

    #[test]
    fn statuses_are_judged_by_the_table() {
        use StatusVerdict::{Delivered, Refused, Retry};
        let table = [
            (200, Delivered),
            (202, Delivered),
            (204, Delivered),
            (299, Delivered),
            (301, Refused),
            (304, Refused),
            (308, Refused),
            (400, Refused),
            (401, Refused),
            (403, Refused),
            (404, Refused),
            (410, Refused),
            (413, Refused),
            (408, Retry),
            (425, Retry),
            (429, Retry),
            (500, Retry),
            (501, Retry),
            (503, Retry),
            (599, Retry),
            (100, Refused),
            (600, Refused),
        ];
        for (status, expected) in table {
            assert_eq!(judge_status(status), expected, "{status}");
        }
    }

    #[test]
    fn verdicts_follow_age_and_the_wait_asked_for() {
        let week = GIVE_UP_AFTER;
        let table = [
            (Duration::ZERO, 1, None, Some(S)),
            (Duration::ZERO, 3, None, Some(S * 4)),
            (Duration::ZERO, 3, Some(S), Some(S * 4)),
            (Duration::ZERO, 1, Some(S * 30), Some(S * 30)),
            (Duration::ZERO, 1, Some(week), Some(RETRY_AFTER_MAX)),
            (week - S, 40, None, Some(BACKOFF_MAX)),
            (week, 40, None, None),
        ];
        for (age, number, after, wait) in table {
            let attempt = Attempt { accepted_at: T0, number };
            let now = T0.plus(age);
            let verdict = judge(now, attempt, retry(after), 0);
            match wait {
                Some(wait) => {
                    let Verdict::Waiting { next_try_at, .. } = verdict else {
                        panic!("{verdict:?}")
                    };
                    assert_eq!(
                        next_try_at,
                        now.plus(wait),
                        "age {age:?}, try {number}, asked {after:?}"
                    );
                }
                None => {
                    let Verdict::Failed { reason } = verdict else { panic!("{verdict:?}") };
                    assert_eq!(reason, Reason::new(ReasonCode::Expired, "status 503"));
                }
            }
        }
    }

    #[test]
    fn an_old_notice_is_still_delivered_when_the_endpoint_answers() {
        let attempt = Attempt { accepted_at: T0, number: 9 };
        let answer = Answer::Delivered { receipt: "200".into() };
        let verdict = judge(T0.plus(GIVE_UP_AFTER * 2), attempt, answer, 0);
        assert_eq!(verdict, Verdict::Delivered { receipt: "200".into() });
    }

    #[test]
    fn eight_tries_that_fail_together_close_the_gate_once() {
        let mut gate = Gate::default();
        assert_eq!(gate.slots(T0, 8), 8);
        for nth in 0..8 {
            gate.handle_answer(T0.plus(S * nth / 100), T0, &retry(None), 0);
        }
        assert_eq!(gate.opens_at(), Some(T0.plus(S)));
        assert_eq!(gate.slots(T0.plus(S / 2), 8), 0);
        assert_eq!(gate.slots(T0.plus(S), 8), 1, "one probe");
        gate.handle_answer(T0.plus(S * 2), T0.plus(S), &retry(None), 0);
        assert_eq!(gate.opens_at(), Some(T0.plus(S * 4)), "the second failure in a row waits 2 s");
        gate.handle_answer(
            T0.plus(S * 5),
            T0.plus(S * 4),
            &Answer::Delivered { receipt: String::new() },
            0,
        );
        assert_eq!((gate.slots(T0, 8), gate.is_failing()), (8, false));
    }

    #[test]
    fn a_refusal_leaves_the_gate_as_it_is() {
        let mut gate = Gate::default();
        let refused = Answer::Refused { reason: Reason::new(ReasonCode::Status, "404") };
        gate.handle_answer(T0, T0, &refused, 0);
        assert_eq!(gate, Gate::default());
    }

    #[test]
    fn retry_after_keeps_the_gate_closed_that_long() {
        let mut gate = Gate::default();
        gate.handle_answer(T0, T0, &retry(Some(S * 30)), 0);
        gate.handle_answer(T0, T0, &retry(None), 0);
        assert_eq!(gate.opens_at(), Some(T0.plus(S * 30)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn waits_stay_between_one_second_and_five_minutes(tries: u32, jitter: u8) {
            let wait = backoff(tries, jitter);
            prop_assert!((BACKOFF_MIN..=BACKOFF_MAX).contains(&wait), "{wait:?}");
            prop_assert!(wait >= backoff(tries, 0) / 2);
        }
    }

    fn retry(after: Option<Duration>) -> Answer {
        Answer::Retry { reason: Reason::new(ReasonCode::Status, "503"), after }
    }
}
