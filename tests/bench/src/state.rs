//! The pipeline alone with many devices: what their state takes, what an uplink costs, how long a snapshot is.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use ingest::engine::recovery::{SHARDS, restore};
use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::outbox::OutboxRecord;
use pipeline::record::{ConfigActivated, Kind, Record, SourceState, Tick, Uplink};
use pipeline::snapshot::Copied;
use pipeline::{ActiveConfig, Bundle, Head, Limits, Pipeline};
use proof::wait::now_ms;
use serde::{Deserialize, Serialize};
use telemetry::time::IngestTime;

use crate::load::Shape;
use crate::load::message::{self, Stamp, Writer};
use crate::setup::rule_files;
use crate::usage::{cpu_seconds, resident_bytes};

/// Readings remembered per device: the default of the configuration.
const IDENTITY_MEMORY: u32 = 32;
/// Uplinks between two pieces of a snapshot, and bytes of a piece: as the engine has it.
const TURN: u64 = 1024;
const PIECE: usize = 1 << 20;
/// Least uplinks whose CPU time is taken, so that the kernel's ticks of 10 ms do not show.
const MEASURED: u64 = 2_000_000;

/// How many devices.
#[derive(Debug, Clone, Args)]
pub(crate) struct State {
    /// Devices, each with three rules.
    #[arg(long)]
    pub(crate) devices: u64,
    /// Least uplinks whose CPU time is taken.
    #[arg(long, default_value_t = MEASURED)]
    pub(crate) measured: u64,
}

/// What it takes; printed as one line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Devices.
    pub(crate) devices: u64,
    /// Resident bytes a device after its first reading.
    pub(crate) bytes_first: f64,
    /// Resident bytes a device once its memory of readings is full.
    pub(crate) bytes_full: f64,
    /// CPU of one uplink from journal record to outbox record, microseconds.
    pub(crate) uplink_us: f64,
    /// Time of the tick of each second, milliseconds.
    pub(crate) tick_ms: f64,
    /// Bytes of a snapshot.
    pub(crate) snapshot_bytes: u64,
    /// Longest time for which the pipeline stands at once while one is copied between uplinks, milliseconds.
    pub(crate) pause_ms: f64,
    /// Time of all the steps of a copy together, and the CPU of them, milliseconds.
    pub(crate) snapshot_ms: [f64; 2],
    /// Time to restore it on all cores, and the CPU of it, milliseconds.
    pub(crate) restore_ms: [f64; 2],
}

struct Run {
    pipeline: Pipeline,
    config: Arc<ActiveConfig>,
    writer: Writer,
    out: OutboxRecord,
    record: Vec<u8>,
    packet: Vec<u8>,
    position: u64,
    uplinks: u64,
    at_ms: i64,
}

impl State {
    /// Applies uplinks of all devices in turn until every memory is full, and measures.
    pub(crate) fn run(&self) -> Taken {
        let mut run = Run::new();
        let me = std::process::id();
        let resident = || resident_bytes(me).0;
        let empty = resident();
        run.round(self.devices, true);
        let first = resident();
        for _ in 0..IDENTITY_MEMORY {
            run.round(self.devices, true);
        }
        let full = resident();
        let rounds = self.measured.div_ceil(self.devices);
        let cpu = |run: &mut Run, is_applied: bool| {
            let before = cpu_seconds(me);
            (0..rounds).for_each(|_| run.round(self.devices, is_applied));
            cpu_seconds(me) - before
        };
        let uplinks_cpu = cpu(&mut run, true) - cpu(&mut run, false);
        let tick_ms = run.tick();
        let position = run.position;
        let (snapshot, pause_ms, snapshot_ms) = run.copy(self.devices);
        drop(run.pipeline);
        let (restored, restore_ms) = timed(|| restore(&snapshot, SHARDS, &run.config));
        assert_eq!(restored.unwrap().position(), position);
        let devices = self.devices as f64;
        Taken {
            devices: self.devices,
            bytes_first: (first as f64 - empty as f64) / devices,
            bytes_full: (full as f64 - empty as f64) / devices,
            uplink_us: uplinks_cpu * 1e6 / (rounds * self.devices) as f64,
            tick_ms,
            snapshot_bytes: snapshot.len() as u64,
            pause_ms,
            snapshot_ms,
            restore_ms,
        }
    }
}

