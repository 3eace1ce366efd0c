//! The broker goes away and comes back; brokers with small windows.

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
/// Guarantees: all arrive within 10 s: acknowledgement waits for the journal alone, never for the store
/// or for a timer, so that a small window does not cap the rate at messages a second.
#[test]
fn small_windows_do_not_cap_the_rate() {
    let Some(influx) = Influx::start() else { return };
    for window in [16, 20, 32] {
        let Some(broker) = WindowBroker::start(window) else { return };
        let work = Work::new().mqtt(&broker.url()).influx(&influx);
        let samples = fleet(&format!("w{window}-"), 100, 20, now_ms() - 3_600_000);
        let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
        let mut service = Tianlu::ready(&work);
        let began = Instant::now();
        Publisher::new(&broker.address(), "p1").send(&uplinks);
        service.settle(2000, IN_TIME);
        let took = began.elapsed();
        assert!(
            took < Duration::from_secs(10),
            "2,000 uplinks through a window of {window} took {took:?}"
        );
    }
    assert_eq!(influx.count("soil", "soil_temp"), 6000);
}
