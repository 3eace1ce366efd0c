//! Uplinks as large as they may be: what comes of them fits a segment of the outbox.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU16;
use std::sync::Arc;

use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::outbox::{Entries, EntryKind, OutboxRecord};
use pipeline::record::{ConfigActivated, Record, Tick, Uplink};
use pipeline::{ActiveConfig, Bundle, ConfigSource, Head, Limits, Pipeline};
use telemetry::time::IngestTime;

const START: i64 = 1_763_856_000_000_000_000;
/// The smallest segment of the outbox.
const SEGMENT: usize = 20 << 20;

const BATCH: &str = r#"
name = "gateway"
domain = "soil"
measurement = "soil"
interval = "1m"
codec = "json"
[batch]
path = "readings"
device = "d"
[time]
path = "ts"
format = "unix_s"
[[properties]]
name = "moisture"
path = "m"
unit = "m3/m3"
"#;

fn config(profile: &str, rules: &[&str]) -> Arc<ActiveConfig> {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let bundle = Bundle {
        profiles: vec![file("gateway.toml", profile)],
        rules: rules.iter().map(|text| file("rule.toml", text)).collect(),
        registry: None,
        uplinks: vec![Route {
            topic: "{tenant}/{site}/{device}".to_owned(),
            profile: "gateway".to_owned(),
        }],
        unknown: UnknownDevice::Accept,
        identity_memory: 8,
        max_payload: vec![16 << 20],
    };
    ActiveConfig::build(&bundle).unwrap()
}

/// Configurations by their hash.
struct Configs(Vec<Arc<ActiveConfig>>);

impl ConfigSource for Configs {
    fn load(&self, hash: &str) -> Option<Arc<ActiveConfig>> {
        self.0.iter().find(|config| config.hash == hash).cloned()
    }
}

fn results(profile: &str, topic: &str, payload: &[u8]) -> (OutboxRecord, Pipeline) {
    let config = config(profile, &[]);
    let mut pipeline = Pipeline::new(NonZeroU16::MIN, Limits::default());
    let mut out = OutboxRecord::default();
    let at = IngestTime::from_nanos(START);
    let hash = config.hash.clone();
    let uplink =
        Uplink { source: 0, received_at: at, topic, payload, full_len: payload.len() as u64 };
    let records = [
        Record::ConfigActivated(ConfigActivated { at_nanos: START, hash }),
        Record::Uplink(uplink),
    ];
    for (position, record) in (1_u64..).zip(&records) {
        let head = Head { position, ordinal: position - 1 };
        let (kind, bytes) = (record.kind().code(), record.encode());
        pipeline.apply(head, kind, &bytes, &config, &mut out).unwrap();
    }
    (out, pipeline)
}

