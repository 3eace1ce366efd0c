//! The benchmark itself, with so few messages that it shows that it works and nothing else.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::process::Command;

use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::tianlu::binary;
use serde_json::Value;
use tempfile::TempDir;

/// Readings of one pass.
const COUNT: u64 = 2_000;

fn bench(rows: &str) -> (String, Value) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("numbers.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args([
        "--quick",
        "--only",
        rows,
        "--seconds",
        "2",
        "--devices",
        "1000",
        "--rate",
        "200",
    ]);
    command.args(["--connections", "50", "--count", &COUNT.to_string()]).arg("--json").arg(&file);
    let output = command.env("TIANLU_BIN", binary()).output().unwrap();
    let (said, wrong) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{wrong}", output.status);
    (said.into_owned(), serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap())
}

fn passes(row: &Value) -> Vec<Value> {
    let consumers = row.as_array().unwrap_or_else(|| panic!("no list: {row}"));
    consumers.iter().flat_map(|passes| passes.as_array().unwrap().clone()).collect()
}

/// Scenario: the rows between Mosquitto and InfluxDB with 2,000 readings a pass.
/// Guarantees: each pass stored what it sent (the benchmark counts in InfluxDB and fails otherwise), took CPU and
/// memory that was measured, and alerts were seen at the webhook and in the live feed.
#[test]
fn rows_between_broker_and_store_measure_what_they_sent() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    drop((broker, influx));
    let (said, numbers) = bench("full,shapes,half");
    assert!(numbers["machine"]["cores"].as_u64().unwrap() > 0);
    for row in ["full", "shapes"] {
        let passes = passes(&numbers[row]);
        assert!(passes.len() >= 2, "{said}");
        for pass in passes {
            assert_eq!(pass["readings"], COUNT, "{pass}");
            for number in ["per_second", "peak_mib"] {
                assert!(pass[number].as_f64().unwrap() > 0.0, "{number} of {pass}");
            }
            // The kernel counts in hundredths of a second, which 2,000 dropped messages, or 40 of fifty uplinks each,
            // may not take.
            let is_light = pass["consumer"].as_str().unwrap().starts_with("drop everything")
                || pass["messages"].as_u64().unwrap() < COUNT;
            assert!(is_light || pass["consumer_cpu"].as_f64().unwrap() > 0.0, "{pass}");
        }
    }
    let shapes = passes(&numbers["shapes"]);
    assert_eq!(shapes.len(), 3, "{said}");
    let on_disk = |shape: usize| shapes[shape]["disk_bytes"][0].as_f64().unwrap();
    assert!(on_disk(1) < on_disk(0), "a frame is smaller than JSON: {shapes:?}");
    for way in ["fsync", "received_to_stored", "publish_to_webhook", "publish_to_live_feed"] {
        let found = &numbers["half"][way];
        assert!(found["count"].as_u64().unwrap() > 0, "{way}: {found}");
        assert!(found["p99_ms"].as_f64().unwrap() >= found["p50_ms"].as_f64().unwrap(), "{way}");
    }
}

/// Scenario: 50 connections of slow devices, a pipeline with 1,000 devices, a restart with as many.
/// Guarantees: everything sent was stored, and state, snapshot and restart have numbers.
#[test]
fn rows_with_many_devices_measure_them() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    drop((broker, influx));
    let (said, numbers) = bench("gateways,fleet,state,restart");
    let fleets = passes(&numbers["fleet"]);
    assert!(!fleets.is_empty(), "{said}");
    for fleet in fleets {
        assert_eq!(fleet["messages"], COUNT, "{fleet}");
        assert!(fleet["puback_ms"][1].as_f64().unwrap() > 0.0, "{fleet}");
    }
    let states = numbers["state"].as_array().unwrap();
    assert_eq!(
        states.iter().map(|state| state["devices"].as_u64().unwrap()).collect::<Vec<_>>(),
        [10, 1000]
    );
    assert!(states.iter().all(|state| state["snapshot_bytes"].as_u64().unwrap() > 0), "{states:?}");
    assert!(numbers["restart"]["start_s"].as_f64().unwrap() > 0.0);
    assert!(said.contains("Restart with 1000 devices"), "{said}");
}
