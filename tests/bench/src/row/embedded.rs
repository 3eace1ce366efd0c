//! Rows `gateways`, `fleet` and the half of `shapes` in one process: the service without broker and store, which takes connections and keeps history itself.

use std::time::{Duration, Instant};

use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::tianlu::Tianlu;
use proof::wait::{now_ms, pass};
use proof::work::Work;
use serde::Serialize;

use crate::load::{Sent, Shape};
use crate::pass::{Terms, disk_bytes, load};
use crate::report::{Report, Table, mean, spread};
use crate::setup;
use crate::usage::{cpu_seconds, file_bytes, resident_bytes};

use super::Plan;

/// Longest time until everything acknowledged is stored.
const DRAIN: Duration = Duration::from_mins(10);

/// What one pass gave.
#[derive(Debug, Clone, Serialize)]
struct Pass {
    way: String,
    messages: u64,
    /// Messages acknowledged a second.
    acknowledged_per_second: f64,
    /// Messages a second to the last one stored.
    stored_per_second: f64,
    tianlu_cpu: f64,
    broker_cpu: Option<f64>,
    store_cpu: Option<f64>,
    generator_cpu: f64,
    peak_mib: f64,
    puback_ms: Option<[f64; 2]>,
    /// Bytes of journal, outbox and history on disk, a message.
    disk_bytes: [f64; 3],
}

/// The service behind its own listener or behind Mosquitto, with the embedded history or, where this build has none,
/// InfluxDB.
pub(crate) struct Stack {
    way: &'static str,
    address: String,
    work: Work,
    service: Option<Tianlu>,
    broker: Option<Mosquitto>,
    influx: Option<Influx>,
}

impl Stack {
    /// Everything in one process.
    ///
    /// # Errors
    ///
    /// What this build lacks.
    pub(crate) fn embedded() -> Result<Self, String> {
        Self::embedded_for(Shape::Json)
    }

    fn embedded_for(shape: Shape) -> Result<Self, String> {
        let (work, address) = setup::from_listener(setup::work(shape));
        let service = setup::start(&work)?;
        let (way, service) = ("own listener, own history", Some(service));
        Ok(Self { way, address, work, service, broker: None, influx: None })
    }

