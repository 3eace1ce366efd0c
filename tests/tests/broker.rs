//! The broker goes away and comes back; brokers with small windows; outages of ours beside silences of devices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proof::balance::assert_balance_always;
use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::publisher::{Message, Publisher};
use proof::sample::{Sample, assert_stored, fleet};
use proof::tianlu::Tianlu;
use proof::wait::now_ms;
use proof::window_broker::WindowBroker;
use proof::work::Work;

const IN_TIME: Duration = Duration::from_mins(1);
/// What the fsyncs of the journal have taken in all.
const FSYNC_SECONDS: &str = "tianlu_journal_fsync_seconds_sum";

/// Scenario: 10,000 uplinks while Mosquitto is stopped in order and started again twice.
/// Guarantees: `/readyz` names `mqtt` while it is away; each reading is stored exactly once.
#[test]
fn nothing_is_lost_over_restarts_of_the_broker() {
    let (Some(mut broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let work = Work::new().mqtt(&broker.url()).influx(&influx);
    let samples = fleet("b", 100, 100, now_ms() - 3_600_000);
    let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
    let mut service = Tianlu::ready(&work);
    let watch = assert_balance_always(&work.base());
    let mut publisher = Publisher::new(&broker.address(), "p1");
    publisher.per_second = Some(2000);
    thread::scope(|scope| {
        scope.spawn(|| publisher.send(&uplinks));
        for least in [2000, 6000] {
            proof::wait::until("uplinks", IN_TIME, || {
                let balance = proof::balance::Balance::fetch(service.base())?;
                (balance.uplinks.received >= least).then_some(())
            });
            broker.stop();
            let reason = service.wait_not_ready("mqtt", Duration::from_secs(10));
            assert!(
                reason["message"].as_str().is_some_and(|m| m.contains(&broker.url())),
                "{reason}"
            );
            broker.restart();
            service.wait_ready(Duration::from_secs(40));
        }
    });
    let balance = service.settle(10_000, IN_TIME);
    assert_eq!(
        (balance.readings.stored, balance.uplinks.dead, balance.uplinks.lost),
        (10_000, 0, 0)
    );
    assert!(watch.finish() > 20);
    assert_stored(&influx, &samples);
}

/// Scenario: brokers that keep at most 16, 20 or 32 messages on the way, 2,000 uplinks at once.
/// Guarantees: all arrive within 10 s, the time of the fsyncs aside: acknowledgement waits for the journal alone, never
/// for the store or for a timer, so that a small window does not cap the rate at messages a second.
#[test]
fn small_windows_do_not_cap_the_rate() {
    let Some(influx) = Influx::start() else { return };
    for window in [16, 20, 32] {
        let Some(broker) = WindowBroker::start(window) else { return };
        let work = Work::new().mqtt(&broker.url()).influx(&influx);
        let samples = fleet(&format!("w{window}-"), 100, 20, now_ms() - 3_600_000);
        let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
        let mut service = Tianlu::ready(&work);
        let (began, before) = (Instant::now(), service.metric(FSYNC_SECONDS));
        Publisher::new(&broker.address(), "p1").send(&uplinks);
        proof::balance::Balance::received(service.base(), 2000, IN_TIME);
        let took = began.elapsed();
        // A slow disk is no fault of ours.
        let fsyncs = Duration::from_secs_f64(service.metric(FSYNC_SECONDS) - before);
        assert!(
            took.saturating_sub(fsyncs) < Duration::from_secs(10),
            "2,000 uplinks through a window of {window} took {took:?}, their fsyncs {fsyncs:?}"
        );
        service.settle(2000, IN_TIME);
    }
    assert_eq!(influx.count("soil", "soil_temp"), 6000);
}

/// Devices that report twice a second.
const DEVICES: u32 = 20;
/// Longer than a silence that is told.
const AWAY: Duration = Duration::from_secs(10);

/// Reports until told to end, at most for three minutes.
fn report(address: &str, goes_on: &AtomicBool) {
    let (publisher, began) = (Publisher::new(address, "p1"), Instant::now());
    let mut round = 0;
    while goes_on.load(Ordering::Relaxed) && began.elapsed() < Duration::from_mins(3) {
        let at = now_ms();
        let sample = |n: u32| Sample::new(&format!("q{n:04}"), at, round * DEVICES + n).uplink();
        publisher.send(&(0..DEVICES).map(sample).collect::<Vec<Message>>());
        round += 1;
        proof::wait::pass(Duration::from_millis(500));
    }
}

/// Scenario: 20 devices report twice a second; the broker is away for ten seconds, then InfluxDB, then the service
/// itself, killed with -9; at the end the devices fall silent. Six seconds are a silence.
/// Guarantees: no outage of ours is told as a silence of theirs; their own silence is told of each.
#[test]
fn an_outage_of_ours_is_no_silence_of_theirs() {
    let (Some(mut broker), Some(mut influx)) = (Mosquitto::start(), Influx::start()) else {
        return;
    };
    let work = Work::new().mqtt(&broker.url()).influx(&influx).tells_silence();
    let (address, goes_on) = (broker.address(), AtomicBool::new(true));
    let mut service = Tianlu::ready(&work);
    let service = thread::scope(|scope| {
        scope.spawn(|| report(&address, &goes_on));
        service.settle(u64::from(DEVICES), IN_TIME);
        broker.stop();
        service.wait_not_ready("mqtt", IN_TIME);
        proof::wait::pass(AWAY);
        broker.restart();
        service.wait_ready(IN_TIME);
        influx.stop();
        service.wait_not_ready("store", IN_TIME);
        proof::wait::pass(AWAY);
        influx.restart();
        service.wait_ready(IN_TIME);
        service.kill9();
        proof::wait::pass(AWAY);
        service = Tianlu::ready(&work);
        proof::wait::pass(AWAY / 2);
        let told = service.alerts("");
        goes_on.store(false, Ordering::Relaxed);
        assert!(told.is_empty(), "{told:?}");
        service
    });
    let told = proof::wait::until("the silence of each to be told", IN_TIME, || {
        let firing = service.alerts("firing");
        (firing.len() == DEVICES as usize).then_some(firing)
    });
    assert!(told.iter().all(|alert| alert["rule"] == "soil-no-data"), "{told:?}");
}
