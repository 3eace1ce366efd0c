//! Row `half`: how long a reading and an alert take at half load, beside the fsyncs of the same run.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use proof::http;
use proof::influx::Influx;
use proof::letters::text;
use proof::mosquitto::Mosquitto;
use proof::mqtt::{Connection, publish};
use proof::wait::{now_ms, pass, until};
use proof::webhook::Webhook;
use serde::Serialize;

use crate::histogram::Histogram;
use crate::load::message::json;
use crate::load::{Sent, Shape};
use crate::pass::{Terms, load};
use crate::report::{Report, Table, say};
use crate::setup;

use super::Plan;

/// Pause between two readings that break a rule.
const PROBE_PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for what is on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(30);

/// Instants by the device of a probe.
type Seen = Arc<Mutex<HashMap<String, Instant>>>;

/// p50 and p99 in milliseconds, of so many.
#[derive(Debug, Clone, Copy, Serialize)]
struct Quantiles {
    p50_ms: f64,
    p99_ms: f64,
    count: u64,
}

/// What stands around the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Around {
    Servers,
    Nothing,
}

#[derive(Debug, Serialize)]
struct Half {
    around: Around,
    per_second: f64,
    fsync: Quantiles,
    received_to_stored: Quantiles,
    received_to_alert: Quantiles,
    publish_to_webhook: Quantiles,
    publish_to_live_feed: Quantiles,
}

/// Loads the service with `per_second` and prints what it took.
pub(crate) fn half(plan: &Plan, per_second: f64, report: &mut Report) {
    for around in [Around::Servers, Around::Nothing] {
        match measure(plan, per_second, around) {
            Ok(half) => print(&half, report),
            Err(why) => say(&format!("Row `half` skipped: {why}")),
        }
    }
}

fn measure(plan: &Plan, per_second: f64, around: Around) -> Result<Half, String> {
    let (hook, work) = (Webhook::start(), setup::work(Shape::Json));
    let work = work.webhook(&hook.url(), "");
    let (work, address, _servers) = match around {
        Around::Nothing => {
            let (work, address) = setup::from_listener(work);
            (work, address, None)
        }
        Around::Servers => {
            let broker = Mosquitto::start().ok_or("Mosquitto is missing")?;
            let influx = Influx::start().ok_or("influxd is missing")?;
            let work = setup::from_broker(work, &broker, 5).influx(&influx);
            (work, broker.address(), Some((broker, influx)))
        }
    };
    let mut service = setup::start(&work)?;
    let seen_live = watch_live(service.base());
    let before =
        http::get(&format!("{}/metrics", service.base())).map_err(|e| e.to_string())?.text();
    let seconds = plan.lasting.min(Duration::from_secs(30)).as_secs_f64();
    let terms = Terms { shape: Shape::Json, messages: (per_second * seconds) as u64 };
    let loading = load(&address, terms, &[("rate", format!("{per_second:.0}"))]);
    pass(Duration::from_secs(1)); // the load runs before the first probe
    let probes = probe(&address, Duration::from_secs_f64((seconds - 1.5).max(1.0)));
    let sent: Sent = loading.finish();
    until("every alert at the webhook", ON_ITS_WAY, || {
        (hook.deliveries().len() >= probes.len()).then_some(())
    });
    service.settle(sent.messages + probes.len() as u64, ON_ITS_WAY);
    let after = service.get("/metrics").text();
    let seen_hook: HashMap<String, Instant> = hook
        .deliveries()
        .iter()
        .rev() // the first delivery of an alert counts
        .map(|delivery| (text(&delivery.request.json(), "device").to_owned(), delivery.at))
        .collect();
    let between = |name: &str| {
        let histogram = Histogram::read(&after, name).since(&Histogram::read(&before, name));
        Quantiles {
            p50_ms: histogram.quantile(0.5) * 1e3,
            p99_ms: histogram.quantile(0.99) * 1e3,
            count: histogram.count(),
        }
    };
    let seen_live = seen_live.lock().map_err(|e| e.to_string())?;
    Ok(Half {
        around,
        per_second: sent.messages as f64 / sent.seconds,
        fsync: between("tianlu_journal_fsync_seconds"),
        received_to_stored: between("tianlu_received_to_stored_seconds"),
        received_to_alert: between("tianlu_received_to_alert_seconds"),
        publish_to_webhook: waits(&probes, &seen_hook),
        publish_to_live_feed: waits(&probes, &seen_live),
    })
}

