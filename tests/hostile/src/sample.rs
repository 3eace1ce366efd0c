//! The profiles, rules and state that targets decode with.

use std::num::NonZeroU16;
use std::sync::{Arc, LazyLock};

use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::record::{ConfigActivated, Record, SourceState, Tick, Uplink};
use pipeline::{ActiveConfig, Bundle, ConfigSource, Head, Limits, OutboxRecord, Pipeline};
use telemetry::document::Problems;
use telemetry::profile::Profile;
use telemetry::time::IngestTime;

/// Every kind of property, a path, a conversion, a batch, a tag; `{codec}` and `{paths}` are filled in.
const EVERYTHING: &str = r#"
name = "everything"
domain = "air"
measurement = "every, thing"
interval = "1h"
codec = "{codec}"
tags = ["depth"]
[sequence]
path = "seq"
[time]
path = "ts"
format = "unix_ms"
[[properties]]
name = "wet"
path = "{wet}"
unit = "m3/m3"
range = [0.0, 0.6]
{convert}
[[properties]]
name = "count"
path = "count"
type = "int"
unit = "1"
range = [-5, 1000]
[[properties]]
name = "on"
path = "on"
type = "bool"
unit = "1"
required = true
[[properties]]
name = "note"
path = "note"
type = "string"
unit = "1"
"#;

/// An array under a path, each element of a device of its own.
const BATCH: &str = "[batch]\npath = \"readings\"\ndevice = \"device\"\n";
/// The payload is the array.
const WHOLE: &str = "[batch]\npath = \"\"\ndevice = \"device\"\n";

/// Fills in the profile with all kinds of properties.
fn everything(codec: &str, batch: &str, has_paths: bool) -> String {
    let (wet, convert) =
        if has_paths { ("a.b[1].wet", "convert = { from = \"%\" }") } else { ("wet", "") };
    let text = EVERYTHING.replace("{codec}", codec).replace("{wet}", wet);
    text.replace("{convert}", convert) + batch
}