    /// Behind Mosquitto.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub(crate) fn behind_mosquitto() -> Result<Self, String> {
        let broker = Mosquitto::start().ok_or("Mosquitto is missing")?;
        let address = broker.address();
        let work = setup::from_broker(setup::work(Shape::Json), &broker, 5);
        if let Ok(service) = setup::start(&work) {
            let way = "Mosquitto, own history";
            let (service, broker) = (Some(service), Some(broker));
            return Ok(Self { way, address, work, service, broker, influx: None });
        }
        let influx = Influx::start().ok_or("influxd is missing")?;
        let work = setup::from_broker(setup::work(Shape::Json), &broker, 5).influx(&influx);
        let service = setup::start(&work)?;
        let (service, broker, influx) = (Some(service), Some(broker), Some(influx));
        Ok(Self { way: "Mosquitto, InfluxDB", address, work, service, broker, influx })
    }

    /// The best this build offers.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub(crate) fn best() -> Result<Self, String> {
        Self::embedded().or_else(|_| Self::behind_mosquitto())
    }

    /// Returns how messages come in and where they are stored.
    pub(crate) const fn way(&self) -> &'static str {
        self.way
    }

    /// Returns the running service.
    pub(crate) fn service(&self) -> &Tianlu {
        self.service.as_ref().unwrap()
    }

    /// Ends the service in order (or kills it) and starts it again; returns how long each took.
    pub(crate) fn restart(&mut self, by_kill: bool) -> [Duration; 2] {
        let stopping = Instant::now();
        let service = self.service.take().unwrap();
        if by_kill {
            service.kill9();
        } else {
            let status = service.terminate();
            assert!(status.success(), "tianlu ended with {status}");
        }
        let starting = Instant::now();
        self.service = Some(setup::start(&self.work).unwrap());
        [starting - stopping, starting.elapsed()]
    }

    /// Loads it and waits until everything acknowledged is stored.
    pub(crate) fn load(&mut self, terms: Terms, more: &[(&str, String)]) -> Sent {
        let fetch = || proof::balance::Balance::fetch(self.service().base());
        let before = fetch().map_or(0, |all| all.readings.stored);
        let sent: Sent = load(&self.address, terms, more).finish();
        let deadline = Instant::now() + DRAIN;
        let wanted = before + sent.messages * terms.shape.readings();
        let balance = loop {
            let settled = fetch().filter(|all| all.readings.decoded >= wanted && all.is_settled());
            if let Some(settled) = settled {
                break settled;
            }
            assert!(Instant::now() < deadline, "not everything is stored within {DRAIN:?}");
            pass(Duration::from_millis(100));
        };
        assert_eq!(balance.wrong(), None);
        assert_eq!(balance.readings.stored, wanted, "published = stored: {balance:?}");
        sent
    }

    fn measured(&mut self, terms: Terms, more: &[(&str, String)]) -> Pass {
        let cpu_of = |pid: Option<u32>| pid.map(cpu_seconds);
        let pids = [
            Some(self.service().pid()),
            self.broker.as_ref().map(Mosquitto::pid),
            self.influx.as_ref().map(Influx::pid),
        ];
        let before = pids.map(cpu_of);
        let sent = self.load(terms, more);
        let seconds = (now_ms() - sent.began_ms) as f64 / 1000.0;
        let readings = (sent.messages * terms.shape.readings()) as f64;
        let million = readings / 1e6;
        let cpu: Vec<Option<f64>> = pids
            .iter()
            .zip(before)
            .map(|(pid, before)| Some((cpu_of(*pid)? - before?) / million))
            .collect();
        let (_, peak) = resident_bytes(self.service().pid());
        Pass {
            way: self.way.to_owned(),
            messages: sent.messages,
            acknowledged_per_second: readings / sent.seconds,
            stored_per_second: readings / seconds,
            tianlu_cpu: cpu[0].unwrap_or(0.0),
            broker_cpu: cpu[1],
            store_cpu: cpu[2],
            generator_cpu: sent.cpu_seconds / million,
            peak_mib: peak as f64 / f64::from(1 << 20),
            puback_ms: sent.puback_ms,
            disk_bytes: self.disk_bytes(sent.messages),
        }
    }

    /// Returns the bytes on disk a message. What the history has not merged yet is larger.
    fn disk_bytes(&self, messages: u64) -> [f64; 3] {
        let balance = proof::balance::Balance::fetch(self.service().base());
        let [journal, outbox] = balance.map_or([0.0; 2], |all| disk_bytes(&self.work, &all));
        let history = file_bytes(&self.work.path("data/history")) as f64 / messages as f64;
        [journal, outbox, history]
    }
}

const COLUMNS: [&str; 10] = [
    "way",
    "acknowledged/s",
    "stored/s",
    "tianlu CPU s/M",
    "Mosquitto CPU s/M",
    "influxd CPU s/M",
    "generator CPU s/M",
    "peak RSS MiB",
    "PUBACK p50/p99 ms",
    "journal + outbox + history B/message",
];

fn row(table: &mut Table, passes: &[Pass]) {
    let Some(first) = passes.first() else { return };
    let of = |value: fn(&Pass) -> f64| spread(&passes.iter().map(value).collect::<Vec<f64>>());
    let maybe = |value: fn(&Pass) -> Option<f64>| {
        let found: Vec<f64> = passes.iter().filter_map(value).collect();
        if found.is_empty() { "-".to_owned() } else { spread(&found) }
    };
    let waits: Vec<[f64; 2]> = passes.iter().filter_map(|pass| pass.puback_ms).collect();
    let wait = |place: usize| mean(&waits.iter().map(|wait| wait[place]).collect::<Vec<f64>>());
    let disk =
        |log: usize| mean(&passes.iter().map(|pass| pass.disk_bytes[log]).collect::<Vec<f64>>());
    table.row(vec![
        first.way.clone(),
        of(|pass| pass.acknowledged_per_second),
        of(|pass| pass.stored_per_second),
        of(|pass| pass.tianlu_cpu),
        maybe(|pass| pass.broker_cpu),
        maybe(|pass| pass.store_cpu),
        of(|pass| pass.generator_cpu),
        of(|pass| pass.peak_mib),
        if waits.is_empty() { "-".to_owned() } else { format!("{:.1} / {:.1}", wait(0), wait(1)) },
        format!("{:.0} + {:.0} + {:.0}", disk(0), disk(1), disk(2)),
    ]);
}

