//! Seeded simulation of the pure core: whatever the restarts, shards and disorder, the same records give the same
//! bytes, and the account adds up after each of them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    reason = "tests: numbers are small, and SHOW=1 prints the alerts of a failing seed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;

use pipeline::account::Reason;
use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::letter::LetterLimits;
use pipeline::outbox::{Entries, EntryKind, OutboxRecord};
use pipeline::record::{
    ConfigActivated, Kind, Origin, Record, Redrive, Rejected, RejectedPoint, SourceState, Tick,
    Uplink,
};
use pipeline::snapshot::Copied;
use pipeline::{ActiveConfig, Bundle, ConfigSource, Head, Limits, Pipeline};
use telemetry::time::IngestTime;

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_763_856_000 * SECOND;

const PROFILE: &str = r#"
name = "soil"
domain = "soil"
measurement = "soil"
interval = "1m"
codec = "json"
[time]
path = "ts"
format = "unix_s"
[sequence]
path = "seq"
[[properties]]
name = "moisture"
path = "m"
unit = "m3/m3"
range = [0.0, 0.6]
[[properties]]
name = "temp"
path = "t"
unit = "C"
"#;

const BATCH: &str = r#"
name = "gateway"
domain = "soil"
measurement = "soil"
interval = "1m"
codec = "json"
[batch]
path = ""
device = "d"
[time]
path = "ts"
format = "unix_s"
[[properties]]
name = "moisture"
path = "m"
unit = "m3/m3"
"#;

const DRY: &str = r#"
name = "dry"
scope = { domain = "soil" }
when = "moisture < 0.12"
clear = "moisture > 0.15"
on_delay = "2m"
severity = "yellow"
message = { zh = "{device} 干 {value}", en = "{device} is dry: {value}" }
"#;

const SILENT: &str = r#"
name = "silent"
scope = { domain = "soil" }
no_data = "3 intervals"
severity = "orange"
message = { zh = "{device} 无数据", en = "{device} is silent" }
"#;

/// A small generator (SplitMix64): the same seed, the same run, on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

fn bundle(rules: &[(&str, &str)], unknown: UnknownDevice) -> Bundle {
    let registry = "tenant,device,profile,site,lat,lon,region,name,group\ndefault,d1,soil,east,,,,一号,g\ndefault,ghost,soil,east,,,,,\n";
    Bundle {
        profiles: vec![file("soil.toml", PROFILE), file("gateway.toml", BATCH)],
        rules: rules.iter().map(|(name, text)| file(name, text)).collect(),
        registry: Some(file("devices.csv", registry)),
        uplinks: vec![
            Route { topic: "up/{site}/{device}".to_owned(), profile: "soil".to_owned() },
            Route { topic: "gw/{device}".to_owned(), profile: "gateway".to_owned() },
        ],
        unknown,
        identity_memory: 8,
        max_payload: vec![2000],
    }
}

struct Configs(BTreeMap<String, Arc<ActiveConfig>>);

impl ConfigSource for Configs {
    fn load(&self, hash: &str) -> Option<Arc<ActiveConfig>> {
        self.0.get(hash).cloned()
    }
}

fn configs() -> (Configs, Vec<String>) {
    let edited = DRY.replace("0.12", "0.13");
    let bundles = [
        bundle(&[("dry.toml", DRY), ("silent.toml", SILENT)], UnknownDevice::Accept),
        bundle(&[("dry.toml", &edited), ("silent.toml", SILENT)], UnknownDevice::Accept),
        bundle(&[("silent.toml", SILENT)], UnknownDevice::Quarantine),
    ];
    let built: Vec<Arc<ActiveConfig>> =
        bundles.iter().map(|b| ActiveConfig::build(b).unwrap()).collect();
    let hashes = built.iter().map(|c| c.hash.clone()).collect();
    (Configs(built.into_iter().map(|c| (c.hash.clone(), c)).collect()), hashes)
}

/// One journal record, encoded.
type Encoded = (Head, u8, Vec<u8>);

