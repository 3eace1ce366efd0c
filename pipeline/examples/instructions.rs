//! Fixed work for counting instructions: `instructions STAGE N` does one stage for N readings.
//!
//! `tests/bench/instructions` runs it under callgrind with two numbers of readings; the difference is what a reading
//! costs, whatever the start takes. Stages: `decode-json`, `decode-frame`, `decode-batch`, `make` (an
//! uplink's record), `uplink` (the same, and from there to the outbox's record, with three rules), `line` (a reading to line protocol).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a tool for measuring, not part of the product"
)]

use std::num::NonZeroU16;

use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::outbox::OutboxRecord;
use pipeline::record::{ConfigActivated, Kind, Record, Uplink};
use pipeline::{ActiveConfig, Bundle, Head, Limits, Pipeline};
use telemetry::codec;
use telemetry::codec::frame;
use telemetry::document::Problems;
use telemetry::line_protocol::{PointHead, Stamp, write_reading};
use telemetry::profile::Profile;
use telemetry::reading::{Element, Reading};
use telemetry::time::IngestTime;

const PROFILE: &str = include_str!("../../packs/profiles/soil-5in1.toml");
const START_MS: u64 = 1_764_000_000_000;
/// Devices that take turns.
const DEVICES: u64 = 100;
/// Uplinks of one array.
const BATCH: u64 = 50;
const RULES: [&str; 3] = [
    "name = \"dry\"\nwhen = \"soil_moisture_10cm < 0.05\"\nclear = \"soil_moisture_10cm > 0.08\"\n",
    "name = \"hot\"\nwhen = \"air_temp > 45\"\nclear = \"air_temp < 43\"\non_delay = \"10m\"\n",
    "name = \"silent\"\nno_data = \"96 intervals\"\n",
];
const OF_ALL_RULES: &str = "scope = { domain = \"soil\" }\nseverity = \"red\"\nmessage = { zh = \"{device} {value}\", en = \"{device} {value}\" }\n";

fn json(n: u64) -> String {
    let (at, sequence, x) = (START_MS + n * 1000, 100_000 + n, n * 7 % 300);
    format!(
        r#"{{"ts":{at},"seq":{sequence},"soil_moisture_10cm":0.{:03},"soil_moisture_30cm":0.{:03},"soil_temp":1{}.{},"air_temp":2{}.{},"rh":6{}.{}}}"#,
        110 + x,
        120 + x,
        x % 9,
        x % 7,
        x % 8,
        x % 5,
        x % 6,
        x % 10
    )
}

fn profile(text: &str) -> Profile {
    let problems = Problems::default();
    Profile::parse("soil-5in1.toml", text, &problems).unwrap()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (stage, count) = (arguments.next().unwrap_or_default(), arguments.next());
    let count: u64 = count.and_then(|count| count.parse().ok()).unwrap_or(1000);
    let found = match stage.as_str() {
        "decode-json" => decode(&profile(PROFILE), count, |n| json(n).into_bytes()),
        "decode-frame" => {
            let (json_profile, frames) = (profile(PROFILE), frame_profile());
            decode(&frames, count, |n| {
                frame::encode(&frames, &[reading(&json_profile, n)]).unwrap()
            })
        }
        "decode-batch" => decode(&batch_profile(), count / BATCH, array),
        "make" => uplinks(count, false),
        "uplink" => uplinks(count, true),
        "line" => line(count),
        other => panic!("no stage `{other}`"),
    };
    assert_eq!(found, count, "readings");
}

fn frame_profile() -> Profile {
    profile(&PROFILE.replace("codec = \"json\"", "codec = \"frame\""))
}

fn batch_profile() -> Profile {
    profile(&PROFILE.replace("[time]", "[batch]\npath = \"\"\ndevice = \"d\"\n\n[time]"))
}

