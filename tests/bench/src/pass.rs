//! One pass of one consumer between a fresh Mosquitto and a fresh InfluxDB, at full load or at a rate.

use std::time::{Duration, Instant};

use proof::balance::Balance;
use proof::http;
use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::publisher::{Message, Publisher};
use proof::tianlu::Tianlu;
use proof::wait::{now_ms, pass, until};
use proof::work::Work;
use serde::Serialize;

use crate::child::{Part, arguments};
use crate::load::message::json;
use crate::load::{Sent, Shape};
use crate::null::{Dropped, READY};
use crate::setup::{self, Telegraf};
use crate::usage::{cpu_seconds, resident_bytes, written_bytes};

/// Pause between two looks at how much is stored; a look costs InfluxDB about 2 ms.
const LOOK: Duration = Duration::from_millis(100);

/// Who consumes. The number is the version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consumer {
    /// The service.
    Tianlu(u8),
    /// What acknowledges and drops everything.
    Null(u8),
    /// The peer; it speaks MQTT 3.1.1 only.
    Telegraf,
}

impl Consumer {
    /// Returns what the tables call it.
    pub(crate) fn name(self) -> String {
        let (name, protocol) = match self {
            Self::Tianlu(protocol) => ("tianlu", protocol),
            Self::Null(protocol) => ("drop everything", protocol),
            Self::Telegraf => ("telegraf 1.39.0", 3),
        };
        format!("{name}, MQTT {}", if protocol == 3 { "3.1.1" } else { "5" })
    }
}

/// What one pass cost. CPU in seconds per million readings.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Pass {
    /// Who consumed.
    pub(crate) consumer: String,
    /// What a message held.
    pub(crate) shape: Shape,
    /// Messages sent, each acknowledged to its sender.
    pub(crate) messages: u64,
    /// Readings in them, counted again in the store.
    pub(crate) readings: u64,
    /// Readings a second, from the first message sent to the last reading stored.
    pub(crate) per_second: f64,
    /// CPU of the consumer.
    pub(crate) consumer_cpu: f64,
    /// CPU of Mosquitto.
    pub(crate) broker_cpu: f64,
    /// CPU of influxd, up to the last reading stored.
    pub(crate) store_cpu: f64,
    /// CPU of the generator.
    pub(crate) generator_cpu: f64,
    /// Peak resident memory of the consumer, MiB.
    pub(crate) peak_mib: f64,
    /// Journal and outbox on disk, bytes a message.
    pub(crate) disk_bytes: Option<[f64; 2]>,
}

/// How a pass is loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// What a message holds.
    pub(crate) shape: Shape,
    /// Messages in all.
    pub(crate) messages: u64,
}

/// Runs one pass.
///
/// # Errors
///
/// Why this consumer cannot run here.
pub(crate) fn run(consumer: Consumer, terms: Terms) -> Result<Pass, String> {
    match consumer {
        Consumer::Null(protocol) => null(consumer, protocol, terms),
        Consumer::Tianlu(_) | Consumer::Telegraf => stored(consumer, terms),
    }
}

/// Starts the generator against a broker.
pub(crate) fn load(address: &str, terms: Terms, more: &[(&str, String)]) -> Part {
    let shape = match terms.shape {
        Shape::Json => "json",
        Shape::Frame => "frame",
        Shape::Batch => "batch",
    };
    let mut pairs = vec![
        ("address", address.to_owned()),
        ("count", terms.messages.to_string()),
        ("shape", shape.to_owned()),
    ];
    pairs.extend(more.iter().map(|(name, value)| (*name, value.clone())));
    Part::start(&arguments("load", &pairs))
}

fn null(consumer: Consumer, protocol: u8, terms: Terms) -> Result<Pass, String> {
    let broker = Mosquitto::start().ok_or("Mosquitto is missing")?;
    let port = broker.address().rsplit(':').next().unwrap_or_default().to_owned();
    let pairs =
        [("port", port), ("count", terms.messages.to_string()), ("protocol", protocol.to_string())];
    let mut part = Part::start(&arguments("null", &pairs));
    let first = part.line();
    if first != READY {
        return Err(first);
    }
    let broker_before = cpu_seconds(broker.pid());
    let sent: Sent = load(&broker.address(), terms, &[]).finish();
    let dropped: Dropped = part.finish();
    let broker_cpu = cpu_seconds(broker.pid()) - broker_before;
    assert_eq!(dropped.messages, sent.messages);
    let million = (terms.messages * terms.shape.readings()) as f64 / 1e6;
    Ok(Pass {
        consumer: consumer.name(),
        shape: terms.shape,
        messages: terms.messages,
        readings: terms.messages * terms.shape.readings(),
        per_second: million * 1e6 / dropped.seconds,
        consumer_cpu: dropped.cpu_seconds / million,
        broker_cpu: broker_cpu / million,
        store_cpu: 0.0,
        generator_cpu: sent.cpu_seconds / million,
        peak_mib: dropped.peak_bytes as f64 / f64::from(1 << 20),
        disk_bytes: None,
    })
}

/// A consumer that stores, between its broker and its store.
pub(crate) struct Bench {
    /// The broker.
    pub(crate) broker: Mosquitto,
    /// The store.
    pub(crate) influx: Influx,
    /// What consumes.
    pub(crate) running: Running,
}