/// Does something; returns its wall and CPU time in milliseconds as well.
fn timed<T>(work: impl FnOnce() -> T) -> (T, [f64; 2]) {
    let (begun, cpu) = (Instant::now(), cpu_seconds(std::process::id()));
    let done = work();
    let cpu = cpu_seconds(std::process::id()) - cpu;
    (done, [begun.elapsed().as_secs_f64() * 1e3, cpu * 1e3])
}

impl Run {
    fn new() -> Self {
        let file = |(name, text): (String, String)| SourceFile { name, text };
        let bundle = Bundle {
            profiles: vec![file(("soil-5in1.toml".to_owned(), message::profile(Shape::Json)))],
            rules: rule_files().into_iter().map(file).collect(),
            registry: None,
            uplinks: vec![Route {
                topic: "tianlu/v1/{tenant}/{site}/{device}/up".to_owned(),
                profile: "soil-5in1".to_owned(),
            }],
            unknown: UnknownDevice::Accept,
            identity_memory: IDENTITY_MEMORY,
            max_payload: vec![262_144],
        };
        let config = ActiveConfig::build(&bundle).unwrap();
        let mut run = Self {
            pipeline: Pipeline::new(SHARDS, Limits::default()),
            writer: Writer::new(),
            out: OutboxRecord::default(),
            record: Vec::new(),
            packet: Vec::new(),
            position: 0,
            uplinks: 0,
            at_ms: now_ms(),
            config,
        };
        let hash = run.config.hash.clone();
        run.apply(&Record::ConfigActivated(ConfigActivated {
            at_nanos: run.at_ms * 1_000_000,
            hash,
        }));
        run
    }

    /// Copies a snapshot as the engine does, a piece after each turn of uplinks; returns it, the longest pause, and the
    /// time of all pieces.
    fn copy(&mut self, devices: u64) -> (Vec<u8>, f64, [f64; 2]) {
        let mut snapshot = Vec::new();
        let (_, mut all) = timed(|| self.pipeline.begin_snapshot());
        let mut longest = all[0];
        loop {
            let mut piece = Vec::new();
            let (copied, took) = timed(|| self.pipeline.copy_snapshot(&mut piece, PIECE));
            longest = longest.max(took[0]);
            all = [all[0] + took[0], all[1] + took[1]];
            snapshot.append(&mut piece);
            if copied == Copied::All {
                return (snapshot, longest, all);
            }
            self.round(devices.min(TURN), true);
        }
    }

    /// One uplink of each device, a minute after the one before; or only what makes them.
    fn round(&mut self, devices: u64, is_applied: bool) {
        self.at_ms += 60_000;
        for device in 0..devices {
            self.packet.clear();
            let stamp = Stamp { packet_id: 1, at_ms: self.at_ms, sequence: self.uplinks / devices };
            self.writer.put(&mut self.packet, device, self.uplinks, stamp);
            let (topic, payload) = self.writer.parts(&self.packet);
            let received_at = IngestTime::from_nanos(self.at_ms * 1_000_000 + 1_000_000);
            let uplink =
                Uplink { source: 0, received_at, topic, payload, full_len: payload.len() as u64 };
            self.record.clear();
            uplink.encode_into(&mut self.record);
            if is_applied {
                self.uplinks += 1;
                self.position += 1;
                let head = Head { position: self.position, ordinal: self.uplinks };
                self.pipeline
                    .apply(head, Kind::Uplink.code(), &self.record, &self.config, &mut self.out)
                    .unwrap();
            }
        }
    }

    fn apply(&mut self, record: &Record<'_>) {
        self.position += 1;
        let head = Head { position: self.position, ordinal: self.uplinks };
        let kind = record.kind().code();
        let payload = record.encode();
        self.pipeline.apply(head, kind, &payload, &self.config, &mut self.out).unwrap();
    }

    /// Returns how long the tick of a second takes, as the mean of some.
    fn tick(&mut self) -> f64 {
        const TICKS: i64 = 5;
        let begun = Instant::now();
        for second in 0..TICKS {
            let sources = vec![SourceState { source: 0, connected: true, caught_up: true }];
            let at_nanos = (self.at_ms + 1000 * second) * 1_000_000;
            self.apply(&Record::Tick(Tick { at_nanos, elapsed_ms: 1000, sources }));
        }
        begun.elapsed().as_secs_f64() * 1e3 / TICKS as f64
    }
}
