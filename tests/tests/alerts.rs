//! Alerts on their way out: signature, idempotency, retries, kill -9, severity, MQTT.

use std::collections::BTreeSet;
use std::time::Duration;

use proof::influx::Influx;
use proof::letters::text;
use proof::mosquitto::Mosquitto;
use proof::place::free_port;
use proof::publisher::Publisher;
use proof::sample::Sample;
use proof::signature::expected;
use proof::subscriber::Subscriber;
use proof::tianlu::Tianlu;
use proof::wait::{now_ms, until};
use proof::webhook::{Answer, Delivery, Webhook};
use proof::work::{DRY, Work};
use serde_json::Value;

const SHORTLY: Duration = Duration::from_secs(15);
/// Back-off of a notifier is at most half a minute.
const RETRIED: Duration = Duration::from_secs(60);

fn sample(device: &str, at_ms: i64, moisture_thousandths: u32) -> Sample {
    Sample { device: device.to_owned(), at_ms, moisture_thousandths, temp_tenths: 142 }
}

fn publish(broker: &Mosquitto, samples: &[Sample]) {
    let uplinks: Vec<_> = samples.iter().map(Sample::uplink).collect();
    Publisher::new(&broker.address(), "p1").send(&uplinks);
}

fn alert(delivery: &Delivery) -> Value {
    delivery.request.json()
}

/// Scenario: a dry reading, then a wet one; the webhook has a secret and answers 500, 429 and nothing first.
/// Guarantees: both states are delivered in order with the fields of the contract, each try with the same
/// body, Idempotency-Key and a signature that verifies; the API tells the same.
#[test]
fn a_webhook_is_signed_and_tried_again_with_the_same_key() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let hook = Webhook::start();
    let work = Work::new().mqtt(&broker.url()).influx(&influx).rule("soil-dry", DRY);
    work.write("secrets/hook.secret", "field and road\n");
    let work = work
        .webhook(&hook.url(), "secret_file = \"secrets/hook.secret\"\nmin_severity = \"yellow\"");
    let service = Tianlu::ready(&work);
    let at = now_ms() - 60_000;
    for refusal in [Answer::Status(500), Answer::Status(429), Answer::Hang] {
        let before = hook.deliveries().len();
        hook.answer(refusal);
        if before == 0 {
            publish(&broker, &[sample("d1", at, 110)]);
        }
        until("a try", RETRIED, || (hook.deliveries().len() > before).then_some(()));
    }
    hook.answer(Answer::Status(200));
    let firing = hook.wait(1, RETRIED)[0].clone();
    let body = alert(&firing);
    assert_eq!(text(&body, "state"), "firing");
    for (key, value) in [
        ("rule", "soil-dry"),
        ("tenant", "t1"),
        ("site", "s1"),
        ("device", "d1"),
        ("severity", "orange"),
    ] {
        assert_eq!(text(&body, key), value);
    }
    assert_eq!((&body["value"], &body["limit"]), (&Value::from(0.11), &Value::from(0.12)));
    assert_eq!(text(&body["message"], "en"), "Soil is dry at s1: 0.11 m³/m³");
    assert_eq!(text(&body["message"], "zh"), "s1 土壤墒情偏低：0.11 m³/m³");
    assert_eq!(text(&body, "began_at"), text(&body, "raised_at"));

    for delivery in hook.deliveries() {
        let request = &delivery.request;
        assert_eq!(request.body, firing.request.body, "each try has the same body");
        assert_eq!(request.header("idempotency-key"), firing.request.header("idempotency-key"));
        let signature = expected(b"field and road", &request.body);
        assert_eq!(request.header("x-tianlu-signature"), Some(signature.as_str()));
    }
    let key = firing.request.header("idempotency-key").unwrap_or_default();
    assert!(key.contains(text(&body, "id")) && key.contains("firing"), "{key}");
    assert_eq!(service.alerts("firing").len(), 1);
    assert_eq!(text(&service.alerts("firing")[0], "id"), text(&body, "id"));

    publish(&broker, &[sample("d1", at + 1000, 200)]);
    let resolved = alert(&hook.wait(2, SHORTLY)[1]);
    assert_eq!((text(&resolved, "state"), text(&resolved, "id")), ("resolved", text(&body, "id")));
    assert!(text(&resolved, "resolved_at").ends_with('Z'));
    assert_eq!(service.alerts("firing").len(), 0);
    assert_eq!(service.alerts("").len(), 1);
}

