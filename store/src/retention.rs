//! Which points are older than the bucket keeps, without asking about each.

use std::time::Duration;

use telemetry::time::{EventTime, parse_rfc3339};

/// Taken off the bound: the `Date` of an answer has whole seconds, and its clock is read a little apart
/// from the one that judges. What lies between is left to the store.
const MARGIN: Duration = Duration::from_secs(2);

/// Returns the time before which no point is taken, by the bucket's retention and the store's clock.
pub(crate) fn lower_bound(store_now: EventTime, retention: Duration) -> EventTime {
    store_now.minus(retention).minus(MARGIN)
}

/// Returns that time where the store itself names it: `… Retention Policy Lower Bound at T …`.
pub(crate) fn named_lower_bound(message: &str) -> Option<EventTime> {
    let (_, tail) = message.rsplit_once("Retention Policy Lower Bound at ")?;
    parse_rfc3339(tail.split([' ', ',']).next()?)
}

/// Returns the time of a line: its last word.
pub(crate) fn line_time(line: &[u8]) -> Option<EventTime> {
    let word = line.rsplit(|byte| *byte == b' ').next()?;
    std::str::from_utf8(word).ok()?.parse().ok().map(EventTime::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_line_is_its_last_word() {
        for (line, time) in [
            (&b"m,d=a x=1 1795632905378105477"[..], Some(1_795_632_905_378_105_477)),
            (b"m x=\"a 5\" -7", Some(-7)),
            (b"m x=\"a 5\"", None),
            (b"m x=1", None),
            (b"m x=1 99999999999999999999", None),
            (b"m x=1 \xff", None),
            (b"", None),
        ] {
            assert_eq!(line_time(line).map(EventTime::as_nanos), time, "{line:?}");
        }
    }

    #[test]
    fn the_bound_is_read_from_the_stores_words() {
        let words = "dropped 1 points outside retention policy of duration 24h0m0s - oldest point m,device=c at \
                     2026-11-22T18:55:05.378105477Z dropped because it violates a Retention Policy Lower Bound at \
                     2026-11-24T18:55:05.560736337Z, newest point m,device=c at 2026-11-22T18:55:05.378105477Z \
                     dropped because it violates a Retention Policy Lower Bound at 2026-11-24T18:55:05.560736337Z \
                     dropped=1 for database: 6ca8 for retention policy: autogen";
        assert_eq!(named_lower_bound(words).unwrap().to_string(), "2026-11-24T18:55:05.560736337Z");
        assert_eq!(named_lower_bound("Retention Policy Lower Bound at dawn"), None);
        assert_eq!(named_lower_bound(""), None);
    }

    #[test]
    fn the_computed_bound_never_takes_what_the_store_would() {
        let date = parse_rfc3339("2026-11-25T18:55:05Z").unwrap();
        let bound = lower_bound(date, Duration::from_hours(24));
        assert_eq!(bound.to_string(), "2026-11-24T18:55:03Z");
    }
}
