//! Single cases of the pipeline, each as a person would tell it: readings at times, and what comes of them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU16;
use std::sync::Arc;

use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::letter::Letter;
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

const TABLE: &str = r#"
name = "table"
domain = "soil"
measurement = "table"
interval = "1m"
codec = "csv"
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
        Self::with(rules, None)
    }

    fn with(rules: &[&str], registry: Option<&str>) -> Self {
        let wanted = RULES.iter().filter(|(name, _)| rules.contains(name));
        let file = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
        let route =
            |topic: &str, profile: &str| Route { topic: topic.into(), profile: profile.into() };
        let bundle = Bundle {
            profiles: vec![
                file("soil.toml", SOIL),
                file("gateway.toml", GATEWAY),
                file("table.toml", TABLE),
            ],
            rules: wanted.map(|(name, body)| rule(name, body)).collect(),
            registry: registry.map(|text| file("devices.csv", text)),
            uplinks: vec![
                route("up/{site}/{device}", "soil"),
                route("gw/{device}", "gateway"),
                route("csv/{device}", "table"),
            ],
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

    fn points(&self) -> Vec<String> {
        let points = self.last.iter().filter(|(kind, _)| *kind == EntryKind::Point);
        points.map(|(_, line)| line.trim_end().to_owned()).collect()
    }

    fn restart(&mut self) {
        self.pipeline = self.restored(3, Limits::default());
    }

    fn restored(&self, shards: u16, limits: Limits) -> Pipeline {
        let (snapshot, shards) = (self.pipeline.snapshot(), NonZeroU16::new(shards).unwrap());
        Pipeline::restore(&snapshot, shards, limits, &self.config).unwrap()
    }

    /// Has the store refuse the first entries of the last record, one of each element.
    fn refuse(&mut self, count: u32, origin: &Origin) {
        let point = |index| RejectedPoint {
            position: self.head.position,
            index,
            element: index,
            reason: Reason::TypeConflict as u8,
            detail: "x".to_owned(),
            // Those of one uplink bring it once.
            origin: if index == 0 { origin.clone() } else { Origin::default() },
        };
        let points = (0..count).map(point).collect();
        self.apply(&Record::Rejected(Rejected { at_nanos: self.at_nanos(), points }));
    }

    /// Tries the open letters again, the oldest first; returns the points.
    fn redrive(&mut self) -> Vec<String> {
        self.redrive_as(None)
    }

    /// As [`Rig::redrive`], with another payload than the letters have.
    fn redrive_as(&mut self, payload: Option<&str>) -> Vec<String> {
        let origin = |letter: &Letter| {
            let origin = (*letter.origin).clone();
            payload.map_or(origin.clone(), |payload| Origin {
                payload: payload.as_bytes().to_vec(),
                full_len: payload.len() as u64,
                ..origin
            })
        };
        let letters = self.pipeline.letters().iter();
        let letters: Vec<_> =
            letters.map(|letter| (letter.id(), letter.redrive_element(), origin(letter))).collect();
        let mut points = Vec::new();
        for (letter, element, origin) in letters {
            let at_nanos = self.at_nanos();
            self.apply(&Record::Redrive(Redrive { at_nanos, letter, element, origin }));
            points.extend(self.points());
        }
        points
    }
}

/// Returns when points are, in nanoseconds since the start.
fn times_of(points: &[String]) -> Vec<i64> {
    let time = |point: &String| point.rsplit(' ').next().unwrap().parse::<i64>().unwrap();
    points.iter().map(|point| time(point) - START * SECOND).collect()
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
    let point = &rig.points()[0];
    assert!(point.contains("moisture=0.3") && !point.contains("state_flag"), "{point}");
}

/// Scenario: the store refuses a reading without a time, and one of a batch; the letters are tried again.
/// Guarantees: they are points again, each at its own time; letters of a batch name their devices.
#[test]
fn what_is_tried_again_without_a_time_is_a_point_of_its_own() {
    let mut rig = Rig::new(&[]);
    let origin = rig.uplink("up/east/d1", r#"{"s":"ok","m":0.3,"seq":7}"#);
    let first = rig.points();
    rig.refuse(1, &origin);
    assert_eq!(rig.redrive(), first);

    let origin = rig.uplink("gw/g1", r#"[{"d":"a","m":0.1},{"d":"b","m":0.2},{"d":"a","m":0.3}]"#);
    let points = rig.points();
    rig.refuse(3, &origin);
    let devices: Vec<String> =
        rig.pipeline.letters().iter().map(|letter| letter.device.clone()).collect();
    assert_eq!(devices, ["a", "b", "a"]);
    assert_eq!(times_of(&rig.redrive()), times_of(&points));
}

/// Scenario: readings with a time and without in one batch; one that names the topic's own device, and one that names
/// none. The store refuses them, and they are tried again.
/// Guarantees: without a time a point stands at its place in the payload among those of its device, both times.
#[test]
fn points_without_a_time_stand_in_the_order_of_the_payload() {
    let old = format!(r#"{{"d":"a","ts":{},"m":0.3}}"#, START - 60);
    let mixed = format!(r#"[{{"d":"a","m":0.1}},{{"d":"a","m":0.2}},{old}]"#);
    let unnamed = r#"[{"m":0.1},{"d":"g1","m":0.2},{"d":"b","m":0.3}]"#;
    let mut rig = Rig::new(&[]);
    for (payload, times) in [(mixed.as_str(), [0, 1, -60 * SECOND]), (unnamed, [0, 1, 0])] {
        let origin = rig.uplink("gw/g1", payload);
        assert_eq!(times_of(&rig.points()), times);
        rig.refuse(3, &origin);
        assert_eq!(times_of(&rig.redrive()), times);
    }
}

/// Scenario: a value in time, a newer one, then the first once more beside a value that is new.
/// Guarantees: what was in time is not called late; the point has what is new.
#[test]
fn what_is_told_again_beside_news_is_not_late() {
    let mut rig = Rig::new(&[]);
    let topic = "up/east/d1";
    rig.uplink(topic, &format!(r#"{{"ts":{START},"m":0.1}}"#));
    rig.uplink(topic, &format!(r#"{{"ts":{},"m":0.2}}"#, START + 60));
    rig.uplink(topic, &format!(r#"{{"ts":{START},"m":0.1,"s":"ok"}}"#));
    let point = &rig.points()[0];
    assert!(point.contains(r#"state="ok""#) && !point.contains("moisture"), "{point}");
    assert!(!point.contains("late"), "{point}");
    assert_eq!(rig.pipeline.account().late, 0);
}

/// Scenario: the store refuses a value; it is tried again beside a new one, when a newer value has come.
/// Guarantees: the point has both, since the store has neither.
#[test]
fn what_the_store_refused_is_told_whole() {
    let mut rig = Rig::new(&[]);
    let topic = "up/east/d1";
    let origin = rig.uplink(topic, &format!(r#"{{"ts":{START},"m":0.1}}"#));
    rig.refuse(1, &origin);
    rig.uplink(topic, &format!(r#"{{"ts":{},"m":0.2}}"#, START + 60));
    let at_nanos = rig.at_nanos();
    let letter = rig.pipeline.letters().iter().next().unwrap().id();
    let origin = rig.origin(topic, &format!(r#"{{"ts":{START},"m":0.1,"s":"ok"}}"#));
    rig.apply(&Record::Redrive(Redrive { at_nanos, letter, element: Some(0), origin }));
    let point = &rig.points()[0];
    assert!(point.contains("moisture=0.1") && point.contains(r#"state="ok""#), "{point}");
}

/// Scenario: the store refuses a point, and points of a batch; they are tried again with a payload that nobody can
/// read, and with the right one after it.
/// Guarantees: a letter that fails again stands for the same, and nothing is lost on the way.
#[test]
fn what_fails_again_stands_for_the_same() {
    let mut rig = Rig::new(&[]);
    for (topic, payload, count) in [
        ("up/east/d1", r#"{"s":"ok","m":0.3,"seq":7}"#, 1),
        ("gw/g1", r#"[{"d":"a","m":0.1},{"d":"b","m":0.2},{"d":"a","m":0.3}]"#, 3),
    ] {
        let origin = rig.uplink(topic, payload);
        let points = rig.points();
        rig.refuse(count, &origin);
        assert_eq!(rig.redrive_as(Some("no JSON")), [""; 0]);
        let again = rig.redrive_as(Some(payload));
        // A newer value of its device has come meanwhile.
        let in_time = again.iter().map(|point| point.replace(r#",moisture_flag="late""#, ""));
        assert_eq!(in_time.collect::<Vec<_>>(), points);
        assert!(rig.pipeline.letters().is_empty() && rig.pipeline.account().balances());
    }
}

/// Scenario: a letter is tried again while its payload is larger than may be.
/// Guarantees: the payload stays whole, so that it can be taken once the bound is raised.
#[test]
fn what_is_too_large_when_it_is_tried_again_stays_whole() {
    let mut rig = Rig::new(&[]);
    rig.uplink("up/east/d1", "no JSON");
    let large = format!(r#"{{"s":"ok"{}}}"#, " ".repeat(1 << 20));
    rig.redrive_as(Some(&large));
    let letter = rig.pipeline.letters().iter().next().unwrap();
    assert_eq!((letter.reason, letter.origin.payload.len()), (Reason::TooLarge, large.len()));
}

/// Scenario: a device is heard over one source of two, which a new configuration has no more.
/// Guarantees: it is told silent, unless it comes over another.
#[test]
fn a_device_that_did_not_move_to_another_source_is_silent() {
    let mut rig = Rig::new(&["quiet"]);
    let both = |source| SourceState { source, connected: true, caught_up: true };
    let (at_nanos, sources) = (rig.at_nanos(), vec![both(0), both(1)]);
    rig.apply(&Record::Tick(Tick { at_nanos, elapsed_ms: 0, sources }));
    for device in ["stays", "moves"] {
        let payload = format!(r#"{{"ts":{START},"s":"ok"}}"#);
        rig.apply(&Record::Uplink(Uplink {
            source: 1,
            received_at: IngestTime::from_nanos(rig.at_nanos()),
            topic: &format!("up/east/{device}"),
            payload: payload.as_bytes(),
            full_len: payload.len() as u64,
        }));
    }
    rig.pass(1);
    let mut alerts = Vec::new();
    for minute in 1..5 {
        let payload = format!(r#"{{"ts":{},"s":"ok"}}"#, START + minute * 60);
        rig.uplink("up/east/moves", &payload);
        alerts.extend(rig.pass(1));
    }
    let silent: Vec<_> = alerts.iter().map(|alert| alert["device"].as_str().unwrap()).collect();
    assert_eq!(silent, ["stays"]);
}

/// Scenario: a device falls silent in two measurements within one tick; with a restart before it or without.
/// Guarantees: the same alerts in the same order.
#[test]
fn silences_of_one_device_have_one_order() {
    let run = |restarts: bool| {
        let mut rig = Rig::new(&["quiet"]);
        rig.reading(0, "");
        rig.uplink("gw/g1", r#"[{"d":"d1","m":0.1}]"#);
        rig.tick(1);
        rig.reading(1, "");
        if restarts {
            rig.restart();
        }
        rig.tick(178);
        assert!(rig.alerts().is_empty());
        rig.tick(2);
        rig.alerts()
    };
    let alerts = run(false);
    assert_eq!(alerts.len(), 2);
    assert_eq!(run(true), alerts);
}

/// Scenario: a device is silent in two measurements since one moment, so that both alerts have one id; then it is
/// heard in the one, later in the other.
/// Guarantees: the alert stands as long as one of them is silent, whatever the restarts.
#[test]
fn an_alert_of_two_measurements_stands_until_both_are_over() {
    for restarts in [false, true] {
        let mut rig = Rig::new(&["quiet"]);
        rig.reading(0, "");
        rig.uplink("gw/g1", r#"[{"d":"d1","m":0.1}]"#);
        let alerts = rig.pass(4);
        assert_eq!(rules_of(&alerts), ["quiet firing", "quiet firing"]);
        assert_eq!(alerts[0]["id"], alerts[1]["id"]);
        let standing = |rig: &mut Rig| {
            if restarts {
                rig.restart();
            }
            rig.pipeline.firing().len()
        };
        assert_eq!(standing(&mut rig), 1);
        rig.reading(rig.now, "");
        assert_eq!(standing(&mut rig), 1);
        rig.uplink("gw/g1", r#"[{"d":"d1","m":0.1}]"#);
        assert_eq!(standing(&mut rig), 0);
    }
}

/// Scenario: the store refuses rows of a table, whose profile has no `[batch]`, and readings of a gateway that has its
/// profile from the registry.
/// Guarantees: their letters name element and device.
#[test]
fn letters_of_refused_points_name_element_and_device() {
    let registry = "tenant,device,profile\ndefault,g1,gateway\n";
    let mut rig = Rig::with(&[], Some(registry));
    for (topic, payload, devices) in [
        ("csv/t1", "m\n0.1\n0.2\n", ["t1", "t1"]),
        ("up/east/g1", r#"[{"d":"a","m":0.1},{"d":"b","m":0.2}]"#, ["a", "b"]),
    ] {
        let origin = rig.uplink(topic, payload);
        assert_eq!(rig.points().len(), 2);
        rig.refuse(2, &origin);
        for (element, ((kind, line), device)) in rig.last.iter().zip(devices).enumerate() {
            let letter: Value = serde_json::from_str(line).unwrap();
            assert_eq!(*kind, EntryKind::StoreLetter);
            assert_eq!(letter["element"], element);
            assert_eq!(letter["device"], device);
        }
        assert_eq!(rig.last.len(), 2);
    }
}

/// Scenario: names are made up beyond what the table of devices holds; then one comes that the registry names.
/// Guarantees: what is beyond is set aside, devices that are known go on, a registered one is taken; the same bytes
/// with one shard and with three.
#[test]
fn a_full_table_of_devices_takes_registered_ones_only() {
    let registry = "tenant,device,profile\ndefault,g1,gateway\ndefault,r1,\n";
    let run = |shards: u16| {
        let mut rig = Rig::with(&[], Some(registry));
        rig.pipeline = rig.restored(shards, Limits { devices_max: 3, ..Limits::default() });
        let mut all = Vec::new();
        for device in ["x", "y", "z", "x", "r1", "z", "y"] {
            rig.uplink(&format!("up/east/{device}"), r#"{"m":0.1}"#);
            all.append(&mut rig.last);
        }
        assert_eq!(rig.pipeline.account().readings_dead.of(Reason::UnknownDevice), 2);
        all
    };
    let all = run(1);
    let kinds: Vec<EntryKind> = all.iter().map(|(kind, _)| *kind).collect();
    let (point, dead) = (EntryKind::Point, EntryKind::DeadReading);
    assert_eq!(kinds, [point, point, dead, point, point, dead, point]);
    assert!(all[2].1.contains("the table of devices is full"), "{}", all[2].1);
    assert_eq!(run(3), all);
}
