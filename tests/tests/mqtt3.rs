//! MQTT 3.1.1 and 5 alike: the broker restarts, forgets the session, or holds a message beyond every limit.

use std::thread;
use std::time::Duration;

use proof::balance::{Balance, assert_balance_always};
use proof::influx::Influx;
use proof::letters::text;
use proof::mosquitto::Mosquitto;
use proof::publisher::{Message, Publisher};
use proof::sample::{Sample, assert_stored, assert_stored_among, fleet};
use proof::tianlu::{Tianlu, run};
use proof::wait::{now_ms, until};
use proof::work::Work;

const IN_TIME: Duration = Duration::from_mins(2);

fn uplinks(samples: &[Sample]) -> Vec<Message> {
    samples.iter().map(Sample::uplink).collect()
}

/// Scenario: over MQTT 3.1.1, 5,000 uplinks while Mosquitto is stopped in order and started again.
/// Guarantees: `/readyz` names `mqtt` with its address while it is away; each reading is stored exactly once.
#[test]
fn nothing_is_lost_over_a_restart_of_the_broker() {
    let (Some(mut broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let work = Work::new().mqtt_with(&broker.url(), "protocol = 3").influx(&influx);
    let samples = fleet("b", 100, 50, now_ms() - 3_600_000);
    let mut service = Tianlu::ready(&work);
    let watch = assert_balance_always(&work.base());
    let mut publisher = Publisher::new(&broker.address(), "p1");
    publisher.per_second = Some(1000);
    thread::scope(|scope| {
        scope.spawn(|| publisher.send(&uplinks(&samples)));
        until("uplinks", IN_TIME, || {
            Balance::fetch(service.base()).filter(|balance| balance.uplinks.received >= 1000)
        });
        broker.stop();
        let reason = service.wait_not_ready("mqtt", Duration::from_secs(10));
        assert!(text(&reason, "message").contains(&broker.url()), "{reason}");
        broker.restart();
        service.wait_ready(Duration::from_secs(40));
    });
    let balance = service.settle(5000, IN_TIME);
    assert_eq!((balance.readings.stored, balance.uplinks.dead, balance.uplinks.lost), (5000, 0, 0));
    assert!(watch.finish() > 20);
    assert_stored(&influx, &samples);
}

/// Scenario: Mosquitto comes back without our session. Guarantees: the subscription is made again by itself, and
/// what comes from then on is stored; in both protocols.
#[test]
fn a_lost_session_is_subscribed_again() {
    for protocol in [3, 5] {
        let (Some(mut broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else {
            return;
        };
        let more = format!("protocol = {protocol}");
        let work = Work::new().mqtt_with(&broker.url(), &more).influx(&influx);
        let before = fleet("before", 10, 10, now_ms() - 3_600_000);
        let after = fleet("after", 10, 10, now_ms() - 3_600_000);
        let mut service = Tianlu::ready(&work);
        Publisher::new(&broker.address(), "p1").send(&uplinks(&before));
        service.settle(100, IN_TIME);
        broker.stop();
        broker.forget();
        service.wait_not_ready("mqtt", Duration::from_secs(10));
        broker.restart();
        service.wait_ready(Duration::from_secs(40));
        Publisher::new(&broker.address(), "p1").send(&uplinks(&after));
        service.settle(200, IN_TIME);
        assert_stored(&influx, &[before, after].concat());
    }
}

/// Scenario: over either protocol, a message of 20 KB and one of 17 MiB, beyond the packet limit, among others;
/// the service starts again before it may acknowledge. Guarantees: the first is stored whole, the second leaves
/// one dead letter `too_large` with its true length, and what stands behind it in the session is stored.
#[test]
fn a_message_beyond_every_limit_stops_nothing() {
    for protocol in [3, 5] {
        let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
        let more = format!("protocol = {protocol}");
        let work = Work::new().mqtt_with(&broker.url(), &more).influx(&influx);
        // The session exists, and nobody is there.
        assert!(Tianlu::ready(&work).terminate().success());
        let at = now_ms() - 3_600_000;
        let (before, after) = (fleet("before", 10, 10, at), fleet("after", 10, 10, at));
        let long = format!(r#"{{"ts":{at},"soil_temp":9.5,"note":"{}"}}"#, "y".repeat(20_000));
        let poison = vec![b' '; 17 << 20];
        let mut messages = uplinks(&before);
        messages.push(Message::uplink("long", long));
        messages.push(Message::uplink("poison", poison));
        messages.extend(uplinks(&after));
        let mut publisher = Publisher::new(&broker.address(), "p1");
        publisher.window = 10;
        publisher.send(&messages);
        let mut service = Tianlu::ready(&work);
        let balance = service.settle(202, IN_TIME);
        assert_eq!((balance.uplinks.dead, balance.readings.stored), (1, 201), "{balance:?}");
        let letters = service.dead_letters();
        assert_eq!((letters.len(), text(&letters[0], "reason")), (1, "too_large"), "{letters:?}");
        assert!(letters[0].to_string().contains(&(17 << 20).to_string()), "{letters:?}");
        assert_stored_among(&influx, &[before, after].concat());
        let stored = influx.points("soil");
        let note = stored.iter().find(|row| row["device"] == "long" && row["_field"] == "note");
        let length = note.and_then(|row| row["_value"].as_str()).map(str::len);
        assert_eq!(length, Some(20_000));
    }
}

/// Scenario: `doctor` on a configuration that shares its subscription. Guarantees: it warns that a device belongs to
/// one instance, with a remedy, in both protocols; for MQTT 3.1.1 it says that the window is the broker's.
#[test]
fn doctor_warns_of_a_shared_subscription() {
    let Some(broker) = Mosquitto::start() else { return };
    for protocol in [3, 5] {
        let shared = format!(
            "[mqtt]\nurl = \"{}\"\nprotocol = {protocol}\ntopics = [\"$share/farm/tianlu/#\"]",
            broker.url()
        );
        let work = Work::new().section(&shared).store("http://127.0.0.1:9", "none");
        let ran = run(work.dir(), &["doctor", "--config", "tianlu.toml"]);
        assert!(ran.stdout.contains("must always reach the same instance"), "{ran:?}");
        assert_eq!(ran.stdout.contains("max_inflight_messages"), protocol == 3, "{ran:?}");
    }
}