/// From gateways: three connections with a window of 1,000 each, many devices, as long as the plan says; with `rate`
/// no more than so many messages a second.
pub(crate) fn gateways(plan: &Plan, rate: Option<f64>, report: &mut Report) {
    let seconds = plan.lasting.as_secs();
    let offered = rate.map_or_else(String::new, |rate| format!(", {rate:.0}/s offered"));
    let heading = format!(
        "Gateways: all in one process, {} devices, one JSON uplink a message, {seconds} s{offered}",
        plan.devices
    );
    let mut table = Table::new(&heading, &COLUMNS);
    let mut passes = Vec::new();
    match Stack::embedded() {
        Ok(mut stack) => {
            let mut more =
                vec![("devices", plan.devices.to_string()), ("seconds", seconds.to_string())];
            more.extend(rate.map(|rate| ("rate", format!("{rate:.0}"))));
            // Far more than the time lets through.
            let terms = Terms { shape: Shape::Json, messages: 3_000_000 * seconds };
            passes.push(stack.measured(terms, &more));
            table.note("Acknowledged means on disk. Target: 150,000/s for 10 minutes on 2 cores, generator included.");
        }
        Err(why) => {
            table.note(format!("Skipped, this build has no listener with embedded history: {why}"))
        }
    }
    row(&mut table, &passes);
    report.add("gateways", &table, &passes);
}

/// Each shape of a message from gateways, all in one process; all but the disk per reading.
pub(crate) fn shapes(plan: &Plan, report: &mut Report) {
    let shapes = [
        (Shape::Json, "one JSON uplink a message"),
        (Shape::Frame, "one frame a message"),
        (Shape::Batch, "50 JSON uplinks a message"),
    ];
    let mut table = Table::new(
        "Shapes: all in one process at full load; all per reading, disk per message",
        &COLUMNS,
    );
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..plan.rounds {
        for ((shape, name), passes) in shapes.iter().zip(&mut all) {
            match Stack::embedded_for(*shape) {
                Ok(mut stack) => {
                    let messages = plan.count / shape.readings();
                    let mut pass = stack.measured(Terms { shape: *shape, messages }, &[]);
                    (*name).clone_into(&mut pass.way);
                    passes.push(pass);
                }
                Err(why) if round == 0 => table.note(format!("Skipped: {why}")),
                Err(_) => {}
            }
        }
    }
    all.iter().for_each(|passes| row(&mut table, passes));
    report.add("shapes in one process", &table, &all);
}

/// From slow devices: a connection each, one message in flight each; beside the same through Mosquitto.
pub(crate) fn fleet(plan: &Plan, report: &mut Report) {
    let heading =
        format!("Slow devices: {} connections, one message in flight each", plan.connections);
    let mut table = Table::new(&heading, &COLUMNS);
    let more = [("devices", plan.connections.to_string()), ("fleet", String::new())];
    let terms = Terms { shape: Shape::Json, messages: plan.count };
    let ways: [fn() -> Result<Stack, String>; 2] = [Stack::embedded, Stack::behind_mosquitto];
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..plan.rounds {
        for (way, passes) in ways.iter().zip(&mut all) {
            match way() {
                Ok(mut stack) => passes.push(stack.measured(terms, &more)),
                Err(why) if round == 0 => table.note(format!("Skipped: {why}")),
                Err(_) => {}
            }
        }
    }
    all.iter().for_each(|passes| row(&mut table, passes));
    table.note("A PUBACK of the service means on disk, one of Mosquitto does not.");
    report.add("fleet", &table, &all);
}