fn array(n: u64) -> Vec<u8> {
    let one = |n: u64| json(n).replacen('{', &format!("{{\"d\":\"dev{n:07}\","), 1);
    let all: Vec<String> = (n * BATCH..(n + 1) * BATCH).map(one).collect();
    format!("[{}]", all.join(",")).into_bytes()
}

fn reading(profile: &Profile, n: u64) -> Reading {
    let decoded = codec::decode(profile, json(n).as_bytes()).unwrap();
    let Some(Element::Reading(reading)) = decoded.elements.into_iter().next() else {
        panic!("no reading")
    };
    reading
}

/// Payloads are made before, of few kinds, so that making them does not count for long.
fn decode(profile: &Profile, count: u64, payload: impl Fn(u64) -> Vec<u8>) -> u64 {
    let payloads: Vec<Vec<u8>> = (0..10).map(payload).collect();
    let decoded = payloads
        .iter()
        .cycle()
        .zip(0..count)
        .map(|(payload, _)| codec::decode(profile, payload).unwrap());
    decoded.map(|decoded| decoded.elements.len() as u64).sum()
}

fn line(count: u64) -> u64 {
    let profile = profile(PROFILE);
    let head = PointHead { tenant: "demo", site: "s1", device: "dev0000001", tags: &[] };
    let readings: Vec<Reading> = (0..10).map(|n| reading(&profile, n)).collect();
    let (mut out, mut written) = (Vec::new(), 0);
    for (reading, n) in readings.iter().cycle().zip(0..count) {
        let stamp = Stamp {
            at_nanos: 1_764_000_000_000_000_000 + i64::try_from(n).unwrap(),
            flag: None,
            sampled_at_raw: None,
        };
        out.clear();
        written += u64::from(write_reading(&mut out, &profile, &head, reading, &stamp));
    }
    written
}

/// Makes records, each with its own time, and applies them.
fn uplinks(count: u64, is_applied: bool) -> u64 {
    let rule = |(place, text): (usize, &&str)| SourceFile {
        name: format!("rule{place}.toml"),
        text: format!("{text}{OF_ALL_RULES}"),
    };
    let bundle = Bundle {
        profiles: vec![SourceFile { name: "soil-5in1.toml".to_owned(), text: PROFILE.to_owned() }],
        rules: RULES.iter().enumerate().map(rule).collect(),
        registry: None,
        uplinks: vec![Route {
            topic: "tianlu/v1/{tenant}/{site}/{device}/up".to_owned(),
            profile: "soil-5in1".to_owned(),
        }],
        unknown: UnknownDevice::Accept,
        identity_memory: 32,
        max_payload: vec![262_144],
    };
    let config = ActiveConfig::build(&bundle).unwrap();
    let mut pipeline = Pipeline::new(NonZeroU16::MIN, Limits::default());
    let mut out = OutboxRecord::default();
    let at_nanos = i64::try_from(START_MS).unwrap() * 1_000_000;
    let first = Record::ConfigActivated(ConfigActivated { at_nanos, hash: config.hash.clone() });
    let head = Head { position: 1, ordinal: 0 };
    pipeline.apply(head, Kind::ConfigActivated.code(), &first.encode(), &config, &mut out).unwrap();
    let mut record = Vec::new();
    for n in 0..count {
        let (topic, payload) = (format!("tianlu/v1/demo/s1/dev{:07}/up", n % DEVICES), json(n));
        let received_at =
            IngestTime::from_nanos(at_nanos + i64::try_from(n).unwrap() * 1_000_000_000);
        let uplink = Uplink {
            source: 0,
            received_at,
            topic: &topic,
            payload: payload.as_bytes(),
            full_len: payload.len() as u64,
        };
        record.clear();
        uplink.encode_into(&mut record);
        if is_applied {
            let head = Head { position: n + 2, ordinal: n + 1 };
            pipeline.apply(head, Kind::Uplink.code(), &record, &config, &mut out).unwrap();
        }
    }
    if is_applied { pipeline.account().readings_decoded } else { count }
}