pub(crate) fn parsed(text: &str) -> Profile {
    let problems = Problems::default();
    let profile = Profile::parse("sample.toml", text, &problems);
    let found: Vec<String> = problems.take().iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{found:#?}");
    profile.expect("a profile without a problem")
}

/// Two of the packs, and all kinds of properties alone and in a batch.
pub(crate) static JSON: LazyLock<[Profile; 4]> = LazyLock::new(|| {
    [
        parsed(SOIL),
        parsed(AIR),
        parsed(&everything("json", "", true)),
        parsed(&everything("json", BATCH, true)),
    ]
});
pub(crate) static FRAME: LazyLock<[Profile; 2]> = LazyLock::new(|| {
    [parsed(&everything("frame", "", false)), parsed(&everything("frame", WHOLE, false))]
});
pub(crate) static CSV: LazyLock<Profile> =
    LazyLock::new(|| parsed(&everything("csv", WHOLE, false)));
pub(crate) static LINES: LazyLock<Profile> = LazyLock::new(|| {
    // Times of our own points.
    parsed(&everything("line_protocol", WHOLE, false).replace("unix_ms", "unix_ns"))
});
/// The same again without a batch: what a mapping is bound to.
pub(crate) static MAPPED: LazyLock<Profile> =
    LazyLock::new(|| parsed(&everything("json", "", false)));

pub(crate) const SOIL: &str = include_str!("../../../packs/profiles/soil-5in1.toml");
pub(crate) const AIR: &str = include_str!("../../../packs/profiles/air-station.toml");
const DROUGHT: &str = include_str!("../../../packs/rules/soil/soil-drought-severe.toml");
const SILENT: &str = include_str!("../../../packs/rules/soil/soil-no-data.toml");
const REGISTRY: &str = include_str!("../../../deploy/compose/devices.csv");

/// The configuration that every hash names here.
#[derive(Debug)]
pub(crate) struct OneConfig(pub(crate) Arc<ActiveConfig>);

impl ConfigSource for OneConfig {
    fn load(&self, _hash: &str) -> Option<Arc<ActiveConfig>> {
        Some(Arc::clone(&self.0))
    }
}

pub(crate) static CONFIG: LazyLock<OneConfig> = LazyLock::new(|| {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let route =
        |topic: &str, profile: &str| Route { topic: topic.to_owned(), profile: profile.to_owned() };
    let registry = REGISTRY.replace("traffic-detector", "everything");
    let bundle = Bundle {
        profiles: vec![
            file("soil.toml", SOIL),
            file("air.toml", AIR),
            file("everything.toml", &everything("json", BATCH, true)),
        ],
        rules: vec![file("drought.toml", DROUGHT), file("silent.toml", SILENT)],
        registry: Some(file("devices.csv", &registry)),
        uplinks: vec![route("b/{tenant}/{device}", "everything"), route("s/{device}", "soil-5in1")],
        unknown: UnknownDevice::Accept,
        identity_memory: 4,
        max_payload: vec![4096],
    };
    OneConfig(ActiveConfig::build(&bundle).expect("the sample configuration is good"))
});

/// Where the time of these samples begins, nanoseconds.
const START: i64 = 1_763_856_000_000_000_000;
const MINUTE: i64 = 60_000_000_000;

/// Applies records one after another, as the engine does.
pub(crate) struct Applied {
    pub(crate) pipeline: Pipeline,
    pub(crate) out: OutboxRecord,
    head: Head,
}

impl Applied {
    pub(crate) fn new(shards: u16) -> Self {
        let shards = NonZeroU16::new(shards).expect("at least one shard");
        let pipeline = Pipeline::new(shards, Limits::default());
        let mut applied =
            Self { pipeline, out: OutboxRecord::default(), head: Head { position: 0, ordinal: 0 } };
        let state = SourceState { source: 0, connected: true, caught_up: true };
        let hash = CONFIG.0.hash.clone();
        applied.apply(&Record::ConfigActivated(ConfigActivated { at_nanos: START, hash }));
        applied.tick(0, vec![state]);
        applied
    }

    pub(crate) fn apply(&mut self, record: &Record<'_>) {
        self.head.position += 1;
        self.head.ordinal += u64::from(matches!(record, Record::Uplink(_)));
        let (kind, payload) = (record.kind().code(), record.encode());
        let done = self.pipeline.apply(self.head, kind, &payload, &*CONFIG, &mut self.out);
        done.expect("a record of this version, with its configuration");
    }

    pub(crate) fn tick(&mut self, minutes: i64, sources: Vec<SourceState>) {
        let at_nanos = START + minutes * MINUTE;
        self.apply(&Record::Tick(Tick { at_nanos, elapsed_ms: 60_000, sources }));
    }

    pub(crate) fn uplink(&mut self, minutes: i64, topic: &str, payload: &[u8]) {
        let received_at = IngestTime::from_nanos(START + minutes * MINUTE);
        let full_len = payload.len() as u64;
        self.apply(&Record::Uplink(Uplink { source: 0, received_at, topic, payload, full_len }));
    }
}

/// Returns the snapshot of a pipeline with devices, an alert and dead letters: what a corpus begins with.
#[must_use]
pub fn pipeline_snapshot() -> Vec<u8> {
    let mut applied = Applied::new(1);
    for minute in 0..40 {
        let at = (START + minute * MINUTE) / 1_000_000;
        let soil = format!(
            "{{\"ts\":{at},\"seq\":{minute},\"soil_moisture_10cm\":0.05,\"soil_temp\":14.2}}"
        );
        applied.uplink(minute, "s/probe-1", soil.as_bytes());
    }
    applied.uplink(
        41,
        "b/t/x",
        b"{\"readings\":[{\"device\":\"d\",\"on\":true},{\"device\":3},7]}",
    );
    applied.uplink(42, "elsewhere", b"{}");
    applied.uplink(43, "s/probe-2", b"not JSON");
    applied.pipeline.snapshot()
}
