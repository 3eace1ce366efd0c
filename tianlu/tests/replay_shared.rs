//! Real data through `tianlu replay`. The numbers were counted apart from this program, from the files themselves:
//! rows, sentinels, repeats, values outside the ranges, first and last time.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

struct Case {
    inputs: &'static [&'static str],
    mapping: &'static str,
    rules: Option<&'static str>,
    rows: u64,
    /// Decoded, stored, dead, duplicate.
    readings: [u64; 4],
    dead: Value,
    flags: Value,
    span: [&'static str; 2],
}

const STATIONS: [&str; 6] = [
    "air-beijing/Aotizhongxin.csv.gz",
    "air-beijing/Changping.csv.gz",
    "air-beijing/Dongsi.csv.gz",
    "air-beijing/Guanyuan.csv.gz",
    "air-beijing/Huairou.csv.gz",
    "air-beijing/Tiantan.csv.gz",
];

fn cases() -> [Case; 4] {
    [
        Case {
            inputs: &STATIONS,
            mapping: "air-beijing.toml",
            rules: Some("rules/air"),
            rows: 210_384,
            readings: [210_384, 210_384, 0, 0],
            dead: json!({}),
            flags: json!({ "missing": 37_318 }),
            // The labels 2013-03-01T00:00 and 2017-02-28T23:00 of +08:00.
            span: ["2013-02-28T16:00:00Z", "2017-02-28T15:00:00Z"],
        },
        Case {
            inputs: &["traffic-metr-la/speed_mph.csv.gz"],
            mapping: "traffic-metr-la.toml",
            rules: None,
            rows: 2016,
            readings: [209_664, 209_664, 0, 0],
            dead: json!({}),
            flags: json!({}),
            span: ["2012-03-01T00:00:00Z", "2012-03-07T23:55:00Z"],
        },
        Case {
            inputs: &["traffic-i94-hourly/2012-2015.csv.gz"],
            mapping: "traffic-i94-hourly.toml",
            rules: None,
            rows: 20_344,
            // 2,853 repeated hours: 2,827 with the same numbers, 26 with others.
            readings: [20_344, 17_491, 26, 2827],
            dead: json!({ "time_conflict": 26 }),
            // Ten hours at 0 K.
            flags: json!({ "range": 10 }),
            // 09:00 in summer time, 23:00 in standard time.
            span: ["2012-10-02T14:00:00Z", "2016-01-01T05:00:00Z"],
        },
        Case {
            inputs: &["soil-uscrn-manhattan-ks/daily.csv.gz"],
            mapping: "soil-uscrn.toml",
            rules: None,
            rows: 1096,
            // 14 days with sentinels only.
            readings: [1096, 1082, 14, 0],
            dead: json!({ "no_value": 14 }),
            flags: json!({ "missing": 2598, "range": 4 }),
            span: ["2010-01-01T06:00:00Z", "2012-12-31T06:00:00Z"],
        },
    ]
}

/// Returns the folder of shared data; `None`, with a notice, where it is absent, which in continuous integration
/// is a failure.
fn shared() -> Option<PathBuf> {
    let set = std::env::var_os("TIANLU_SHARED").map(|set| PathBuf::from(set).join("data"));
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = set.or_else(|| above.map(|dir| dir.join("shared/data")).find(|dir| dir.is_dir()));
    if found.is_none() {
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!is_ci, "the shared data are absent: set TIANLU_SHARED");
        eprintln!("skipped: no folder `shared/data`; set TIANLU_SHARED to run this test");
    }
    found
}

#[test]
fn real_data_give_the_numbers_that_were_counted_by_hand() {
    let Some(data) = shared() else { return };
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs");
    let dir = tempfile::tempdir().unwrap();
    for case in cases() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tianlu"));
        command.current_dir(dir.path()).env_clear().env("TIANLU_LANG", "en").arg("replay");
        command.args(case.inputs.iter().map(|input| data.join(input)));
        command.arg("--mapping").arg(packs.join("mappings").join(case.mapping));
        if let Some(rules) = case.rules {
            command.arg("--rules").arg(packs.join(rules));
        }
        command.args(["--points", "out.lp", "--dead", "out.dead", "--summary", "-"]);
        let begun = Instant::now();
        let done = command.output().unwrap();
        let name = case.mapping;
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
        let took = begun.elapsed();
        let summary: Value = serde_json::from_slice(&done.stdout).unwrap();
        let [decoded, stored, dead, duplicate] = case.readings;
        let readings = json!({
            "decoded": decoded, "stored": stored, "dead": dead, "duplicate": duplicate, "held": 0
        });
        let told = |key: &str| summary.get(key).cloned().unwrap_or_default();
        assert_eq!(told("rows"), case.rows, "{name}");
        assert_eq!(told("readings"), readings, "{name}");
        assert_eq!(told("dead_by_reason"), case.dead, "{name}");
        assert_eq!(told("flags"), case.flags, "{name}");
        assert_eq!(told("time_flags"), json!({}), "{name}");
        assert_eq!([told("from"), told("to")], case.span.map(Value::from), "{name}");
        let lines =
            |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap().lines().count();
        assert_eq!((lines("out.lp"), lines("out.dead")), (count(stored), count(dead)), "{name}");
        eprintln!("{name}: {decoded} readings in {took:.1?}");
    }
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
