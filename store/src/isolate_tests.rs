//! The search against a store that is a function.

use proptest::prelude::*;

use super::*;
use crate::{BatchBuilder, BatchLimits, Entry, EntryKey, ISOLATION_REQUESTS_MAX};

fn batch(lines: &[String]) -> Batch {
    let mut builder = BatchBuilder::new(BatchLimits::default());
    for (index, line) in (0..).zip(lines) {
        builder
            .push(Entry { key: EntryKey { position: 1, index }, line: line.as_bytes() })
            .unwrap();
    }
    builder.seal().unwrap()
}

/// Says nothing helpful about the lines that hold `bad`.
fn terse(body: &str) -> Verdict {
    if body.contains("bad") { Verdict::Refused("no".into()) } else { Verdict::Taken }
}

/// Answers as InfluxDB 2 does when `x` is a float.
fn influx(body: &str) -> Verdict {
    let dropped = body.lines().filter(|line| line.contains(" x=\"")).count();
    if dropped == 0 {
        return Verdict::Taken;
    }
    let words = "partial write: field type conflict: input field \"x\" on measurement \"m\" is type string, \
                 already exists as type float";
    Verdict::Refused(format!("{words} dropped={dropped}").into())
}

/// Runs a search; returns the indices rejected and the requests it took.
fn search(
    lines: &[String],
    store: impl Fn(&str) -> Verdict,
    requests_max: usize,
) -> (Vec<u32>, usize) {
    let batch = batch(lines);
    let mut isolation = Isolation::new(&batch, None, requests_max);
    isolation.handle_first(&store(std::str::from_utf8(batch.body()).unwrap()));
    let mut requests = 0;
    while let Some(body) = isolation.poll_part() {
        requests += 1;
        isolation.handle_answer(&store(std::str::from_utf8(&body).unwrap()));
    }
    (isolation.finish().iter().map(|rejected| rejected.key.index).collect(), requests)
}

fn lines(count: usize, bad: impl Fn(usize) -> bool) -> Vec<String> {
    let line = |at| format!("m,device=d{at:04} x={} {at}", if bad(at) { "\"bad\"" } else { "1" });
    (0..count).map(line).collect()
}

#[test]
fn one_bad_point_of_five_thousand_costs_at_most_two_requests_a_halving() {
    for at in [0, 1, 2_499, 2_500, 4_999] {
        let (rejected, requests) =
            search(&lines(5_000, |line| line == at), terse, ISOLATION_REQUESTS_MAX);
        assert_eq!(rejected, [u32::try_from(at).unwrap()]);
        assert!(requests <= 26, "{requests}");
    }
}

#[test]
fn a_type_conflict_costs_two_requests_however_many_points_have_it_and_wherever() {
    for stride in [2, 3, 7, 4_999] {
        let (rejected, requests) =
            search(&lines(5_000, |line| line % stride == 0), influx, ISOLATION_REQUESTS_MAX);
        assert_eq!(rejected.len(), 5_000_usize.div_ceil(stride));
        assert_eq!(requests, 2);
    }
    let (rejected, requests) = search(&lines(5_000, |_| true), influx, ISOLATION_REQUESTS_MAX);
    assert_eq!(
        (rejected.len(), requests),
        (5_000, 0),
        "the first answer says that all are dropped"
    );
}

#[test]
fn lines_that_the_store_quotes_are_set_aside_first() {
    let quoting = |body: &str| {
        let bad: Vec<_> = body.lines().filter(|line| line.contains("bad")).collect();
        let words: Vec<_> =
            bad.iter().map(|line| format!("unable to parse '{line}': invalid")).collect();
        if bad.is_empty() { Verdict::Taken } else { Verdict::Refused(words.join("\n").into()) }
    };
    let (rejected, requests) =
        search(&lines(1_000, |line| line == 17 || line == 800), quoting, 100);
    assert_eq!(rejected, [17, 800]);
    assert_eq!(requests, 4, "the others, the two together, each alone");
}

