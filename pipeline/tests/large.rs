//! Uplinks as large as they may be: what comes of them fits a segment of the outbox.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU16;

use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::outbox::{Entries, EntryKind, OutboxRecord};
use pipeline::record::{ConfigActivated, Record, Uplink};
use pipeline::{ActiveConfig, Bundle, Head, Limits, Pipeline};
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

fn results(profile: &str, topic: &str, payload: &[u8]) -> (OutboxRecord, Pipeline) {
    let file = SourceFile { name: "gateway.toml".to_owned(), text: profile.to_owned() };
    let bundle = Bundle {
        profiles: vec![file],
        rules: Vec::new(),
        registry: None,
        uplinks: vec![Route {
            topic: "{tenant}/{site}/{device}".to_owned(),
            profile: "gateway".to_owned(),
        }],
        unknown: UnknownDevice::Accept,
        identity_memory: 8,
        max_payload: vec![16 << 20],
    };
    let config = ActiveConfig::build(&bundle).unwrap();
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