struct World {
    dice: Dice,
    now: i64,
    position: u64,
    uplinks: u64,
    records: Vec<Encoded>,
    sent: Vec<(String, Vec<u8>)>,
}

impl World {
    fn push(&mut self, record: &Record<'_>) {
        self.position += 1;
        self.uplinks += u64::from(matches!(record, Record::Uplink(_)));
        let head = Head { position: self.position, ordinal: self.uplinks };
        self.records.push((head, record.kind().code(), record.encode()));
    }

    fn uplink(&mut self, topic: &str, payload: &[u8]) {
        let (received_at, full_len) = (IngestTime::from_nanos(self.now), payload.len() as u64);
        self.push(&Record::Uplink(Uplink { source: 0, received_at, topic, payload, full_len }));
        self.sent.push((topic.to_owned(), payload.to_vec()));
    }

    fn reading(&mut self) -> String {
        let late = self.dice.roll(4) * self.dice.roll(300);
        let ts = match self.dice.roll(20) {
            0 => "null".to_owned(),
            1 => "5".to_owned(),
            2 => "4000000000".to_owned(),
            _ => (self.now / SECOND - i64::try_from(late).unwrap()).to_string(),
        };
        let moisture = match self.dice.roll(12) {
            0 => "null".to_owned(),
            1 => "\"wet\"".to_owned(),
            2 => "0.9".to_owned(),
            n => format!("0.{:02}", 8 + n),
        };
        format!(
            r#""ts":{ts},"seq":{},"m":{moisture},"t":{}"#,
            self.dice.roll(50),
            self.dice.roll(3)
        )
    }

