//! The host's clock jumps by days while the service runs.

use std::time::Duration;

use proof::balance::assert_balance_always;
use proof::clock::Clock;
use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::publisher::{Message, Publisher};
use proof::sample::{Sample, assert_stored};
use proof::tianlu::Tianlu;
use proof::wait::{now_ms, until};
use proof::work::{SILENT, Work};

const IN_TIME: Duration = Duration::from_mins(1);
const DEVICES: u32 = 20;

/// Scenario: 20 devices report once a second; meanwhile the host's clock jumps three days ahead, three days back,
/// and to the right time again.
/// Guarantees: each reading is stored once with its own time, none is a dead letter; no device is told silent, as it
/// would be after three quarters of an hour; while the clock is wrong the log and `/readyz` name it, which answers
/// 200, and once it is right they say so.
#[test]
fn a_jump_of_three_days_either_way_loses_nothing_and_alarms_nobody() {
    let (Some(clock), Some(broker)) = (Clock::new(), Mosquitto::start()) else { return };
    let Some(influx) = Influx::start() else { return };
    let work = Work::new().mqtt(&broker.url()).influx(&influx).rule("soil-no-data", SILENT);
    let environment = clock.environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut service = Tianlu::start_with(&work, &environment);
    service.wait_ready(IN_TIME);
    let watch = assert_balance_always(&work.base());
    let publisher = Publisher::new(&broker.address(), "p1");
    let mut samples: Vec<Sample> = Vec::new();
    let report = |samples: &mut Vec<Sample>| {
        let at = now_ms();
        let number = u32::try_from(samples.len()).unwrap();
        let make = |n: u32| Sample::new(&format!("c{n:04}"), at, number + n);
        let round: Vec<Sample> = (0..DEVICES).map(make).collect();
        let uplinks: Vec<Message> = round.iter().map(Sample::uplink).collect();
        publisher.send(&uplinks);
        samples.extend(round);
    };
    report(&mut samples);
    for (by, apart) in [("+3d", "about 259"), ("-3d", "about -259"), ("+0", "")] {
        let before = service.log().len();
        clock.turn(by);
        let named = if apart.is_empty() { "well again" } else { apart };
        until(&format!("the log to say `{named}`"), IN_TIME, || {
            report(&mut samples);
            proof::wait::pass(Duration::from_millis(500));
            let log = service.log();
            let new = log.get(before..).unwrap_or_default();
            new.lines().any(|line| line.contains("clock") && line.contains(named)).then_some(())
        });
        // It goes on; that broker or store are away for a moment is another matter.
        let answer = until(&format!("/readyz to answer 200 at {by}"), IN_TIME, || {
            service.try_get("/readyz").filter(|answer| answer.status() == 200)
        });
        let notes = answer.json()["notes"].as_array().cloned().unwrap_or_default();
        let is_noted = notes.iter().any(|note| note["part"] == "clock");
        assert_eq!(is_noted, !apart.is_empty(), "{by}: {}", answer.text());
    }
    report(&mut samples);
    let balance = service.settle(u64::try_from(samples.len()).unwrap(), IN_TIME);
    assert_eq!(
        (balance.uplinks.dead, balance.readings.dead, balance.readings.duplicate),
        (0, 0, 0)
    );
    assert_eq!(service.alerts("").len(), 0, "{:?}", service.alerts(""));
    assert!(watch.finish() > 20);
    assert_stored(&influx, &samples);
    assert!(service.terminate().success());
}
