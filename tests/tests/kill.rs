//! kill -9 of the service under load: nothing acknowledged is lost, nothing stands twice.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use proof::balance::{Balance, assert_balance_always};
use proof::http;
use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::publisher::{Message, Publisher};
use proof::sample::{Sample, assert_stored, fleet};
use proof::tianlu::Tianlu;
use proof::wait::{now_ms, until};
use proof::work::Work;

const PUBLISHERS: usize = 3;
const DEVICES_EACH: u32 = 100;
const READINGS_EACH: u32 = 100;
const TOTAL: u64 = 30_000;
const IN_TIME: Duration = Duration::from_mins(3);

fn received(base: &str, least: u64) {
    Balance::received(base, least, IN_TIME);
}

/// Publishes three fleets from as many publishers, and fails unless each message was acknowledged.
fn publish(address: &str, fleets: &[Vec<Sample>]) {
    thread::scope(|scope| {
        for (number, samples) in fleets.iter().enumerate() {
            scope.spawn(move || {
                let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
                let mut publisher = Publisher::new(address, &format!("p{number}"));
                publisher.within = IN_TIME;
                publisher.per_second = Some(2500);
                let acknowledged: BTreeSet<_> = publisher.send(&uplinks).into_iter().collect();
                assert_eq!(acknowledged.len(), uplinks.len());
            });
        }
    });
}

fn three_fleets() -> Vec<Vec<Sample>> {
    let start = now_ms() - 3_600_000;
    (0..PUBLISHERS).map(|n| fleet(&format!("k{n}-"), DEVICES_EACH, READINGS_EACH, start)).collect()
}

/// Scenario: 30,000 uplinks at QoS 1 by three publishers through Mosquitto; the service is killed twice in the
/// middle, once while it recovers, and started again.
/// Guarantees: each reading stands in InfluxDB exactly once with its own time and values; each sample of the
/// balance adds up; the totals survive the kills.
#[test]
fn each_of_30_000_uplinks_is_stored_exactly_once_through_kills() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    // Mosquitto sends again far more than a window holds; the memory has to reach as far for exact counts.
    let memory = format!("[devices]\nidentity_memory = {READINGS_EACH}");
    let work = Work::new().mqtt(&broker.url()).influx(&influx).section(&memory);
    let fleets = three_fleets();
    let service = Tianlu::ready(&work);
    let watch = assert_balance_always(&work.base());
    let balance = thread::scope(|scope| {
        scope.spawn(|| publish(&broker.address(), &fleets));
        received(&work.base(), TOTAL / 4);
        service.kill9();
        let service = Tianlu::start(&work);
        until("the service to answer", IN_TIME, || {
            http::get(&format!("{}/healthz", work.base())).ok()
        });
        service.kill9();
        let service = Tianlu::start(&work);
        received(&work.base(), TOTAL / 2);
        service.kill9();
        Tianlu::ready(&work).settle(TOTAL, IN_TIME)
    });
    eprintln!("sent again by the broker: {}", balance.uplinks.received - TOTAL);
    // What was received and not yet acknowledged comes again, and is told to be a repeat.
    assert_eq!(balance.uplinks.decoded, balance.uplinks.received);
    assert_eq!(balance.readings.stored, TOTAL);
    assert_eq!(balance.readings.duplicate, balance.uplinks.received - TOTAL);
    assert!(watch.finish() > 20);
    assert_stored(&influx, &fleets.concat());
}
