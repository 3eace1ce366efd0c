//! Hostile and broken input among good one: each ends as the contract says, and the rest goes on.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proof::balance::{Balance, assert_balance_always};
use proof::influx::{Influx, Row};
use proof::letters::{list, text};
use proof::mosquitto::Mosquitto;
use proof::publisher::{Message, Publisher};
use proof::sample::{Sample, assert_stored_among, fleet};
use proof::tianlu::{Tianlu, run};
use proof::wait::{now_ms, until};
use proof::work::Work;
use serde_json::{Value, json};

const IN_TIME: Duration = Duration::from_mins(1);
const DAY_MS: i64 = 86_400_000;
const KEPT_DAYS: u64 = 3;

/// A gateway: many readings in one uplink, each of a device of its own.
const GATEWAY: &str = r#"
name = "gateway"
domain = "soil"
measurement = "soil"
interval = "15m"
codec = "json"
[batch]
path = "readings"
device = "device"
[time]
path = "ts"
format = "unix_ms"
[[properties]]
name = "soil_moisture_10cm"
path = "soil_moisture_10cm"
unit = "m3/m3"
[[properties]]
name = "soil_temp"
path = "soil_temp"
unit = "C"
"#;

/// A profile whose only field meets another type in InfluxDB.
const CLASH: &str = r#"
name = "clash"
domain = "machine"
measurement = "clash"
interval = "15m"
codec = "json"
[time]
path = "ts"
format = "unix_ms"
[[properties]]
name = "level"
path = "level"
unit = "1"
"#;

fn registry(more: &[&str]) -> String {
    let known = ["odd", "type", "early", "late", "past", "future", "empty"]
        .map(|device| (device, "soil-5in1"));
    let special = [("gw1", "gateway"), ("clash1", "clash")];
    let fleet =
        (0..10).map(|n| format!("good{n:04}")).chain((0..50).map(|n| format!("batch{n:02}")));
    let fleet: Vec<_> = fleet.chain(more.iter().map(|device| (*device).to_owned())).collect();
    let fleet = fleet.iter().map(|device| (device.as_str(), "soil-5in1"));
    let line = |(device, profile): (&str, &str)| format!("t1,{device},{profile},,,,,,\n");
    let lines: String = known.into_iter().chain(special).chain(fleet).map(line).collect();
    format!("tenant,device,profile,site,lat,lon,region,name,group\n{lines}")
}

