//! `--journal`: the data folder of a service.

use std::num::NonZeroU16;
use std::sync::Arc;

use ingest::engine::bundles::Bundles;
use ingest::engine::layout::Layout;
use ingest::engine::recovery::keep_snapshot;
use journal::{Appended, Disk, Log, LogOptions, RealDisk};
use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::record::{ConfigActivated, Record, SourceState, Started, Tick, Uplink};
use pipeline::{ActiveConfig, Bundle, Entries, EntryKind, Head, Limits, OutboxRecord, Pipeline};
use telemetry::time::IngestTime;

use super::farm::Farm;

const START: i64 = 1_767_225_600_000_000_000;

/// A service in small: the journal's writer, and the pipeline with what came out of it.
struct Service {
    layout: Layout,
    log: Log,
    bundles: Bundles,
    pipeline: Pipeline,
    ordinal: u64,
    position: u64,
    points: String,
    alerts: String,
    dead: String,
}

impl Service {
    fn start(farm: &Farm) -> Self {
        Self::start_after(farm, 0)
    }

    /// Starts with a journal whose records up to `position` are gone.
    fn start_after(farm: &Farm, position: u64) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let layout = Layout::new(farm.path().join("data"));
        for dir in [layout.journal(), layout.snapshots(), layout.bundles()] {
            disk.create_dir_all(&dir).unwrap();
        }
        let options = LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() };
        let (log, _) = Log::open(Arc::clone(&disk), &layout.journal(), options).unwrap();
        let bundles = Bundles::new(disk, layout.bundles());
        let pipeline = Pipeline::new(NonZeroU16::MIN, Limits::default());
        let mut service = Self {
            layout,
            log,
            bundles,
            pipeline,
            ordinal: 0,
            position,
            points: String::new(),
            alerts: String::new(),
            dead: String::new(),
        };
        service.append(&Record::Started(Started { at_nanos: START, version: "0.1.0".to_owned() }));
        let file = |name: &str| SourceFile { name: name.to_owned(), text: farm.text(name) };
        let bundle = Bundle {
            profiles: vec![file("profiles/soil.toml")],
            rules: vec![file("rules/silent.toml")],
            registry: None,
            uplinks: vec![Route { topic: "up/{device}".to_owned(), profile: "soil".to_owned() }],
            unknown: UnknownDevice::Accept,
            identity_memory: 32,
            max_payload: vec![1 << 20],
        };
        let hash = service.bundles.keep(&bundle, ActiveConfig::build(&bundle).unwrap()).unwrap();
        service.append(&Record::ConfigActivated(ConfigActivated { at_nanos: START, hash }));
        service
    }

    fn append(&mut self, record: &Record<'_>) {
        self.position += 1;
        self.ordinal += u64::from(matches!(record, Record::Uplink(_)));
        let payload = record.encode();
        let (kind, position, ordinal) = (record.kind().code(), self.position, self.ordinal);
        self.log.append(Appended { kind, position, ordinal, payload: &payload }).unwrap();
        self.log.sync().unwrap();
        let mut out = OutboxRecord::default();
        let head = Head { position, ordinal };
        self.pipeline.apply(head, kind, &payload, &self.bundles, &mut out).unwrap();
        for entry in Entries::of(out.bytes()).unwrap() {
            let line = format!("{}\n", std::str::from_utf8(entry.data).unwrap().trim_end());
            match entry.kind {
                EntryKind::Point => self.points.push_str(&line),
                EntryKind::Alert => self.alerts.push_str(&line),
                EntryKind::DeadReading | EntryKind::DeadUplink => self.dead.push_str(&line),
                EntryKind::Duplicate | EntryKind::StoreLetter => {}
            }
        }
    }

    /// A minute with an uplink of each device, and the tick at its end.
    fn minute(&mut self, minute: i64, uplinks: &[(&str, &str)]) {
        let at = START + minute * 60_000_000_000;
        let sources = vec![SourceState { source: 0, connected: true, caught_up: true }];
        self.append(&Record::Tick(Tick { at_nanos: at, elapsed_ms: 60_000, sources }));
        for (device, payload) in uplinks {
            let (topic, payload) = (format!("up/{device}"), payload.as_bytes());
            let received_at = IngestTime::from_nanos(at);
            let full_len = u64::try_from(payload.len()).unwrap();
            self.append(&Record::Uplink(Uplink {
                source: 0,
                received_at,
                topic: &topic,
                payload,
                full_len,
            }));
        }
    }

    fn busy(farm: &Farm) -> Self {
        let mut service = Self::start(farm);
        service.minutes(0..6);
        service
    }

    fn busy_for_long(farm: &Farm) -> Self {
        let mut service = Self::start_after(farm, 100);
        service.minutes(0..6);
        service
    }

    fn minutes(&mut self, minutes: std::ops::Range<i64>) {
        for minute in minutes {
            let body =
                |wet: i64| format!("{{\"at\":\"2026-01-01T00:{minute:02}:00Z\",\"w\":{wet}}}");
            let (a, b) = (body(10 + minute), body(30));
            self.minute(minute, &[("b", &b), ("b", &b), ("a", &a), ("x", "not json")]);
        }
    }

    fn snapshot(&self) {
        let (head, body) = (self.pipeline.snapshot_head(), self.pipeline.snapshot());
        keep_snapshot(&RealDisk, &self.layout, &head, &body).unwrap();
    }
}

