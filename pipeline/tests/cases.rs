//! Single cases of the pipeline, each as a person would tell it: readings at times, and what comes of them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU16;
use std::sync::Arc;

use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::outbox::{Entries, EntryKind, OutboxRecord};
use pipeline::record::{
    ConfigActivated, Origin, Record, Redrive, Rejected, RejectedPoint, SourceState, Tick, Uplink,
};
use pipeline::{ActiveConfig, Bundle, Head, Limits, Pipeline, Reason};
use serde_json::Value;
use telemetry::time::IngestTime;

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_763_856_000;

const SOIL: &str = r#"
name = "soil"
domain = "soil"
measurement = "soil"
interval = "1m"
codec = "json"
[time]
path = "ts"
format = "unix_s"
[sequence]
path = "seq"
[[properties]]
name = "moisture"
path = "m"
unit = "m3/m3"
[[properties]]
name = "state"
path = "s"
type = "string"
unit = "1"
required = true
"#;

const GATEWAY: &str = r#"
name = "gateway"
domain = "soil"
measurement = "gateway"
interval = "1m"
codec = "json"
[batch]
path = ""
device = "d"
[time]
path = "ts"
format = "unix_s"
[[properties]]
name = "moisture"
path = "m"
unit = "m3/m3"
"#;

const RULES: [(&str, &str); 3] = [
    ("quiet", "scope = { domain = 'soil' }\nno_data = '3 intervals'"),
    ("gone", "scope = { domain = 'soil' }\nno_data = '10 intervals'"),
    ("lost", "scope = { domain = 'soil' }\nno_data = '20 intervals'"),
];

fn rule(name: &str, body: &str) -> SourceFile {
    let text = format!(
        "name = '{name}'\n{body}\nseverity = 'yellow'\nmessage = {{ zh = '{{device}}', en = '{{device}}' }}\n"
    );
    SourceFile { name: format!("{name}.toml"), text }
}

/// A pipeline, and the clock of the case in seconds since its start.
struct Rig {
    pipeline: Pipeline,
    config: Arc<ActiveConfig>,
    head: Head,
    now: i64,
    /// What came of the last record: kind and text of each entry.
    last: Vec<(EntryKind, String)>,
}

impl Rig {
    fn new(rules: &[&str]) -> Self {
        let wanted = RULES.iter().filter(|(name, _)| rules.contains(name));
        let file = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
        let route =
            |topic: &str, profile: &str| Route { topic: topic.into(), profile: profile.into() };
        let bundle = Bundle {
            profiles: vec![file("soil.toml", SOIL), file("gateway.toml", GATEWAY)],
            rules: wanted.map(|(name, body)| rule(name, body)).collect(),
            registry: None,
            uplinks: vec![route("up/{site}/{device}", "soil"), route("gw/{device}", "gateway")],
            unknown: UnknownDevice::Accept,
            identity_memory: 8,
            max_payload: vec![1 << 20],
        };
        let config = ActiveConfig::build(&bundle).unwrap();
        let pipeline = Pipeline::new(NonZeroU16::MIN, Limits::default());
        let head = Head { position: 0, ordinal: 0 };
        let mut rig = Self { pipeline, config, head, now: 0, last: Vec::new() };
        let hash = rig.config.hash.clone();
        rig.apply(&Record::ConfigActivated(ConfigActivated { at_nanos: rig.at_nanos(), hash }));
        rig.tick(0);
        rig
    }

    fn at_nanos(&self) -> i64 {
        (START + self.now) * SECOND
    }

    fn apply(&mut self, record: &Record<'_>) {
        self.head.position += 1;
        self.head.ordinal += u64::from(matches!(record, Record::Uplink(_)));
        let (mut out, kind) = (OutboxRecord::default(), record.kind().code());
        self.pipeline.apply(self.head, kind, &record.encode(), &self.config, &mut out).unwrap();
        let entries = Entries::of(out.bytes()).into_iter().flatten();
        let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
        self.last = entries.map(|entry| (entry.kind, text(entry.data))).collect();
    }

    fn origin(&self, topic: &str, payload: &str) -> Origin {
        Origin {
            source: 0,
            received_at_nanos: self.at_nanos(),
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            full_len: payload.len() as u64,
        }
    }

