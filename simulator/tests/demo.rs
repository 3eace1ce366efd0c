//! The scenario `demo` through the real pipeline, with the profiles and rules of the packs.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::letter::LetterLimits;
use pipeline::record::{ConfigActivated, Record, SourceState, Tick, Uplink};
use pipeline::{ActiveConfig, Bundle, Entries, EntryKind, Head, Limits};
use pipeline::{OutboxRecord, Pipeline};
use serde_json::Value;
use simulator::{Fleet, Scenario};
use telemetry::time::{EventTime, IngestTime, parse_rfc3339};

const LIMITS: Limits = Limits {
    letters: LetterLimits { bytes_max: 1 << 20, device_bytes_max: 1 << 16 },
    devices_max: Limits::DEVICES_MAX,
};

fn pack(folder: &str) -> Vec<SourceFile> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs").join(folder);
    let mut paths: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| SourceFile {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        text: std::fs::read_to_string(path).unwrap(),
    };
    paths.iter().map(read).collect()
}

/// What became of a run: alert lines, points, and how many readings were not plain points.
#[derive(Debug, Default)]
struct Run {
    alerts: Vec<Value>,
    points: usize,
    flagged: Vec<String>,
    letters: Vec<String>,
}

struct Player {
    pipeline: Pipeline,
    config: Arc<ActiveConfig>,
    head: Head,
    out: OutboxRecord,
    run: Run,
}

impl Player {
    fn new(fleet: &Fleet) -> Self {
        let registry = SourceFile { name: "devices.csv".to_owned(), text: fleet.registry_csv() };
        let bundle = Bundle {
            profiles: pack("profiles"),
            rules: ["soil", "traffic", "air"]
                .iter()
                .flat_map(|domain| pack(&format!("rules/{domain}")))
                .collect(),
            registry: Some(registry),
            uplinks: vec![Route {
                topic: "tianlu/v1/{tenant}/{site}/{device}/up".to_owned(),
                profile: "soil-5in1".to_owned(),
            }],
            unknown: UnknownDevice::Quarantine,
            identity_memory: 32,
            max_payload: vec![1 << 18],
        };
        let config = ActiveConfig::build(&bundle).unwrap();
        let pipeline = Pipeline::new(NonZeroU16::MIN, LIMITS);
        let head = Head { position: 0, ordinal: 0 };
        Self { pipeline, config, head, out: OutboxRecord::default(), run: Run::default() }
    }

    fn apply(&mut self, record: &Record<'_>) {
        self.head.position += 1;
        self.head.ordinal += u64::from(matches!(record, Record::Uplink(_)));
        let (kind, payload) = (record.kind().code(), record.encode());
        self.pipeline.apply(self.head, kind, &payload, &self.config, &mut self.out).unwrap();
        for entry in Entries::of(self.out.bytes()).unwrap() {
            let text = || String::from_utf8(entry.data.to_vec()).unwrap();
            match entry.kind {
                EntryKind::Point => {
                    self.run.points += 1;
                    if text().contains("_flag=") {
                        self.run.flagged.push(text());
                    }
                }
                EntryKind::Alert => self.run.alerts.push(serde_json::from_str(&text()).unwrap()),
                EntryKind::DeadReading
                | EntryKind::Duplicate
                | EntryKind::DeadUplink
                | EntryKind::StoreLetter => self.run.letters.push(text()),
            }
        }
    }
}

/// Plays a fleet from its start on.
fn play(fleet: &Fleet, to: EventTime) -> Run {
    let mut player = Player::new(fleet);
    let start = fleet.start();
    let hash = player.config.hash.clone();
    player.apply(&Record::ConfigActivated(ConfigActivated { at_nanos: start.as_nanos(), hash }));
    let mut last = None;
    let devices: Vec<_> = fleet.devices().collect();
    for (at, device) in fleet.schedule(start, to) {
        if last != Some(at) {
            let elapsed_ms =
                last.map_or(0, |last| u64::try_from(at.since(last).as_millis()).unwrap());
            let sources = vec![SourceState { source: 0, connected: true, caught_up: true }];
            player.apply(&Record::Tick(Tick { at_nanos: at.as_nanos(), elapsed_ms, sources }));
            last = Some(at);
        }
        let known = &devices[usize::try_from(device).unwrap()];
        let topic = format!("tianlu/v1/{}/{}/{}/up", known.tenant, known.site, known.device);
        let payload = fleet.uplink(device, at);
        player.apply(&Record::Uplink(Uplink {
            source: 0,
            received_at: IngestTime::from_nanos(at.as_nanos()),
            topic: &topic,
            payload: &payload,
            full_len: u64::try_from(payload.len()).unwrap(),
        }));
    }
    player.run
}

