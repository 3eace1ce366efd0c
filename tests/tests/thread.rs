//! One uplink all the way: broker, journal, pipeline, outbox, InfluxDB.

use std::collections::BTreeMap;
use std::time::Duration;

use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::publisher::{Message, Publisher};
use proof::tianlu::Tianlu;
use proof::wait::now_ms;
use proof::work::Work;
use serde_json::{Value, json};

const SHORTLY: Duration = Duration::from_secs(20);

/// Scenario: one uplink with two values, published to Mosquitto while the service runs.
/// Guarantees: InfluxDB holds one point of it with the time, the tags and the values that were sent, and
/// nothing else; SIGTERM ends the service with exit code 0.
#[test]
fn an_uplink_becomes_a_point_with_its_own_time_tags_and_values() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let work = Work::new().mqtt(&broker.url()).influx(&influx);
    let mut service = Tianlu::ready(&work);
    let at_ms = now_ms() - 90_000;
    let payload =
        format!(r#"{{"ts":{at_ms},"seq":7,"soil_moisture_10cm":0.231,"soil_temp":14.2}}"#);
    Publisher::new(&broker.address(), "p1").send(&[Message::uplink("d1", payload)]);

    let balance = service.settle(1, SHORTLY);
    assert_eq!((balance.uplinks.decoded, balance.readings.stored), (1, 1));
    let mut rows = influx.points("soil");
    for row in &mut rows {
        row.retain(|column, _| {
            !matches!(column.as_str(), "result" | "table" | "_start" | "_stop" | "_time")
        });
    }
    rows.sort_by_key(|row| row["_field"].to_string());
    let told = |field: &str, value: f64| -> BTreeMap<String, Value> {
        let cells = [
            ("_measurement", json!("soil")),
            ("tenant", json!("t1")),
            ("site", json!("s1")),
            ("device", json!("d1")),
            ("_field", json!(field)),
            ("_value", json!(value)),
            ("at", json!(at_ms * 1_000_000)),
        ];
        cells.into_iter().map(|(column, value)| (column.to_owned(), value)).collect()
    };
    assert_eq!(rows, [told("soil_moisture_10cm", 0.231), told("soil_temp", 14.2)]);
    assert!(service.terminate().success());
}

/// Scenario: uplinks published while the service is down, to a session that the broker keeps.
/// Guarantees: they arrive after the next start.
#[test]
fn what_is_published_while_the_service_is_down_waits_at_the_broker() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let work = Work::new().mqtt(&broker.url()).influx(&influx);
    assert!(Tianlu::ready(&work).terminate().success());
    let samples = proof::sample::fleet("d", 5, 10, now_ms() - 60_000);
    let uplinks: Vec<_> = samples.iter().map(proof::sample::Sample::uplink).collect();
    Publisher::new(&broker.address(), "p1").send(&uplinks);
    let mut service = Tianlu::ready(&work);
    service.settle(50, SHORTLY);
    proof::sample::assert_stored(&influx, &samples);
}