    fn uplink(&mut self, topic: &str, payload: &str) -> Origin {
        let origin = self.origin(topic, payload);
        let received_at = IngestTime::from_nanos(origin.received_at_nanos);
        let (payload, full_len) = (payload.as_bytes(), origin.full_len);
        self.apply(&Record::Uplink(Uplink { source: 0, received_at, topic, payload, full_len }));
        origin
    }

    /// A reading of device `d1` at `east`, sampled so many seconds after the start.
    fn reading(&mut self, sampled: i64, rest: &str) -> Origin {
        self.uplink("up/east/d1", &format!(r#"{{"ts":{},"s":"ok"{rest}}}"#, START + sampled))
    }

    fn tick(&mut self, elapsed_s: i64) {
        self.now += elapsed_s;
        let sources = vec![SourceState { source: 0, connected: true, caught_up: true }];
        let elapsed_ms = u64::try_from(elapsed_s).unwrap() * 1000;
        self.apply(&Record::Tick(Tick { at_nanos: self.at_nanos(), elapsed_ms, sources }));
    }

    /// Lets minutes pass, a tick each second; returns the alerts.
    fn pass(&mut self, minutes: i64) -> Vec<Value> {
        let mut alerts = Vec::new();
        for _ in 0..minutes * 60 {
            self.tick(1);
            alerts.extend(self.alerts());
        }
        alerts
    }

    fn alerts(&self) -> Vec<Value> {
        let alerts = self.last.iter().filter(|(kind, _)| *kind == EntryKind::Alert);
        alerts.map(|(_, line)| serde_json::from_str(line).unwrap()).collect()
    }

    fn points(&self) -> Vec<&str> {
        let points = self.last.iter().filter(|(kind, _)| *kind == EntryKind::Point);
        points.map(|(_, line)| line.trim_end()).collect()
    }

    fn restart(&mut self) {
        let snapshot = self.pipeline.snapshot();
        let shards = NonZeroU16::new(3).unwrap();
        self.pipeline =
            Pipeline::restore(&snapshot, shards, Limits::default(), &self.config).unwrap();
    }

    /// Has the store refuse the first entries of the last record, one of each element.
    fn refuse(&mut self, count: u32, origin: &Origin) {
        let point = |index| RejectedPoint {
            position: self.head.position,
            index,
            element: index,
            reason: Reason::TypeConflict as u8,
            detail: "x".to_owned(),
            origin: origin.clone(),
        };
        let points = (0..count).map(point).collect();
        self.apply(&Record::Rejected(Rejected { at_nanos: self.at_nanos(), points }));
    }

    /// Tries the open letters again, the oldest first; returns the points.
    fn redrive(&mut self) -> Vec<String> {
        let letters = self.pipeline.letters().iter();
        let letters: Vec<_> = letters
            .map(|letter| (letter.id(), letter.redrive_element(), (*letter.origin).clone()))
            .collect();
        let mut points = Vec::new();
        for (letter, element, origin) in letters {
            let at_nanos = self.at_nanos();
            self.apply(&Record::Redrive(Redrive { at_nanos, letter, element, origin }));
            points.extend(self.points().iter().map(|point| (*point).to_owned()));
        }
        points
    }
}

fn rules_of(alerts: &[Value]) -> Vec<String> {
    let field = |alert: &Value, name: &str| alert[name].as_str().unwrap().to_owned();
    alerts
        .iter()
        .map(|alert| format!("{} {}", field(alert, "rule"), field(alert, "state")))
        .collect()
}

/// Scenario: a device falls silent, says one more word, and is silent for ever; with a restart in between or without.
/// Guarantees: the second silence is told as well, at the same moment.
#[test]
fn a_silence_after_a_single_word_is_told() {
    let run = |restarts: bool| {
        let mut rig = Rig::new(&["quiet"]);
        rig.reading(0, "");
        let mut alerts = rig.pass(5);
        rig.reading(rig.now, "");
        alerts.extend(rig.alerts());
        if restarts {
            rig.restart();
        }
        alerts.extend(rig.pass(5));
        alerts
    };
    let alerts = run(false);
    assert_eq!(rules_of(&alerts), ["quiet firing", "quiet resolved", "quiet firing"]);
    assert_eq!(run(true), alerts);
}

/// Scenario: two rules of silence; the longer one waits while the shorter one has ended and begins anew.
/// Guarantees: the shorter one is not late for that, and both tell one beginning of one silence.
#[test]
fn a_longer_silence_does_not_hold_up_a_shorter_one() {
    let mut rig = Rig::new(&["quiet", "gone", "lost"]);
    rig.reading(0, "");
    assert_eq!(rules_of(&rig.pass(4)), ["quiet firing"]);
    rig.reading(rig.now, "");
    let spoke = rig.now;
    let alerts = rig.pass(4);
    assert_eq!(rules_of(&alerts), ["quiet firing"]);
    let later = rig.pass(20);
    assert_eq!(rules_of(&later), ["gone firing", "lost firing"]);
    let began = |alert: &Value| alert["began_at"].as_str().unwrap().to_owned();
    let spoke = telemetry::time::EventTime::from_nanos((START + spoke) * SECOND).to_string();
    assert!(alerts.iter().chain(&later).all(|alert| began(alert) == spoke), "{alerts:?} {later:?}");
}

/// Scenario: each silence is ended by a reading that is older than the newest.
/// Guarantees: no two silences have one id.
#[test]
fn silences_ended_by_old_readings_have_ids_of_their_own() {
    let mut rig = Rig::new(&["quiet"]);
    rig.reading(0, "");
    let mut ids = Vec::new();
    for age in 1..=4 {
        let alerts = rig.pass(5);
        assert_eq!(rules_of(&alerts), ["quiet firing"]);
        ids.push(alerts[0]["id"].clone());
        rig.reading(-age * 60, "");
        assert_eq!(rules_of(&rig.alerts()), ["quiet resolved"]);
    }
    let all = ids.len();
    ids.sort_by_key(Value::to_string);
    ids.dedup();
    assert_eq!(ids.len(), all);
}

/// Scenario: a device is first known by a letter that is tried again, when the sources have been alive for hours.
/// Guarantees: it is silent from now on, not since the journal began.
#[test]
fn a_device_known_by_a_redrive_is_not_silent_at_once() {
    let mut rig = Rig::new(&["quiet"]);
    let topic = "up/east/d7";
    let good = format!(r#"{{"ts":{START},"s":"ok"}}"#);
    rig.uplink(topic, "no JSON");
    let (letter, at_nanos) = {
        let mut letters = rig.pass(200);
        assert!(letters.pop().is_none());
        (rig.pipeline.letters().iter().next().unwrap().id(), rig.at_nanos())
    };
    // What could not be read is repaired, as a profile would be.
    let origin = Origin { payload: good.into_bytes(), ..rig.origin(topic, "") };
    let origin = Origin { full_len: origin.payload.len() as u64, ..origin };
    rig.apply(&Record::Redrive(Redrive { at_nanos, letter, element: None, origin }));
    assert_eq!(rig.points().len(), 1);
    assert_eq!(rules_of(&rig.pass(2)), Vec::<String>::new());
    assert_eq!(rules_of(&rig.pass(2)), ["quiet firing"]);
}

/// Scenario: two messages hold the values of one moment; a required one is in the first.
/// Guarantees: the second does not call it missing.
#[test]
fn what_came_before_is_not_missing() {
    let mut rig = Rig::new(&[]);
    rig.reading(0, "");
    rig.uplink("up/east/d1", &format!(r#"{{"ts":{START},"m":0.3}}"#));
    let point = rig.points()[0].to_owned();
    assert!(point.contains("moisture=0.3") && !point.contains("state_flag"), "{point}");
}

/// Scenario: the store refuses a reading without a time, and one of a batch; the letters are tried again.
/// Guarantees: they are points again, each at its own time; letters of a batch name their devices.
#[test]
fn what_is_tried_again_without_a_time_is_a_point_of_its_own() {
    let mut rig = Rig::new(&[]);
    let origin = rig.uplink("up/east/d1", r#"{"s":"ok","m":0.3,"seq":7}"#);
    let first = rig.points()[0].to_owned();
    rig.refuse(1, &origin);
    assert_eq!(rig.redrive(), [first]);

    let origin = rig.uplink("gw/g1", r#"[{"d":"a","m":0.1},{"d":"b","m":0.2},{"d":"a","m":0.3}]"#);
    let points: Vec<String> = rig.points().iter().map(|point| (*point).to_owned()).collect();
    rig.refuse(3, &origin);
    let devices: Vec<String> =
        rig.pipeline.letters().iter().map(|letter| letter.device.clone()).collect();
    assert_eq!(devices, ["a", "b", "a"]);
    let times = |points: &[String]| -> Vec<String> {
        points.iter().map(|point| point.rsplit(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(times(&rig.redrive()), times(&points));
}
