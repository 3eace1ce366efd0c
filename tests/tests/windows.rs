//! Brokers with small in-flight windows: a window caps the rate by fsync and round trip alone, never by a timer.

use std::time::{Duration, Instant};

use proof::influx::Influx;
use proof::publisher::{Message, Publisher};
use proof::sample::{Sample, assert_stored, fleet};
use proof::tianlu::Tianlu;
use proof::wait::now_ms;
use proof::window_broker::WindowBroker;
use proof::work::Work;

const UPLINKS: u32 = 3000;
const FSYNCS: &str = "tianlu_journal_fsync_seconds_count";
/// Were the commit interval what a window waits for, the windows of all uplinks would take 94 s at least.
const INTERVAL: &str = "commit_interval = \"1s\"";

/// Scenario: brokers that keep at most 16, 20 or 32 messages on the way to us, either protocol, a backlog of 3,000
/// uplinks, and a commit interval of a whole second.
/// Guarantees: nothing is lost; an fsync covers at least a quarter of a window; and a window that is used up is
/// committed at once, so that all of them take less than half of what waiting for the interval would.
#[test]
fn a_window_that_is_used_up_waits_for_no_timer() {
    let Some(influx) = Influx::start() else { return };
    for (protocol, window) in [3, 5].into_iter().flat_map(|p| [16, 20, 32].map(|w| (p, w))) {
        let Some(broker) = WindowBroker::start(window) else { return };
        let more = format!("protocol = {protocol}");
        let work = Work::new().data(INTERVAL).mqtt_with(&broker.url(), &more).influx(&influx);
        let name = format!("w{protocol}-{window}-");
        let samples = fleet(&name, 100, UPLINKS / 100, now_ms() - 3_600_000);
        let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
        let mut service = Tianlu::ready(&work);
        let before = service.metric(FSYNCS);
        let waiting = Duration::from_secs(u64::from(UPLINKS / u32::from(window)));
        let began = Instant::now();
        let mut publisher = Publisher::new(&broker.address(), "p1");
        publisher.within = waiting;
        publisher.send(&uplinks);
        let balance = service.settle(UPLINKS.into(), waiting / 2);
        let fsyncs = service.metric(FSYNCS) - before;
        let a_commit = f64::from(UPLINKS) / fsyncs;
        eprintln!(
            "MQTT {protocol}, window {window}: {fsyncs} fsyncs, {a_commit:.1} uplinks each, {:?}",
            began.elapsed()
        );
        assert!(a_commit >= f64::from(window) / 4.0, "{a_commit:.1} uplinks an fsync");
        assert_eq!((balance.readings.stored, balance.uplinks.lost), (UPLINKS.into(), 0));
        assert!(service.terminate().success());
    }
    assert_eq!(influx.count("soil", "soil_temp"), u64::from(UPLINKS) * 6);
}

/// Scenario: MQTT 5 with our Receive Maximum of 1000, the same interval. Guarantees: an fsync covers more than any
/// small window could: the ceiling is gone.
#[test]
fn a_receive_maximum_of_a_thousand_has_no_such_ceiling() {
    let (Some(broker), Some(influx)) = (proof::mosquitto::Mosquitto::start(), Influx::start())
    else {
        return;
    };
    let work = Work::new().data(INTERVAL).mqtt(&broker.url()).influx(&influx);
    // A backlog in the session, so that the broker is never what is waited for.
    assert!(Tianlu::ready(&work).terminate().success());
    let samples = fleet("wide", 100, 200, now_ms() - 3_600_000);
    let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
    Publisher::new(&broker.address(), "p1").send(&uplinks);
    let mut service = Tianlu::start(&work);
    let balance = service.settle(20_000, Duration::from_mins(2));
    let a_commit = 20_000.0 / service.metric(FSYNCS);
    eprintln!("Receive Maximum 1000: {a_commit:.1} uplinks an fsync");
    assert!(a_commit > 32.0, "{a_commit:.1} uplinks an fsync");
    assert_eq!(balance.readings.stored, 20_000);
    assert_stored(&influx, &samples);
}