#[test]
fn points_older_than_the_retention_are_told_without_a_request() {
    let lines = lines(100, |_| false);
    let batch = batch(&lines);
    let mut isolation = Isolation::new(&batch, Some(EventTime::from_nanos(40)), 10);
    isolation.handle_first(&Verdict::Refused("partial write".into()));
    let body = isolation.poll_part().unwrap();
    assert_eq!(
        body.iter().filter(|byte| **byte == b'\n').count(),
        60,
        "the others are written together"
    );
    isolation.handle_answer(&Verdict::Taken);
    assert!(isolation.poll_part().is_none());
    let rejected = isolation.finish();
    assert_eq!(rejected.len(), 40);
    assert!(rejected.iter().all(|rejected| rejected.reason == RejectReason::OutsideRetention));
}

#[test]
fn a_body_that_is_too_large_is_halved_and_a_line_that_is_too_large_set_aside() {
    let mut lines = lines(64, |_| false);
    lines[9] = format!("m,device=d0009 x=\"{}\" 9", "long".repeat(200));
    let small = |body: &str| if body.len() > 200 { Verdict::TooLarge } else { Verdict::Taken };
    let (rejected, requests) = search(&lines, small, 100);
    assert_eq!(rejected, [9]);
    assert!(requests < 64, "{requests}");
}

#[test]
fn out_of_requests_the_undecided_points_are_set_aside_and_say_so() {
    let lines = lines(1_000, |line| line % 2 == 0);
    let batch = batch(&lines);
    let mut isolation = Isolation::new(&batch, None, 5);
    isolation.handle_first(&terse("bad"));
    let mut requests = 0;
    while let Some(body) = isolation.poll_part() {
        requests += 1;
        isolation.handle_answer(&terse(std::str::from_utf8(&body).unwrap()));
    }
    assert_eq!(requests, 5);
    let rejected = isolation.finish();
    assert_eq!(rejected.len(), 1_000);
    assert!(rejected.iter().all(|one| one.detail.contains("not told apart")), "{:?}", rejected[0]);
}

#[test]
fn the_series_of_a_line_ends_at_the_first_bare_space() {
    for (line, expected) in [
        (r"m,d=a x=1 1", r"m,d=a"),
        (r"a\ b,d=c\ d x=1", r"a\ b,d=c\ d"),
        (r"m\\ x=1", r"m\\"),
        ("", ""),
        ("m", "m"),
    ] {
        assert_eq!(series(line.as_bytes()), expected.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Guarantees: whatever is bad, and whatever the store hints, exactly the bad points are rejected, with
    /// at most two requests a point.
    #[test]
    fn exactly_the_bad_points_are_rejected(bad in prop::collection::vec(any::<bool>(), 1..200), helpful: bool) {
        let lines = lines(bad.len(), |at| bad[at]);
        let expected: Vec<u32> = (0..).zip(&bad).filter(|(_, bad)| **bad).map(|(at, _)| at).collect();
        let store = if helpful { influx } else { terse };
        let (rejected, requests) = search(&lines, store, usize::MAX);
        prop_assert_eq!(rejected, expected);
        prop_assert!(requests <= 2 * bad.len());
    }

    /// Guarantees: no words of a store make the search panic or lose a line.
    #[test]
    fn hostile_words_cost_requests_and_no_point(words in "(input field \"|\" on measurement |unable to parse '|is type |dropped=|Lower Bound at |[a-z0-9 ,]){0,12}") {
        let lines = lines(20, |at| at == 3);
        let hostile = Verdict::Refused(words.replace("dropped=", "").into());
        let many = |body: &str| body.contains("bad") && body.lines().count() > 1;
        let store = |body: &str| if many(body) { hostile.clone() } else { terse(body) };
        prop_assert_eq!(search(&lines, store, usize::MAX).0, vec![3]);
    }
}