    fn step(&mut self, hashes: &[String]) {
        let pause = [0, 1, 20, 200][self.dice.roll(4) as usize];
        self.now += pause * SECOND;
        match self.dice.roll(30) {
            0..=3 => {
                let live = self.dice.roll(4) != 0;
                let states = vec![SourceState { source: 0, connected: live, caught_up: live }];
                let elapsed_ms = (pause * 1000).unsigned_abs();
                self.push(&Record::Tick(Tick { at_nanos: self.now, elapsed_ms, sources: states }));
            }
            4 => self.uplink("up/s/d2", br#"{"ts":"#),
            5 => self.uplink("nowhere", b"{}"),
            6 => self.uplink("up/s/d2", &vec![b' '; 3000]),
            7 => self.uplink("up/s/d3", b"{}"),
            8..=10 if !self.sent.is_empty() => {
                let (topic, payload) =
                    self.sent[self.dice.roll(self.sent.len() as u64) as usize].clone();
                self.uplink(&topic, &payload);
            }
            11..=14 => {
                let elements: Vec<String> = (0..self.dice.roll(6))
                    .map(|_| match self.dice.roll(5) {
                        0 => "7".to_owned(),
                        n => format!("{{\"d\":\"d{n}\",{}}}", self.reading()),
                    })
                    .collect();
                self.uplink("gw/g1", format!("[{}]", elements.join(",")).as_bytes());
            }
            15 => {
                let hash = hashes[self.dice.roll(hashes.len() as u64) as usize].clone();
                self.push(&Record::ConfigActivated(ConfigActivated { at_nanos: self.now, hash }));
            }
            _ => {
                let topic = format!("up/s/d{}", self.dice.roll(5));
                let payload = format!("{{{}}}", self.reading());
                self.uplink(&topic, payload.as_bytes());
            }
        }
    }
}

/// What a run gave: the outbox, record by record.
#[derive(Debug, PartialEq)]
struct Outbox(Vec<(u64, Vec<u8>)>);

/// Runs records through a pipeline that is snapshotted and restored at random, into a random number of shards.
fn run(records: &[Encoded], configs: &Configs, restarts: &mut Dice) -> (Outbox, Pipeline) {
    let mut shards = || NonZeroU16::new(1 + restarts.roll(7) as u16).unwrap();
    let mut pipeline = Pipeline::new(shards(), Limits::default());
    let mut outbox = Outbox(Vec::new());
    let mut out = OutboxRecord::default();
    let mut until_restart = 1 + records.len();
    let mut kept: Option<(usize, usize, Vec<u8>)> = None;
    let mut at = 0;
    let mut budget = 8 * records.len() + 64;
    while at < records.len() && budget > 0 {
        budget -= 1;
        let (head, kind, payload) = &records[at];
        pipeline.apply(*head, *kind, payload, configs, &mut out).unwrap();
        assert!(pipeline.account().balances(), "at {head:?}: {:?}", pipeline.account());
        at += 1;
        if !out.is_empty() {
            outbox.0.push((head.position, out.bytes().to_vec()));
        }
        if until_restart.is_multiple_of(5) {
            kept = Some((at, outbox.0.len(), pipeline.snapshot()));
        }
        until_restart = until_restart.wrapping_sub(1);
        if until_restart == 0 || until_restart > records.len() + 1 {
            // A crash: back to the last snapshot, outbox cut to it.
            if let Some((from, len, bytes)) = &kept {
                pipeline = Pipeline::restore(bytes, shards(), Limits::default(), configs).unwrap();
                at = *from;
                outbox.0.truncate(*len);
            }
            until_restart = 3 + budget % 17;
        }
    }
    assert_eq!(at, records.len(), "the run ends");
    (outbox, pipeline)
}

/// Straight through, and once more with the answers of the world: refusals of the store and redrives.
fn world(seed: u64, steps: u64) -> (Vec<Encoded>, Configs) {
    let (configs, hashes) = configs();
    let mut world = World {
        dice: Dice(seed),
        now: START,
        position: 0,
        uplinks: 0,
        records: Vec::new(),
        sent: Vec::new(),
    };
    world.push(&Record::ConfigActivated(ConfigActivated {
        at_nanos: START,
        hash: hashes[0].clone(),
    }));
    let mut pipeline = Pipeline::new(NonZeroU16::MIN, Limits::default());
    let mut out = OutboxRecord::default();
    let mut done = 0;
    for _ in 0..steps {
        world.step(&hashes);
        while let Some((head, kind, payload)) = world.records.get(done) {
            pipeline.apply(*head, *kind, payload, &configs, &mut out).unwrap();
            done += 1;
        }
        answer(&mut world, &pipeline, &out);
    }
    (world.records, configs)
}

fn answer(world: &mut World, pipeline: &Pipeline, out: &OutboxRecord) {
    let at_nanos = world.now;
    if world.dice.roll(10) == 0 && !out.is_empty() {
        let entries: Vec<_> = Entries::of(out.bytes()).unwrap().zip(0..).collect();
        if let Some((entry, index)) =
            entries.iter().find(|(entry, _)| entry.kind == EntryKind::Point)
            && let Some((topic, payload)) = world.sent.last().cloned()
        {
            let full_len = payload.len() as u64;
            let origin =
                Origin { source: 0, received_at_nanos: at_nanos, topic, payload, full_len };
            let (position, element) = (world.position, entry.element);
            let (reason, detail) = (Reason::TypeConflict as u8, "field type".to_owned());
            let point = RejectedPoint { position, index: *index, element, reason, detail, origin };
            world.push(&Record::Rejected(Rejected { at_nanos, points: vec![point] }));
        }
    }
    let open: Vec<_> = pipeline.letters().iter().collect();
    if world.dice.roll(8) == 0 && !open.is_empty() {
        let letter = open[world.dice.roll(open.len() as u64) as usize];
        let (origin, element) = ((*letter.origin).clone(), letter.redrive_element());
        let redrive = Record::Redrive(Redrive { at_nanos, letter: letter.id(), element, origin });
        world.push(&redrive);
        if world.dice.roll(3) == 0 {
            world.push(&redrive);
        }
    }
}

/// How many seeds are tried.
fn seeds(usual: u64) -> u64 {
    std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Scenario: random uplinks, repeats, disorder, bad payloads, batches, configuration changes, refusals, redrives;
/// crashes back to a snapshot at random points, into another number of shards.
/// Guarantees: P1 after each record, P4 as bytes.
#[test]
fn the_same_records_give_the_same_bytes_whatever_the_restarts_and_shards() {
    let seeds = seeds(2000);
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|n| n.parse().ok());
    let range = only.map_or(0..seeds, |seed| seed..seed + 1);
    for seed in range {
        let (records, configs) = world(seed, 150);
        let (straight, first) = run(&records, &configs, &mut Dice(1));
        let (broken, second) = run(&records, &configs, &mut Dice(seed + 7));
        assert_eq!(first.account(), second.account(), "SEED={seed}");
        assert_eq!(straight, broken, "SEED={seed}");
        check_entries(&straight, &first, seed);
    }
}

/// The entries of the outbox add up to the account, counted anew from the bytes.
fn check_entries(outbox: &Outbox, pipeline: &Pipeline, seed: u64) {
    let (mut points, mut dead, mut duplicates, mut redriven) = (0, 0, 0, 0);
    let mut alerts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in outbox.0.iter().flat_map(|(_, bytes)| Entries::of(bytes).unwrap()) {
        match entry.kind {
            EntryKind::Point => points += 1,
            EntryKind::DeadReading => dead += 1,
            EntryKind::Duplicate => duplicates += 1,
            EntryKind::Alert => {
                let line: serde_json::Value = serde_json::from_slice(entry.data).unwrap();
                let id = line["id"].as_str().unwrap().to_owned();
                if std::env::var("SHOW").is_ok() {
                    eprintln!("{line}");
                }
                alerts.entry(id).or_default().push(line["state"].as_str().unwrap().to_owned());
            }
            EntryKind::DeadUplink | EntryKind::StoreLetter => continue,
        }
        redriven += u64::from(entry.redriven);
    }
    let account = pipeline.account();
    assert_eq!(points + dead + duplicates, account.readings_decoded + redriven, "SEED={seed}");
    assert_eq!(redriven, account.readings_redriven, "SEED={seed}");
    for (id, states) in alerts {
        let kinds: BTreeSet<&String> = states.iter().collect();
        assert_eq!(kinds.len(), states.len(), "SEED={seed}: alert {id} went {states:?}");
        assert_eq!(states[0], "firing", "SEED={seed}: alert {id} went {states:?}");
    }
}

/// Scenario: a snapshot of every position, restored at once.
/// Guarantees: a snapshot written again has the same bytes for the same number of shards.
#[test]
fn a_snapshot_restored_and_written_again_has_the_same_bytes() {
    let (records, configs) = world(11, 120);
    let shards = NonZeroU16::new(4).unwrap();
    let mut pipeline = Pipeline::new(shards, Limits::default());
    let mut out = OutboxRecord::default();
    for (head, kind, payload) in &records {
        pipeline.apply(*head, *kind, payload, &configs, &mut out).unwrap();
        let bytes = pipeline.snapshot();
        let again = Pipeline::restore(&bytes, shards, Limits::default(), &configs).unwrap();
        assert_eq!(again.snapshot(), bytes, "at {head:?}");
    }
}

/// Scenario: snapshots are copied in steps of any size while records go on being applied: uplinks, refusals, redrives,
/// changes of the configuration.
/// Guarantees: what is copied has the bytes of a snapshot taken at once where it began; a copy ends without a result
/// where the configuration changes, and at no other time.
#[test]
fn a_snapshot_copied_step_by_step_has_the_bytes_of_its_beginning() {
    let (mut whole, mut dropped) = (0, 0);
    for seed in 0..seeds(300) {
        let (records, configs) = world(seed, 150);
        let mut dice = Dice(seed + 3);
        let shards = NonZeroU16::new(1 + dice.roll(5) as u16).unwrap();
        let limits = Limits {
            letters: LetterLimits { bytes_max: 9_000, device_bytes_max: 4_000 },
            ..Limits::default()
        };
        let mut pipeline = Pipeline::new(shards, limits);
        let mut out = OutboxRecord::default();
        let mut begun: Option<(Vec<u8>, Vec<u8>)> = None;
        for (head, kind, payload) in &records {
            let config_before = pipeline.snapshot_head().config;
            pipeline.apply(*head, *kind, payload, &configs, &mut out).unwrap();
            let Some((expected, copied)) = &mut begun else {
                assert_eq!(pipeline.copy_snapshot(&mut Vec::new(), 1), Copied::None);
                if dice.roll(3) == 0 {
                    begun = Some((pipeline.snapshot(), Vec::new()));
                    assert_eq!(pipeline.begin_snapshot(), pipeline.snapshot_head());
                }
                continue;
            };
            let is_change = pipeline.snapshot_head().config != config_before;
            let budget = [1, 1, 60, 300, 3000][dice.roll(5) as usize];
            match pipeline.copy_snapshot(copied, budget) {
                Copied::Part => assert!(!is_change, "SEED={seed}"),
                Copied::None => {
                    assert!(is_change, "SEED={seed}");
                    dropped += 1;
                    begun = None;
                }
                Copied::All => {
                    assert!(*copied == *expected, "SEED={seed} at {head:?}");
                    whole += 1;
                    begun = None;
                }
            }
        }
    }
    assert!(whole > 100 && dropped > 100, "{whole} {dropped}");
}

/// Scenario: uplinks vanish from the journal with a damaged record.
/// Guarantees: they are counted as lost from the gap in the ordinals, and the account adds up.
#[test]
fn a_gap_in_the_ordinals_is_counted_as_lost() {
    let (records, configs) = world(3, 100);
    let mut pipeline = Pipeline::new(NonZeroU16::MIN, Limits::default());
    let mut out = OutboxRecord::default();
    let uplink = Kind::Uplink.code();
    let mut lost = 0;
    for (n, (head, kind, payload)) in records.iter().enumerate() {
        if n % 7 == 6 && *kind == uplink && n + 8 < records.len() {
            lost += 1;
            continue;
        }
        pipeline.apply(*head, *kind, payload, &configs, &mut out).unwrap();
    }
    assert!(lost > 0);
    assert_eq!(pipeline.account().uplinks_lost, lost);
    assert!(pipeline.account().balances());
}

/// Scenario: the store refuses a point, the program crashes before its cursor passes it, the store refuses it again;
/// then the letter is tried again, twice.
/// Guarantees: one letter, one redrive, the account adds up.
#[test]
fn a_point_refused_twice_has_one_letter() {
    let (configs, hashes) = configs();
    let mut world = World {
        dice: Dice(1),
        now: START,
        position: 0,
        uplinks: 0,
        records: Vec::new(),
        sent: Vec::new(),
    };
    let (at_nanos, hash) = (START, hashes[0].clone());
    world.push(&Record::ConfigActivated(ConfigActivated { at_nanos, hash }));
    let payload = format!(r#"{{"ts":{},"m":0.2}}"#, START / SECOND).into_bytes();
    world.uplink("up/s/d2", &payload);
    let full_len = payload.len() as u64;
    let topic = "up/s/d2".to_owned();
    let origin = Origin { source: 0, received_at_nanos: START, topic, payload, full_len };
    let (reason, detail) = (Reason::TypeConflict as u8, "field type".to_owned());
    let (position, origin_again) = (world.position, origin.clone());
    let point = RejectedPoint { position, index: 0, element: 0, reason, detail, origin };
    let rejected = Record::Rejected(Rejected { at_nanos, points: vec![point] });
    world.push(&rejected);
    let letter = format!("{}-0", world.position);
    world.push(&rejected);
    let redrive = Redrive { at_nanos, letter, element: Some(0), origin: origin_again };
    world.push(&Record::Redrive(redrive.clone()));
    world.push(&Record::Redrive(redrive));
    let (outbox, pipeline) = run(&world.records, &configs, &mut Dice(1));
    let kinds: Vec<EntryKind> = outbox
        .0
        .iter()
        .flat_map(|(_, bytes)| Entries::of(bytes).unwrap())
        .map(|entry| entry.kind)
        .collect();
    assert_eq!(kinds, [EntryKind::Point, EntryKind::StoreLetter, EntryKind::Point]);
    let account = pipeline.account();
    assert_eq!((account.store_dead.total(), account.readings_redriven), (1, 1));
    assert!(pipeline.letters().is_empty());
}
