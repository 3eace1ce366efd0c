//! The harness itself against the real servers: what it says of them has to be right before it judges Tianlu.

use std::io::ErrorKind;
use std::time::Duration;

use proof::fault_proxy::{Fault, FaultProxy};
use proof::http;
use proof::influx::{Influx, TOKEN};
use proof::mosquitto::Mosquitto;
use proof::mqtt::{Connection, PUBLISH};
use proof::publisher::{Message, Publisher};
use proof::sample::{assert_stored, fleet};
use proof::subscriber::Subscriber;
use proof::webhook::{Answer, Webhook};
use proof::window_broker::WindowBroker;

const SHORTLY: Duration = Duration::from_secs(10);

fn messages(count: u32) -> Vec<Message> {
    (0..count).map(|n| Message::uplink("d1", n.to_string())).collect()
}

/// Scenario: a publisher with a window, a broker that restarts in the middle.
/// Guarantees: each message is acknowledged once to the publisher, and none is missing at a subscriber.
#[test]
fn a_publisher_gets_through_a_restart_of_the_broker() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let mut publisher = Publisher::new(&broker.address(), "p1");
    publisher.per_second = Some(2000);
    let told = messages(4000);
    let acknowledged = std::thread::scope(|scope| {
        let sending = scope.spawn(|| publisher.send(&told));
        proof::wait::pass(Duration::from_millis(700));
        broker.stop();
        broker.restart();
        sending.join().unwrap()
    });
    let mut sorted = acknowledged;
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), told.len());
}

/// Scenario: a broker with a window of 16; one subscriber that acknowledges, then one that does not.
/// Guarantees: the first gets 1,000 messages in order, the second sixteen and no more.
#[test]
fn the_window_broker_keeps_to_its_window() {
    let Some(broker) = WindowBroker::start(16) else { return };
    let told = messages(1000);
    let publisher = Publisher::new(&broker.address(), "p1");
    let subscriber = Subscriber::start(&broker.address(), "tianlu/v1/+/+/+/up");
    assert_eq!(publisher.send(&told).len(), told.len());
    assert_eq!(subscriber.wait(told.len(), SHORTLY), told);
    drop(subscriber);

    let mut silent = Connection::open(&broker.address(), "silent", true).unwrap();
    silent.subscribe("tianlu/v1/+/+/+/up").unwrap();
    silent.writer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (address, told) = (broker.address(), told.clone());
    std::thread::spawn(move || {
        let mut publisher = Publisher::new(&address, "p2");
        publisher.within = Duration::from_secs(5);
        // It cannot get through; what counts is what reaches the other side.
        drop(std::panic::catch_unwind(|| publisher.send(&told)));
    });
    for number in 1..=16 {
        let packet = silent.read().unwrap();
        assert_eq!(packet.head & 0xF0, PUBLISH, "packet {number}: {packet:?}");
    }
    silent.writer.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let next = silent.read().map_err(|error| error.kind());
    assert!(matches!(next, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{next:?}");
}

/// Scenario: points written past Tianlu, a restart, a kill, a deleted measurement of the wrong type.
/// Guarantees: the reader gives back times and values exactly; the conflict ends with the deletion.
#[test]
fn influx_gives_back_what_was_written() {
    let Some(mut influx) = Influx::start() else { return };
    let samples = fleet("d", 10, 20, 1_763_856_000_000);
    let line = |s: &proof::sample::Sample| {
        let (device, at) = s.at();
        format!(
            "soil,device={device} soil_moisture_10cm={},soil_temp={} {at}",
            s.moisture(),
            s.temp()
        )
    };
    influx.write(&samples.iter().map(line).collect::<Vec<_>>().join("\n"));
    influx.stop();
    influx.restart();
    assert_stored(&influx, &samples);
    influx.kill9();
    influx.restart();
    assert_stored(&influx, &samples);
    assert_eq!(influx.count("soil", "soil_temp"), 200);
    assert_eq!(influx.points("soil").len(), 400);

    influx.write("clash,device=d1 v=\"text\" 1763856000000000000");
    let write = |url: &str| {
        let token = format!("Token {TOKEN}");
        let headers = [("authorization", token.as_str())];
        let url = format!("{url}/api/v2/write?org=farm&bucket=telemetry");
        let body = b"clash,device=d2 v=1.5 1763856000000000000";
        http::send(http::Call { method: "POST", url: &url, headers: &headers, body }).unwrap()
    };
    assert_eq!(write(&influx.url()).status(), 422);
    influx.delete("clash");
    assert_eq!(write(&influx.url()).status(), 204);
    assert_eq!(influx.field("clash", "v").len(), 1);

    let proxy = FaultProxy::start(&influx.address());
    assert_eq!(write(&proxy.url()).status(), 204);
    proxy.fault(Fault::Answer { times: 1, status: 429, retry_after: Some(3) });
    let busy = write(&proxy.url());
    assert_eq!((busy.status(), busy.header("retry-after")), (429, Some("3")));
    assert_eq!(write(&proxy.url()).status(), 204);
    proxy.fault(Fault::TooLargeAbove(10));
    assert_eq!(write(&proxy.url()).status(), 413);
    proxy.fault(Fault::Refuse);
    assert!(http::get(&format!("{}/health", proxy.url())).is_err());
    assert_eq!((proxy.failed(), proxy.writes().len()), (3, 4));
}

/// Scenario: a receiver told to fail, then to succeed.
/// Guarantees: each request is recorded with its headers and with what it was answered.
#[test]
fn a_webhook_records_what_it_was_sent() {
    let hook = Webhook::start();
    hook.answer(Answer::Status(500));
    let body = serde_json::json!({"id": "a"});
    assert_eq!(http::post_json(&hook.url(), &body).unwrap().status(), 500);
    hook.answer(Answer::Status(200));
    assert_eq!(http::post_json(&hook.url(), &body).unwrap().status(), 200);
    let good = hook.wait(1, SHORTLY);
    assert_eq!((good.len(), hook.deliveries().len()), (1, 2));
    assert_eq!(good[0].request.header("content-type"), Some("application/json"));
}
