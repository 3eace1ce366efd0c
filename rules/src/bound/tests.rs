use super::*;
use crate::set::RuleSet;
use proptest::prelude::*;
use telemetry::document::Problems;

const SUBJECT: Subject<'_> = Subject {
    tenant: "t",
    site: "{value}",
    device: "d",
    name: Some("probe 7"),
    name_en: None,
    site_name: None,
    site_name_en: None,
    region: Some("410102"),
};

fn bound(rule: &str) -> Bound {
    let properties = vec![("a", true), ("b", true)];
    let schema =
        Schema { name: "p", domain: "soil", interval: Duration::from_secs(10), properties };
    let problems = Problems::default();
    let head = "name = \"r\"\nscope = {}\nseverity = \"orange\"\n";
    let message = if rule.contains("message") { "" } else { "message = \"m\"\n" };
    let files = [("r.toml".to_owned(), format!("{head}{message}{rule}"))];
    let set = RuleSet::load_for(&files, &[schema], &problems);
    let found: Vec<String> = problems.take().iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{found:#?}");
    set.of_profile(0).first().unwrap().clone()
}

fn reading(second: i64, a: Option<f64>) -> (EventTime, [Option<f64>; 2]) {
    (EventTime::from_nanos(second * 1_000_000_000), [a, Some(1.0)])
}

fn judge(
    bound: &Bound,
    state: &mut RuleState,
    (at, values): (EventTime, [Option<f64>; 2]),
) -> Option<Box<Alert>> {
    let seen = Observed { sampled_at: at, received_at: at.as_ingest(), values: &values };
    bound.judge(state, &seen, &SUBJECT)
}

#[test]
fn every_place_of_a_message_is_filled_in_its_language() {
    let places =
        "{tenant}|{site}|{device}|{name}|{region}|{rule}|{property}|{value}|{limit}|{severity}";
    let rule =
        bound(&format!("when = \"a > 1.5\"\nmessage = {{ zh = \"{places}\", en = \"{places}\" }}"));
    let alert = judge(&rule, &mut RuleState::default(), reading(0, Some(7.0 / 3.0))).unwrap();
    assert_eq!(&*alert.message_en, "t|{value}|d|probe 7|410102|r|a|2.33333|1.5|orange");
    assert_eq!(&*alert.message_zh, "t|{value}|d|probe 7|410102|r|a|2.33333|1.5|橙色");
    let seen = Observed {
        sampled_at: EventTime::from_nanos(0),
        received_at: IngestTime::from_nanos(0),
        values: &[Some(2.0)],
    };
    let both = Subject {
        name_en: Some("Probe Seven"),
        site_name: Some("东坡"),
        site_name_en: Some("East Slope"),
        ..SUBJECT
    };
    let alert = rule.judge(&mut RuleState::default(), &seen, &both).unwrap();
    assert_eq!(&*alert.message_en, "t|East Slope|d|Probe Seven|410102|r|a|2|1.5|orange");
    assert_eq!(&*alert.message_zh, "t|东坡|d|probe 7|410102|r|a|2|1.5|橙色");
    let numbered = Subject { name: Some("东坡 7 号"), name_en: Some("East Slope 7"), ..both };
    let alert = rule.judge(&mut RuleState::default(), &seen, &numbered).unwrap();
    assert_eq!(&*alert.message_en, "t|East Slope|d|7|410102|r|a|2|1.5|orange");
    assert_eq!(&*alert.message_zh, "t|东坡|d|7 号|410102|r|a|2|1.5|橙色");
    let bare = Subject { name: None, region: None, ..SUBJECT };
    let alert = rule.judge(&mut RuleState::default(), &seen, &bare).unwrap();
    assert_eq!(&*alert.message_en, "t|{value}|d|d||r|a|2|1.5|orange");
}

#[test]
fn a_rule_about_silence_judges_no_reading_and_one_with_a_condition_no_silence() {
    let silence = Silence {
        newest_at: EventTime::from_nanos(0),
        live_ms: u64::MAX,
        now: IngestTime::from_nanos(9),
    };
    let (condition, quiet) = (bound("when = \"a > 1\""), bound("no_data = \"2 intervals\""));
    let mut state = RuleState::default();
    assert_eq!(judge(&quiet, &mut state, reading(0, Some(9.0))), None);
    assert_eq!(condition.judge_silence(&mut state, &silence, &SUBJECT), None);
    assert!(state.is_normal());
    assert_eq!(condition.silence_ms_max(), None);
    assert!(judge(&condition, &mut state, reading(0, Some(9.0))).is_some());
    assert_eq!(
        condition.heard(&mut state, silence.newest_at, silence.now),
        None,
        "only clearing ends it"
    );
}

#[test]
fn an_alert_of_silence_began_before_it_was_raised_even_with_a_device_ahead_of_time() {
    let rule = bound("no_data = \"2 intervals\"");
    let silence = Silence {
        newest_at: EventTime::from_nanos(90_000_000_000),
        live_ms: 20_000,
        now: IngestTime::from_nanos(20_000_000_000),
    };
    let alert = rule.judge_silence(&mut RuleState::default(), &silence, &SUBJECT).unwrap();
    assert_eq!((alert.value, alert.limit, alert.property), (0.0, 20.0, None));
}

/// A device sends what it had stored before it fell silent.
#[test]
fn a_silence_does_not_end_before_it_began() {
    let rule = bound("no_data = \"2 intervals\"");
    let second = |n: i64| n * 1_000_000_000;
    for (began, said, came, ended) in
        [(100, 40, 130, 130), (100, 110, 130, 110), (100, 100, 130, 100), (100, 40, 90, 100)]
    {
        let silence = Silence {
            newest_at: EventTime::from_nanos(second(began)),
            live_ms: 20_000,
            now: IngestTime::from_nanos(second(120)),
        };
        let mut state = RuleState::default();
        rule.judge_silence(&mut state, &silence, &SUBJECT).unwrap();
        let [said, ended] = [said, ended].map(|at| EventTime::from_nanos(second(at)));
        let alert = rule.heard(&mut state, said, IngestTime::from_nanos(second(came))).unwrap();
        assert_eq!(alert.resolved_at(), Some(ended));
    }
}

#[test]
fn times_at_the_ends_of_the_scale_do_not_overflow() {
    let rule = bound("when = \"a > 1\"\non_delay = \"10s\"\noff_delay = \"10s\"");
    let mut state = RuleState::default();
    for nanos in [i64::MIN, i64::MAX, i64::MIN, 0, i64::MAX] {
        for a in [2.0, 0.0] {
            let _ = judge(&rule, &mut state, (EventTime::from_nanos(nanos), [Some(a), None]));
        }
    }
}

/// Seconds since the reading before, and the value of `a`.
fn readings() -> impl Strategy<Value = Vec<(i64, Option<f64>)>> {
    let value = prop_oneof![Just(None), (0..5_i32).prop_map(|a| Some(f64::from(a)))];
    prop::collection::vec((-3..45_i64, value), 0..60)
}

fn run(rule: &Bound, readings: &[(i64, Option<f64>)], restart_every: usize) -> Vec<Alert> {
    let (mut state, mut second, mut out) = (RuleState::default(), 0, Vec::new());
    let mut newest = i64::MIN;
    for (nth, (wait, a)) in readings.iter().enumerate() {
        second += wait;
        // As the pipeline does: late or repeated observations are never handed in.
        let a = a.filter(|_| second > newest);
        newest = newest.max(if a.is_some() { second } else { i64::MIN });
        out.extend(judge(rule, &mut state, reading(second, a)).map(|alert| *alert));
        if nth % restart_every == restart_every - 1 {
            let config = bincode::config::standard().with_limit::<65_536>();
            let bytes = bincode::encode_to_vec(&state, config).unwrap();
            state = bincode::decode_from_slice(&bytes, config).unwrap().0;
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn alerts_come_in_turn_and_each_end_repeats_its_beginning(readings in readings(), on in 0..40_u32, off in 0..40_u32) {
        let rule = bound(&format!("when = \"a > 3 || a < 1 && b > 0\"\nclear = \"a == 2\"\non_delay = \"{on}s\"\noff_delay = \"{off}s\""));
        let alerts = run(&rule, &readings, usize::MAX);
        for (nth, alert) in alerts.iter().enumerate() {
            let expected = if nth % 2 == 0 { AlertState::Firing } else { AlertState::Resolved };
            prop_assert_eq!(alert.state, expected);
            prop_assert!(alert.raised_at - alert.began_at >= i64::from(on) * 1_000_000_000);
        }
        for pair in alerts.chunks_exact(2) {
            let Alert { state, resolved_at, received_at, .. } = pair[1].clone();
            prop_assert_eq!(&Alert { state, resolved_at, received_at, ..pair[0].clone() }, &pair[1]);
            prop_assert!(resolved_at.unwrap() - pair[0].raised_at >= i64::from(off) * 1_000_000_000);
        }
        let ids: std::collections::BTreeSet<&str> = alerts.iter().map(|alert| &*alert.id).collect();
        prop_assert_eq!(ids.len(), alerts.len().div_ceil(2), "an id for each alert");
    }

    #[test]
    fn alerts_are_the_same_whenever_state_went_through_a_snapshot(readings in readings(), every in 1..7_usize) {
        let rule = bound("when = \"a > 2\"\non_delay = \"15s\"\noff_delay = \"5s\"");
        prop_assert_eq!(run(&rule, &readings, every), run(&rule, &readings, usize::MAX));
    }
}