/// Scenario: an alert is raised while the webhook hangs; the service is killed; the webhook works again.
/// Guarantees: after the restart it is delivered with the id of the first try; another restart delivers
/// nothing again.
#[test]
fn an_alert_raised_before_a_kill_is_delivered_after_it() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let hook = Webhook::start();
    hook.answer(Answer::Hang);
    let work = Work::new()
        .mqtt(&broker.url())
        .influx(&influx)
        .rule("soil-dry", DRY)
        .webhook(&hook.url(), "");
    let service = Tianlu::ready(&work);
    publish(&broker, &[sample("d1", now_ms() - 60_000, 110), sample("d2", now_ms() - 60_000, 100)]);
    until("a first try", SHORTLY, || hook.deliveries().first().cloned());
    let raised: BTreeSet<String> = until("two alerts", SHORTLY, || {
        let ids: BTreeSet<_> =
            service.alerts("firing").iter().map(|a| text(a, "id").to_owned()).collect();
        (ids.len() == 2).then_some(ids)
    });
    service.kill9();
    hook.answer(Answer::Status(200));
    let service = Tianlu::ready(&work);
    let delivered = hook.wait(2, RETRIED);
    let ids: BTreeSet<_> = delivered.iter().map(|d| text(&alert(d), "id").to_owned()).collect();
    assert_eq!(ids, raised);
    assert_eq!(service.alerts("firing").len(), 2);
    assert!(service.terminate().success());
    let good = hook.wait(2, SHORTLY).len();

    let service = Tianlu::ready(&work);
    publish(&broker, &[sample("d3", now_ms() - 30_000, 90)]);
    let all = hook.wait(good + 1, SHORTLY);
    assert_eq!(
        text(&alert(&all[good]), "device"),
        "d3",
        "nothing is delivered again before the new one"
    );
    drop(service);
}

/// Scenario: a blue and a red alert of one device in this order; a webhook from red, an MQTT topic from blue.
/// Guarantees: the webhook gets the red one only, the topic both.
#[test]
fn notifiers_take_what_is_severe_enough() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let (hook, subscriber) =
        (Webhook::start(), Subscriber::start(&broker.address(), "alerts/tianlu"));
    let rule = |name: &str, limit: &str, severity: &str| {
        let renamed = DRY.replace("soil-dry", name).replace("< 0.12", limit);
        renamed.replace("severity = \"orange\"", &format!("severity = \"{severity}\""))
    };
    let work = Work::new()
        .mqtt(&broker.url())
        .influx(&influx)
        .webhook(&hook.url(), "min_severity = \"red\"");
    let work = work.section(
        "[[notifiers]]\nkind = \"mqtt\"\ntopic = \"alerts/tianlu\"\nmin_severity = \"blue\"",
    );
    let work = work
        .rule("light", &rule("light", "< 0.12", "blue"))
        .rule("severe", &rule("severe", "< 0.06", "red"));
    let service = Tianlu::ready(&work);
    let at = now_ms() - 60_000;
    publish(&broker, &[sample("d1", at, 110), sample("d1", at + 1000, 50)]);
    let published = subscriber.wait(2, SHORTLY);
    let rules: BTreeSet<String> = published
        .iter()
        .map(|message| serde_json::from_slice::<Value>(&message.payload).unwrap_or_default())
        .map(|alert| text(&alert, "rule").to_owned())
        .collect();
    assert_eq!(rules, ["light", "severe"].map(str::to_owned).into());
    let delivered = hook.wait(1, SHORTLY);
    assert_eq!(delivered.len(), 1);
    assert_eq!(text(&alert(&delivered[0]), "rule"), "severe");
    assert_eq!(hook.deliveries().len(), 1);
    drop(service);
}

/// Scenario: listener, embedded history and a webhook, so that nothing else in the process speaks HTTP to others.
/// Guarantees: it starts, the alert reaches the webhook, and it ends in order.
#[test]
fn a_webhook_needs_no_other_store_or_broker() {
    let hook = Webhook::start();
    let address = format!("127.0.0.1:{}", free_port());
    let work = Work::new().listener(&address).rule("soil-dry", DRY).webhook(&hook.url(), "");
    let service = Tianlu::ready(&work);
    Publisher::new(&address, "p1").send(&[sample("d1", now_ms() - 60_000, 110).uplink()]);
    assert_eq!(text(&alert(&hook.wait(1, SHORTLY)[0]), "state"), "firing");
    assert!(service.terminate().success());
}