/// Scenario: the writer still holds its log; no snapshot is kept.
/// Guarantees: every result of the service, byte for byte.
#[test]
fn a_journal_gives_what_the_service_gave_while_it_runs() {
    let farm = Farm::new();
    let service = Service::busy(&farm);
    let replayed = farm.replay("--journal data", "out");
    assert_eq!((&replayed.points, &replayed.alerts), (&service.points, &service.alerts));
    assert_eq!(replayed.dead, service.dead);
    let of = |name| replayed.count("readings", name);
    assert_eq!([of("decoded"), of("stored"), of("dead"), of("duplicate")], [18, 12, 0, 6]);
    let of = |name| replayed.count("uplinks", name);
    assert_eq!([of("received"), of("decoded"), of("dead"), of("lost")], [24, 18, 6, 0]);
    assert_eq!(farm.replay("--journal data", "again"), replayed);
}

/// Scenario: the journal's first records are cut already.
#[test]
fn a_snapshot_is_where_it_begins() {
    let farm = Farm::new();
    let mut service = Service::busy_for_long(&farm);
    service.snapshot();
    let before = (service.points.len(), service.alerts.len(), service.dead.len());
    service.minutes(6..9);
    service.snapshot();
    service.minutes(9..10);
    let replayed = farm.replay("--journal data", "out");
    assert_eq!(replayed.points, service.points.split_at(before.0).1);
    assert_eq!(replayed.alerts, service.alerts.split_at(before.1).1);
    assert_eq!(replayed.dead, service.dead.split_at(before.2).1);
    assert_eq!(replayed.count("readings", "decoded"), 12);
}

/// Guarantees: other rules judge what the journal holds, from nothing; points stay as they were.
#[test]
fn other_rules_judge_the_same_readings() {
    let farm = Farm::new();
    let mut service = Service::busy_for_long(&farm);
    farm.write("other/dry.toml", farm.text("rules/dry.toml").replace("0.12", "0.14"));
    let replayed = farm.replay("--journal data --rules other", "out");
    let expected = ["dry a firing 2026-01-01T00:00:00Z", "dry a resolved 2026-01-01T00:04:00Z"];
    assert_eq!(replayed.transitions(), expected);
    assert_eq!(replayed.points, service.points);
    service.snapshot();
    let before = service.points.len();
    service.minutes(6..7);
    farm.edit("other/dry.toml", "0.14", "0.17");
    let after = farm.replay("--journal data --rules other", "after");
    assert_eq!(after.transitions(), ["dry a firing 2026-01-01T00:06:00Z"]);
    assert_eq!(after.points, service.points.split_at(before).1);
    let of = |name| after.count("uplinks", name);
    assert_eq!([of("received"), of("decoded"), of("dead"), of("lost")], [4, 3, 1, 0]);
    farm.edit("other/dry.toml", "wet <", "wett <");
    let refused = farm.run("--journal data --rules other");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("did you mean `wet`?"));
}