/// Scenario: a batch of 300 KB whose elements are nearly all bad, one with as many elements as may be, and such a one
/// of a topic with the longest names there may be, each character of which JSON writes as two.
/// Guarantees: the good point is there, each bad element has its letter, and all of it fits a segment.
#[test]
fn many_bad_elements_leave_room_for_the_good_ones() {
    let long = "\"".repeat(256);
    let longest = format!("{long}/{long}/{long}");
    for (bad, filling, topic) in [
        (60, 5_000, "default/s1/g1"),
        (9_999, 20, "default/s1/g1"),
        (1, 15_000_000, "default/s1/g1"),
        (9_999, 1, &longest),
    ] {
        let filler = "x".repeat(filling);
        let element = format!(r#""{filler}","#);
        let good = format!(r#"{{"d":"d1","ts":{},"m":0.3}}"#, START / 1_000_000_000);
        let payload = format!(r#"{{"readings":[{}{good}]}}"#, element.repeat(bad));
        let (out, pipeline) = results(BATCH, topic, payload.as_bytes());
        assert_eq!((pipeline.letters().len(), pipeline.account().letters_expired), (bad, 0));
        // What they share is there once.
        let (snapshot, open) = (pipeline.snapshot().len(), pipeline.letters().bytes());
        let most = 2 * payload.len() + 1_200 * bad;
        assert!(snapshot < most && open < most as u64, "{snapshot} and {open} bytes");
        assert!(out.bytes().len() < SEGMENT, "{bad} bad elements make {}", out.bytes().len());
        let kinds: Vec<EntryKind> =
            Entries::of(out.bytes()).unwrap().map(|entry| entry.kind).collect();
        let count = |kind| kinds.iter().filter(|known| **known == kind).count();
        assert_eq!((count(EntryKind::DeadReading), count(EntryKind::Point)), (bad, 1));
    }
}

/// Scenario: ten thousand readings that each lack a hundred required properties, so that each point says so.
/// Guarantees: those whose points the record has no room for are letters, and all of it fits a segment.
#[test]
fn results_that_no_segment_holds_are_set_aside() {
    let required = |layer: usize| {
        format!(
            "[[properties]]\nname = 'moisture_of_layer_{layer}'\npath = 'm{layer}'\nunit = 'm3/m3'\nrequired = true\n"
        )
    };
    let required: Vec<String> = (0..100).map(required).collect();
    let profile = format!("{BATCH}{}", required.concat());
    let elements: Vec<String> = (0..10_000)
        .map(|n| format!(r#"{{"d":"d1","ts":{},"m":0.3}}"#, START / 1_000_000_000 - n))
        .collect();
    let payload = format!(r#"{{"readings":[{}]}}"#, elements.join(","));
    let (out, pipeline) = results(&profile, "default/s1/g1", payload.as_bytes());
    assert!(out.bytes().len() < SEGMENT, "{}", out.bytes().len());
    let entries = || Entries::of(out.bytes()).unwrap();
    let count = |kind| entries().filter(|entry| entry.kind == kind).count();
    let (points, letters) = (count(EntryKind::Point), count(EntryKind::DeadReading));
    assert_eq!(points + letters, 10_000);
    assert!(points > 1_000 && letters > 1_000, "{points} points, {letters} letters");
    // Each can be tried again.
    assert_eq!((pipeline.letters().len(), pipeline.account().letters_expired), (letters, 0));
    assert!(entries().zip(0..).all(|(entry, element)| entry.element == element));
}

/// Scenario: thirty thousand devices have an alert each when a configuration takes the rule away.
/// Guarantees: each end is told once, in order, within what fits a segment; the same over a restart.
#[test]
fn ends_of_more_alerts_than_a_record_holds_come_with_the_next_ticks() {
    const DEVICES: usize = 30_000;
    let dry = "name = 'dry'\nscope = { domain = 'soil' }\nwhen = 'moisture < 0.5'\nclear = 'moisture > 0.6'\nseverity = 'yellow'\nmessage = { zh = '{device}', en = '{device}' }\n";
    let [with, without] = [vec![dry], Vec::new()].map(|rules| config(BATCH, &rules));
    let configs = Configs(vec![Arc::clone(&with), Arc::clone(&without)]);
    let mut pipeline = Pipeline::new(NonZeroU16::MIN, Limits::default());
    let (mut out, mut position) = (OutboxRecord::default(), 0);
    let mut apply = |pipeline: &mut Pipeline, record: &Record<'_>| {
        position += 1;
        let ordinal =
            pipeline.account().uplink_ordinal + u64::from(matches!(record, Record::Uplink(_)));
        let (kind, bytes) = (record.kind().code(), record.encode());
        pipeline.apply(Head { position, ordinal }, kind, &bytes, &configs, &mut out).unwrap();
        assert!(out.bytes().len() < SEGMENT, "{}", out.bytes().len());
        let entries = Entries::of(out.bytes()).into_iter().flatten();
        let alerts = entries.filter(|entry| entry.kind == EntryKind::Alert);
        alerts.map(|entry| entry.data.to_vec()).collect::<Vec<_>>()
    };
    let activated = |config: &ActiveConfig| {
        Record::ConfigActivated(ConfigActivated { at_nanos: START, hash: config.hash.clone() })
    };
    apply(&mut pipeline, &activated(&with));
    for from in (0..DEVICES).step_by(5_000) {
        let elements: Vec<String> = (from..from + 5_000)
            .map(|n| format!(r#"{{"d":"d{n:05}","ts":{},"m":0.3}}"#, START / 1_000_000_000))
            .collect();
        let payload = format!(r#"{{"readings":[{}]}}"#, elements.join(","));
        let raised = apply(
            &mut pipeline,
            &Record::Uplink(Uplink {
                source: 0,
                received_at: IngestTime::from_nanos(START),
                topic: "default/s1/g1",
                payload: payload.as_bytes(),
                full_len: payload.len() as u64,
            }),
        );
        assert_eq!(raised.len(), 5_000);
    }
    let first = apply(&mut pipeline, &activated(&without));
    assert!((1_000..DEVICES).contains(&first.len()), "{}", first.len());
    let snapshot = pipeline.snapshot();
    let restored =
        Pipeline::restore(&snapshot, NonZeroU16::new(3).unwrap(), Limits::default(), &configs);
    let mut told = [pipeline, restored.unwrap()].map(|mut pipeline| {
        let mut told = first.clone();
        for _ in 0..4 {
            let tick = Tick { at_nanos: START, elapsed_ms: 1000, sources: Vec::new() };
            told.extend(apply(&mut pipeline, &Record::Tick(tick)));
        }
        told
    });
    assert!(told[0] == told[1], "the same over a restart");
    assert_eq!(told[0].len(), DEVICES);
    assert!(told[0].is_sorted_by_key(|line| {
        serde_json::from_slice::<serde_json::Value>(line).unwrap()["device"]
            .as_str()
            .map(str::to_owned)
    }));
    told[0].dedup();
    assert_eq!(told[0].len(), DEVICES);
}
