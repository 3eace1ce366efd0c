//! The time policy: which time of a device is trusted.

use telemetry::flag::TimeFlag;
use telemetry::profile::TimeRule;
use telemetry::reading::Element;
use telemetry::time::{EventTime, IngestTime};

/// 2000-01-01T00:00:00Z in nanoseconds: no device of this field is older.
const YEAR_2000: i64 = 946_684_800_000_000_000;

/// Judges the time a device gives. The error says what is wrong with it.
pub(crate) fn judge_time(
    rule: &TimeRule,
    sampled_at: Option<EventTime>,
    received_at: IngestTime,
) -> Result<EventTime, TimeFlag> {
    let at = sampled_at.ok_or(TimeFlag::Missing)?;
    // The device said another time than this one: a wrong unit, mostly.
    if at.is_beyond() {
        return Err(TimeFlag::Future);
    }
    if at.is_before_all() {
        return Err(TimeFlag::Past);
    }
    if rule.trust_device {
        return Ok(at);
    }
    if at > received_at.as_event().plus(rule.future) {
        return Err(TimeFlag::Future);
    }
    if at < received_at.as_event().minus(rule.past) || at.as_nanos() < YEAR_2000 {
        return Err(TimeFlag::Past);
    }
    Ok(at)
}

/// Returns the time that an element gives.
pub(crate) const fn said_time(element: &Element) -> Option<EventTime> {
    match element {
        Element::Reading(reading) => reading.sampled_at,
        Element::Bad(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use telemetry::time_format::TimeFormat;

    use super::*;

    #[test]
    fn a_time_that_cannot_be_held_is_never_trusted() {
        let rule = |trust_device| TimeRule {
            path: None,
            format: TimeFormat::UnixS,
            trust_device,
            future: Duration::MAX,
            past: Duration::MAX,
        };
        for (number, flag) in
            [(1_700_000_000_000, TimeFlag::Future), (-1_700_000_000_000, TimeFlag::Past)]
        {
            for trust_device in [true, false] {
                let rule = rule(trust_device);
                let said = rule.format.of_int(number);
                assert_eq!(
                    judge_time(&rule, said, IngestTime::from_nanos(0)),
                    Err(flag),
                    "{number}"
                );
            }
        }
    }
}