/// Publishes readings that break a rule at once, each of a device of its own, and returns when.
fn probe(address: &str, span: Duration) -> HashMap<String, Instant> {
    let mut connection = Connection::open(address, "bench-probe", true).unwrap();
    let (began, mut probes) = (Instant::now(), HashMap::new());
    while began.elapsed() < span {
        let device = format!("probe{:05}", probes.len());
        let dry = json(0, now_ms(), 0)
            .replace("\"soil_moisture_10cm\":0.110", "\"soil_moisture_10cm\":0.010");
        let topic = format!("tianlu/v1/demo/s1/{device}/up");
        let packet = publish(&topic, probes.len() as u16 + 1, dry.as_bytes(), false);
        probes.insert(device, Instant::now());
        connection.writer.write_all(&packet).unwrap();
        drop(connection.read().unwrap());
        pass(PROBE_PAUSE);
    }
    probes
}

/// Follows the live feed and notes when the alert of each device came.
fn watch_live(base: &str) -> Seen {
    let seen = Seen::default();
    let address = base.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET /api/v1/live HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let into = Arc::clone(&seen);
    thread::spawn(move || {
        let mut is_alert = false;
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some(event) = line.strip_prefix("event: ") {
                is_alert = event == "alert";
            } else if let Some(data) = line.strip_prefix("data: ").filter(|_| is_alert)
                && let Ok(alert) = serde_json::from_str::<serde_json::Value>(data)
            {
                into.lock()
                    .unwrap()
                    .entry(text(&alert, "device").to_owned())
                    .or_insert_with(Instant::now);
            }
        }
    });
    seen
}

fn waits(probes: &HashMap<String, Instant>, seen: &HashMap<String, Instant>) -> Quantiles {
    let waits =
        probes.iter().filter_map(|(device, sent)| Some(seen.get(device)?.duration_since(*sent)));
    let mut waits: Vec<Duration> = waits.collect();
    waits.sort_unstable();
    let at = |share: f64| {
        let place = ((waits.len().max(1) - 1) as f64 * share) as usize;
        waits.get(place).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
    };
    Quantiles { p50_ms: at(0.5), p99_ms: at(0.99), count: waits.len() as u64 }
}

fn print(half: &Half, report: &mut Report) {
    let around = match half.around {
        Around::Servers => "Mosquitto and InfluxDB, MQTT 5",
        Around::Nothing => "all in one process",
    };
    let heading = format!("Half load ({:.0} uplinks/s): {around}", half.per_second);
    let mut table = Table::new(&heading, &["way", "p50 ms", "p99 ms", "samples"]);
    let rows = [
        ("fsync of the journal", half.fsync),
        ("received -> stored, oldest of each batch", half.received_to_stored),
        ("received -> alert in the outbox", half.received_to_alert),
        ("publish -> alert at a webhook", half.publish_to_webhook),
        ("publish -> alert in the live feed", half.publish_to_live_feed),
    ];
    for (name, found) in rows {
        let Quantiles { p50_ms, p99_ms, count } = found;
        table.row(vec![
            name.to_owned(),
            format!("{p50_ms:.2}"),
            format!("{p99_ms:.2}"),
            count.to_string(),
        ]);
    }
    table.note(format!(
        "Target for publish -> alert p99: three times the fsync p99 and 10 ms, here {:.1} ms.",
        3.0 * half.fsync.p99_ms + 10.0
    ));
    let name = match half.around {
        Around::Servers => "half",
        Around::Nothing => "half in one process",
    };
    report.add(name, &table, half);
}