/// A consumer that stores.
pub(crate) enum Running {
    /// The service, with its folder.
    Tianlu(Box<(Work, Tianlu)>),
    /// The peer.
    Telegraf(Telegraf),
}

impl Running {
    fn pid(&self) -> u32 {
        match self {
            Self::Tianlu(service) => service.1.pid(),
            Self::Telegraf(peer) => peer.pid(),
        }
    }
}

impl Bench {
    /// Starts broker, store and consumer, and waits until messages reach the store.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub(crate) fn start(consumer: Consumer, shape: Shape) -> Result<Self, String> {
        let broker = Mosquitto::start().ok_or("Mosquitto is missing")?;
        let influx = Influx::start().ok_or("influxd is missing")?;
        let running = match consumer {
            Consumer::Telegraf => {
                let peer = Telegraf::start(&broker, &influx);
                Running::Telegraf(
                    peer.ok_or("telegraf is missing (tests/services/get --telegraf builds it)")?,
                )
            }
            Consumer::Tianlu(protocol) | Consumer::Null(protocol) => {
                let work =
                    setup::from_broker(setup::work(shape), &broker, protocol).influx(&influx);
                let service = setup::start(&work)?;
                Running::Tianlu(Box::new((work, service)))
            }
        };
        let mut bench = Self { broker, influx, running };
        if let Running::Telegraf(peer) = &mut bench.running {
            warm_up(&bench.broker, &bench.influx, peer);
        }
        Ok(bench)
    }
}

/// Telegraf does not tell when it has subscribed: readings of another device are sent until one is stored.
fn warm_up(broker: &Mosquitto, influx: &Influx, peer: &mut Telegraf) {
    until("a first reading through telegraf", Duration::from_secs(60), || {
        let warm = Message::uplink("warm", json(0, now_ms(), 0));
        Publisher::new(&broker.address(), "bench-warm").send(&[warm]);
        pass(Duration::from_millis(300));
        peer.assert_alive();
        (count(influx) > 0).then_some(())
    });
    pass(Duration::from_millis(1500)); // what is on its way is stored with the next flush
}

fn stored(consumer: Consumer, terms: Terms) -> Result<Pass, String> {
    let mut bench = Bench::start(consumer, terms.shape)?;
    let before = (count(&bench.influx), points(&bench.influx));
    let pids = [bench.running.pid(), bench.broker.pid(), bench.influx.pid()];
    let cpu_before = pids.map(cpu_seconds);
    let sent: Sent = load(&bench.broker.address(), terms, &[]).finish();
    let readings = terms.messages * terms.shape.readings();
    wait_for_points(&mut bench, before.1 + readings);
    let seconds = (now_ms() - sent.began_ms) as f64 / 1000.0;
    let cpu: Vec<f64> =
        pids.iter().zip(cpu_before).map(|(pid, before)| cpu_seconds(*pid) - before).collect();
    assert_eq!(count(&bench.influx) - before.0, readings, "readings in InfluxDB");
    let million = readings as f64 / 1e6;
    let (_, peak) = resident_bytes(bench.running.pid());
    let disk_bytes = match &mut bench.running {
        Running::Telegraf(_) => None,
        Running::Tianlu(service) => {
            Some(disk_bytes(&service.0, &service.1.settle(terms.messages, LOOK * 100)))
        }
    };
    Ok(Pass {
        consumer: consumer.name(),
        shape: terms.shape,
        messages: terms.messages,
        readings,
        per_second: readings as f64 / seconds,
        consumer_cpu: cpu[0] / million,
        broker_cpu: cpu[1] / million,
        store_cpu: cpu[2] / million,
        generator_cpu: sent.cpu_seconds / million,
        peak_mib: peak as f64 / f64::from(1 << 20),
        disk_bytes,
    })
}

/// Waits until InfluxDB itself has counted so many points.
fn wait_for_points(bench: &mut Bench, wanted: u64) {
    let deadline = Instant::now() + Duration::from_mins(5);
    while points(&bench.influx) < wanted {
        if let Running::Telegraf(peer) = &mut bench.running {
            peer.assert_alive();
        }
        assert!(Instant::now() < deadline, "{} of {wanted} points stored", points(&bench.influx));
        pass(LOOK);
    }
}

/// Readings that stand in InfluxDB, counted by Flux.
pub(crate) fn count(influx: &Influx) -> u64 {
    influx.count("soil", "soil_moisture_10cm")
}

/// Points that InfluxDB has written since its start, by its own metrics: a cheap question.
fn points(influx: &Influx) -> u64 {
    let text = http::get(&format!("{}/metrics", influx.url())).unwrap().text();
    let line = text.lines().find(|line| line.starts_with("storage_writer_ok_points_sum"));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    value.map_or(0, |value| value as u64)
}

/// Returns the written bytes of journal and outbox for each message that they still hold.
pub(crate) fn disk_bytes(work: &Work, balance: &Balance) -> [f64; 2] {
    ["journal", "outbox"].map(|log| {
        let folder = work.path("data").join(log);
        let names = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        let first = names.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            u64::from_str_radix(name.split('-').next()?, 16).ok()
        });
        // Positions count a little more than uplinks: a tick a second.
        let held = balance.uplinks.received.saturating_sub(first.min().unwrap_or(0)).max(1);
        written_bytes(&folder) as f64 / held as f64
    })
}
