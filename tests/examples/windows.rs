//! What a broker's in-flight window costs: a Markdown table of window, fsync, round trip and messages a second.
//!
//! `TIANLU_BIN=target/release/tianlu cargo run --release -p proof --example windows [COUNT]` sends `COUNT`
//! uplinks (default 20,000) through the real binary for each window and protocol and prints one row each:
//! the fsync's median of the run, the median round trip of a PING to that broker, the rate to the last
//! uplink received, and the ceiling window ÷ (fsync + round trip). The last row is Mosquitto with our Receive
//! Maximum of 1000, where the ceiling is gone.
//!
//! What each message costs broker and service comes on top of the ceiling, so that a fast disk leaves the rate
//! well below it; with `TIANLU__DATA__COMMIT_INTERVAL=0s` and `=20ms` in the environment the rows stay what they
//! are: no timer is in them.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for measuring, not part of the product"
)]

use std::io::Write;
use std::time::{Duration, Instant};

use proof::balance::Balance;
use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::mqtt::{Connection, packet};
use proof::publisher::{Message, Publisher};
use proof::sample::{Sample, fleet};
use proof::tianlu::Tianlu;
use proof::wait::{now_ms, until};
use proof::window_broker::WindowBroker;
use proof::work::Work;

const DEVICES: u32 = 100;
const PINGS: usize = 500;
const BUCKET: &str = "tianlu_journal_fsync_seconds_bucket{le=\"";
const IN_TIME: Duration = Duration::from_mins(5);

/// Returns the median round trip of PINGREQ and PINGRESP, in seconds.
fn round_trip(address: &str) -> f64 {
    let mut connection = Connection::open(address, "ping", true).expect("the broker runs");
    let ping = packet(0xc0, &[]);
    let mut times: Vec<Duration> = (0..PINGS)
        .map(|_| {
            let begun = Instant::now();
            connection.writer.write_all(&ping).expect("the broker runs");
            connection.read().expect("PINGRESP");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(PINGS / 2).expect("there are pings").as_secs_f64()
}

/// Returns the median of the fsyncs so far, in seconds, read from the histogram by straight lines.
fn fsync_median(service: &Tianlu) -> f64 {
    let text = service.get("/metrics").text();
    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| {
            let (bound, count) = line.strip_prefix(BUCKET)?.split_once("\"} ")?;
            Some((bound.parse().ok()?, count.trim().parse().ok()?))
        })
        .collect();
    let half = buckets.last().map_or(0.0, |(_, count)| count / 2.0);
    let mut before = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= half && count > before.1 {
            return before.0 + (bound - before.0) * (half - before.1) / (count - before.1);
        }
        before = (bound, count);
    }
    before.0
}

/// Measures one row; `window`: what bounds the messages in flight.
fn row(influx: &Influx, (url, address): (&str, &str), protocol: u8, window: u16, count: u32) {
    let work = Work::new().mqtt_with(url, &format!("protocol = {protocol}")).influx(influx);
    let samples =
        fleet(&format!("w{protocol}-{window}-"), DEVICES, count / DEVICES, now_ms() - 3_600_000);
    let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
    let mut service = Tianlu::ready(&work);
    let trip = round_trip(address);
    let mut publisher = Publisher::new(address, "p1");
    publisher.window = 1000;
    let begun = Instant::now();
    publisher.send(&uplinks);
    let wanted = u64::try_from(uplinks.len()).expect("a count");
    until("all to be received", IN_TIME, || {
        Balance::fetch(service.base()).filter(|balance| balance.uplinks.received >= wanted)
    });
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    let fsync = fsync_median(&service);
    let ceiling = f64::from(window) / (fsync + trip);
    println!(
        "| {window} | {} | {:.2} | {:.2} | {rate:.0} | {ceiling:.0} |",
        if protocol == 3 { "3.1.1" } else { "5" },
        fsync * 1e3,
        trip * 1e3
    );
    service.settle(wanted, IN_TIME);
    assert!(service.terminate().success(), "the service ends in order");
}

fn main() {
    let count = std::env::args().nth(1).map_or(20_000, |text| text.parse().expect("a number"));
    let Some(influx) = Influx::start() else { return };
    println!(
        "| window | MQTT | fsync p50, ms | round trip p50, ms | messages/s | window ÷ (fsync + round trip) |"
    );
    println!("|---|---|---|---|---|---|");
    for window in [16, 20, 32] {
        for protocol in [3, 5] {
            let Some(broker) = WindowBroker::start(window) else { return };
            row(&influx, (&broker.url(), &broker.address()), protocol, window, count);
        }
    }
    let Some(broker) = Mosquitto::start() else { return };
    row(&influx, (&broker.url(), &broker.address()), 5, 1000, count);
}