/// The bad uplinks, and good ones that look bad; `at` is a time they may use.
fn bad(at: i64) -> Vec<Message> {
    let brackets = "[".repeat(5000) + &"]".repeat(5000);
    let large =
        format!(r#"{{"ts":{at},"soil_moisture_10cm":0.2,"note":"{}"}}"#, "x".repeat(300 * 1024));
    let long = format!(
        r#"{{"ts":{},"soil_moisture_10cm":0.222,"note":"{}"}}"#,
        at + 1,
        "y".repeat(20 * 1024)
    );
    let elements: Vec<Value> = (0..50)
        .map(|n| match n {
            20 => json!("not a reading"),
            _ => json!({"device": format!("batch{n:02}"), "ts": at, "soil_moisture_10cm": 0.25, "soil_temp": 10.5}),
        })
        .collect();
    let odd = |device: &str, payload: String| Message::uplink(device, payload);
    vec![
        odd("odd", r#"{"ts": 1, "soil_moisture_10cm": "#.to_owned()),
        odd("odd", String::new()),
        odd("odd", brackets),
        odd("odd", large),
        odd("odd", long),
        odd("stranger", Sample::new("stranger", at, 5).payload()),
        odd("type", format!(r#"{{"ts":{at},"soil_moisture_10cm":"wet","soil_temp":14.5}}"#)),
        odd("gw1", json!({"readings": elements}).to_string()),
        odd("clash1", format!(r#"{{"ts":{at},"level":1.5}}"#)),
        odd("early", format!(r#"{{"ts":{},"soil_moisture_10cm":0.3}}"#, at - 5 * DAY_MS)),
        odd("past", r#"{"ts":1000,"soil_moisture_10cm":0.31}"#.to_owned()),
        odd("future", format!(r#"{{"ts":{},"soil_moisture_10cm":0.32}}"#, at + 365 * DAY_MS)),
        odd("late", format!(r#"{{"ts":{at},"soil_moisture_10cm":0.33}}"#)),
        odd("late", format!(r#"{{"ts":{at},"soil_moisture_10cm":0.34}}"#)),
        odd("late", format!(r#"{{"ts":{at},"soil_moisture_10cm":0.33}}"#)),
        odd("empty", format!(r#"{{"ts":{at},"soil_moisture_10cm":null}}"#)),
        Message { topic: "tianlu/elsewhere".to_owned(), payload: b"{}".to_vec() },
    ]
}

fn reasons(letters: &[Value]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for letter in letters {
        *counted.entry(text(letter, "reason").to_owned()).or_default() += 1;
    }
    counted
}

fn one<'l>(letters: &'l [Value], reason: &str) -> &'l Value {
    letters.iter().find(|letter| text(letter, "reason") == reason).unwrap()
}

fn of_device<'r>(rows: &'r [Row], device: &str, field: &str) -> Vec<&'r Row> {
    rows.iter().filter(|row| row["device"] == device && row["_field"] == field).collect()
}

fn assert_points(influx: &Influx, at: i64, sent_ms: i64) {
    let rows = influx.points("soil");
    let value = |device: &str, field: &str| {
        let found = of_device(&rows, device, field);
        assert_eq!(found.len(), 1, "{device} {field}");
        found[0]["_value"].clone()
    };
    assert_eq!(value("odd", "note").as_str().unwrap().len(), 20 * 1024);
    assert_eq!(value("type", "soil_temp"), 14.5);
    assert_eq!(value("type", "soil_moisture_10cm_flag"), "type");
    assert!(of_device(&rows, "type", "soil_moisture_10cm").is_empty());
    assert_eq!(value("late", "soil_moisture_10cm"), 0.33);
    let batch = rows.iter().filter(|row| row["device"].as_str().unwrap().starts_with("batch"));
    let batch: Vec<_> = batch.filter(|row| row["_field"] == "soil_temp").collect();
    assert_eq!(batch.len(), 49);
    assert!(batch.iter().all(|row| row["_value"] == 10.5 && row["at"] == at * 1_000_000));

    let future = (at + 365 * DAY_MS) * 1_000_000;
    for (device, raw, moisture) in [("past", 1_000_000_000, 0.31), ("future", future, 0.32)] {
        assert_eq!(value(device, "time_flag"), device);
        assert_eq!(value(device, "sampled_at_raw"), raw);
        assert_eq!(value(device, "soil_moisture_10cm"), moisture);
        let stands =
            of_device(&rows, device, "soil_moisture_10cm")[0]["at"].as_i64().unwrap() / 1_000_000;
        assert!((sent_ms..=now_ms()).contains(&stands), "stands at {stands}, sent at {sent_ms}");
    }
}

/// Scenario: every kind of bad uplink and reading between two rounds of good ones, a registry that names the
/// devices, a bucket that keeps three days, and a field that has another type in InfluxDB already.
/// Guarantees: each ends as the dead letter or the flag the contract names; every good reading is stored, also
/// those after the bad; after the repair a redrive brings in what was set aside; the balance always adds up.
#[test]
fn each_bad_input_ends_as_the_contract_says_and_the_good_go_on() {
    let Some(broker) = Mosquitto::start() else { return };
    let Some(influx) = Influx::start_keeping(Duration::from_hours(24 * KEPT_DAYS)) else { return };
    let at = now_ms() - 3_600_000;
    influx.write(&format!("clash,device=before level=\"text\" {}", at * 1_000_000));
    let work = Work::new().mqtt(&broker.url()).influx(&influx);
    let work = work.profile("gateway", GATEWAY).profile("clash", CLASH);
    let work = work.devices(&registry(&[]), "unknown = \"quarantine\"");
    let mut service = Tianlu::ready(&work);
    let watch = assert_balance_always(&work.base());

    let good = fleet("good", 10, 20, at);
    let (first, second) = good.split_at(100);
    let publisher = Publisher::new(&broker.address(), "p1");
    let uplinks = |samples: &[Sample]| samples.iter().map(Sample::uplink).collect::<Vec<_>>();
    let sent_ms = now_ms() - 1;
    let messages = [uplinks(first), bad(at), uplinks(second)].concat();
    publisher.send(&messages);
    let balance = service.settle(u64::try_from(messages.len()).unwrap(), IN_TIME);

    let letters = service.dead_letters();
    let told = [
        ("bad_element", 1),
        ("malformed", 3),
        ("no_value", 1),
        ("outside_retention", 1),
        ("time_conflict", 1),
        ("too_large", 1),
        ("type_conflict", 1),
        ("unknown_device", 1),
        ("unknown_topic", 1),
    ];
    assert_eq!(reasons(&letters), told.map(|(reason, count)| (reason.to_owned(), count)).into());
    assert_eq!(
        (balance.uplinks.dead, balance.readings.dead, balance.readings.duplicate),
        (6, 5, 1)
    );
    assert_points(&influx, at, sent_ms);
    assert_stored_among(&influx, &good);
    assert_letters(&work, &letters);
    redrive(&work, &service, &influx);

    // A redriven reading is dead until the store has it.
    until("5 uplinks and 4 readings to stay dead", IN_TIME, || {
        let balance = Balance::fetch(service.base())?;
        ((balance.uplinks.dead, balance.readings.dead) == (5, 4)).then_some(())
    });
    service.settle(0, IN_TIME);
    assert_stored_among(&influx, &[Sample::new("stranger", at, 5)]);
    assert_eq!(influx.field("clash", "level").into_values().collect::<Vec<_>>(), [json!(1.5)]);
    assert!(watch.finish() > 10);
}

/// What the letters say, and that the command prints the same list.
fn assert_letters(work: &Work, letters: &[Value]) {
    assert_eq!(one(letters, "bad_element")["element"], 20);
    let large = one(letters, "too_large");
    let kept = STANDARD.decode(text(large, "payload_base64")).unwrap();
    assert_eq!(kept.len(), 64 * 1024);
    assert!(text(large, "detail").contains("3072"), "names the length: {}", text(large, "detail"));
    for letter in letters {
        assert!(!text(letter, "id").is_empty() && !text(letter, "detail").is_empty(), "{letter}");
        assert!(
            text(letter, "received_at").ends_with('Z') && !text(letter, "topic").is_empty(),
            "{letter}"
        );
    }
    let listed =
        run(work.dir(), &["deadletters", "list", "--format", "json", "--config", "tianlu.toml"])
            .ended(0);
    assert_eq!(reasons(&list(&listed.stdout)), reasons(letters));
    let id = text(large, "id");
    let shown = run(work.dir(), &["deadletters", "show", id, "--config", "tianlu.toml"]).ended(0);
    assert!(shown.stdout.contains(id), "{}", shown.stdout);
}

/// Adopts the stranger, removes what clashed, and redrives both until neither is set aside any more.
fn redrive(work: &Work, service: &Tianlu, influx: &Influx) {
    work.write("devices.csv", &registry(&["stranger"]));
    service.reload();
    influx.delete("clash");
    for reason in ["unknown_device", "type_conflict"] {
        // The reload takes a moment; a redrive before it would set the uplink aside again.
        until(&format!("no `{reason}` after a redrive"), IN_TIME, || {
            drop(
                run(
                    work.dir(),
                    &["deadletters", "redrive", "--reason", reason, "--config", "tianlu.toml"],
                )
                .ended(0),
            );
            until("the redrive to settle", IN_TIME, || {
                Balance::fetch(service.base()).filter(Balance::is_settled)
            });
            (!reasons(&service.dead_letters()).contains_key(reason)).then_some(())
        });
    }
}

/// Scenario: 500 uplinks of one device without a time, as fast as they go.
/// Guarantees: each has a point of its own in InfluxDB: two readings never stand at the same `received_at`.
#[test]
fn readings_without_a_time_never_overwrite_each_other() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let work = Work::new().mqtt(&broker.url()).influx(&influx);
    let mut service = Tianlu::ready(&work);
    let payload = |n: u32| format!(r#"{{"seq":{n},"soil_temp":{n}}}"#);
    let uplinks: Vec<Message> =
        (0..500).map(|n| Message::uplink("timeless", payload(n % 60))).collect();
    Publisher::new(&broker.address(), "p1").send(&uplinks);
    let balance = service.settle(500, IN_TIME);
    let stored = influx.field("soil", "soil_temp").len();
    assert_eq!(u64::try_from(stored).unwrap(), balance.readings.stored, "{balance:?}");
}