fn demo(seed: u64, start: &str) -> Fleet {
    let scenario = Scenario::named("demo").unwrap();
    Fleet::new(&scenario, seed, parse_rfc3339(start).unwrap(), None).unwrap()
}

fn hours(fleet: &Fleet, hours: u64) -> EventTime {
    fleet.start().plus(Duration::from_hours(hours))
}

/// Scenario: 24 h of the demo, seeds 1 to 8, each begun at another hour of another day of the week and season.
/// Guarantees: soil, road and air each raise and resolve an alert; no value is out of its range, no reading is lost.
#[test]
fn a_day_raises_and_resolves_alerts_in_each_domain() {
    let starts = [
        "2026-01-05T00:00:00Z",
        "2026-02-14T03:00:00Z",
        "2026-04-01T07:00:00Z",
        "2026-05-24T11:00:00Z",
        "2026-07-18T13:00:00Z",
        "2026-08-30T16:00:00Z",
        "2026-10-08T19:00:00Z",
        "2026-12-27T22:00:00Z",
    ];
    for (seed, start) in (1..).zip(starts) {
        let fleet = demo(seed, start);
        let to = hours(&fleet, 24);
        let run = play(&fleet, to);
        assert_eq!(run.letters, [] as [&str; 0], "seed {seed}");
        assert_eq!(run.flagged, [] as [&str; 0], "seed {seed}");
        assert_eq!(u64::try_from(run.points).unwrap(), fleet.uplinks(fleet.start(), to));
        let devices: BTreeMap<String, &str> =
            fleet.devices().map(|device| (device.device, device.kind)).collect();
        let mut over: BTreeMap<&str, usize> = BTreeMap::new();
        for alert in run.alerts.iter().filter(|alert| alert["state"] == "resolved") {
            *over.entry(devices[alert["device"].as_str().unwrap()]).or_default() += 1;
        }
        let rules: BTreeSet<&str> =
            run.alerts.iter().filter_map(|one| one["rule"].as_str()).collect();
        for kind in ["soil", "road", "air"] {
            assert!(
                over.get(kind).is_some_and(|count| *count > 0),
                "seed {seed} {kind}: {over:?} {rules:?}"
            );
        }
        // Traffic keeps a watcher busy, and nobody takes it for a broken detector.
        assert!(over["road"] >= 20, "seed {seed}: {over:?}");
        assert!(
            !rules.iter().any(|rule| rule.starts_with("detector-") || rule.ends_with("no-data")),
            "{rules:?}"
        );
    }
}

/// Scenario: the same demo twice, its history ending at different times; from there on a reading each five seconds.
/// Guarantees: the same alerts up to the same simulated time, but for `received_at`; sequence numbers have no gap.
#[test]
fn alerts_do_not_depend_on_when_now_is() {
    let fleet = demo(7, "2026-03-02T04:00:00Z");
    let to = hours(&fleet, 8);
    let told = |live: u64| {
        let now = hours(&fleet, live).plus(Duration::from_millis(427_300));
        let fleet = fleet.clone().live(now, Duration::from_secs(5));
        let run = play(&fleet, to);
        assert_eq!(run.letters, [] as [&str; 0]);
        assert_eq!(u64::try_from(run.points).unwrap(), fleet.uplinks(fleet.start(), to));
        let lines = run.alerts.into_iter().map(|mut alert| {
            alert.as_object_mut().unwrap().remove("received_at");
            alert.to_string()
        });
        lines.collect::<Vec<String>>()
    };
    let (early, late) = (told(6), told(7));
    assert!(early.len() > 10, "{}", early.len());
    assert_eq!(early, late);
}
