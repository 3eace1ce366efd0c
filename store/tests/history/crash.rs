//! The history lives through faults and crashes on a simulated disk, and a model knows what it owes.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use journal::sim::{Crash, Dice, Faults, Planted, SimDisk};
use store::history::{Frozen, History, HistoryOptions};
use telemetry::time::EventTime;

use crate::model::{Model, Offer, at};

const SEEDS: u64 = 24;
const STEPS: u64 = 250;

/// One life of a history and of the engine before it.
struct Life {
    dice: Dice,
    disk: SimDisk,
    history: History,
    /// Everything the outbox holds.
    offers: Vec<Offer>,
    /// How many of them were offered since the last start, and before.
    offered: usize,
    /// The cursor of the last flush that was acknowledged.
    durable: usize,
    /// Tails that wait to be written, with the cursors of their freezes; the older ones first.
    frozen: Vec<(usize, Frozen)>,
    now: EventTime,
}

impl Life {
    fn new(seed: u64, planted: Option<Planted>) -> Self {
        let disk = SimDisk::with_planted(seed, planted);
        let (history, cursor) = History::open_on(Arc::new(disk.clone()), options()).unwrap();
        assert_eq!(cursor, None);
        let now = at("2026-10-29T21:00:00Z");
        Self {
            dice: Dice::new(seed),
            disk,
            history,
            offers: Vec::new(),
            offered: 0,
            durable: 0,
            frozen: Vec::new(),
            now,
        }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..=49 => self.offer(),
            50..=62 => self.flush(),
            63..=68 => self.freeze(),
            69..=74 => self.write(),
            75..=86 => self.maintain(),
            87..=91 => self.check(),
            92..=95 => self.pass_time(),
            96 => self.faults(),
            _ => self.crash(),
        }
    }

    fn offer(&mut self) {
        for _ in 0..=self.dice.below(12) {
            if self.offered == self.offers.len() {
                self.offers.push(Offer::throw(&mut self.dice, self.now));
            }
            let taken = self.offers[self.offered].offer(&self.history, self.offered);
            if self.disk.is_stopped() {
                // It stopped while the columns of a month were read: the engine is no more either.
                return;
            }
            let offer = &mut self.offers[self.offered];
            let is_taken = *offer.is_taken.get_or_insert(taken.is_ok());
            assert_eq!(
                taken,
                if is_taken { Ok(()) } else { Err("type_conflict") },
                "{}",
                offer.line()
            );
            self.offered += 1;
        }
    }

    fn flush(&mut self) {
        let cursor = self.offered.to_string();
        if self.history.flush(cursor.as_bytes()).is_ok() {
            self.durable = self.offered;
            assert_eq!(self.history.tail().rows, 0);
        }
    }

    fn freeze(&mut self) {
        let frozen = self.history.freeze(self.offered.to_string().as_bytes());
        assert_eq!(self.history.unfrozen().rows, 0);
        self.frozen.push((self.offered, frozen));
    }

    /// Writes any of what is frozen, once or again, in any order.
    fn write(&mut self) {
        let count = self.frozen.len() as u64;
        if count > 0 {
            let at = usize::try_from(self.dice.below(count)).unwrap();
            let (cursor, frozen) = &self.frozen[at];
            if self.history.write(frozen).is_ok() {
                self.durable = self.durable.max(*cursor);
                if self.dice.below(2) == 0 {
                    self.frozen.drain(..=at);
                }
            }
        }
    }

    fn maintain(&mut self) {
        for _ in 0..4 {
            if !self.history.maintain(self.now).is_ok_and(|done| done.has_more) {
                break;
            }
        }
    }

    fn taken(&self, to: usize) -> Model {
        let mut model = Model::default();
        for offer in &self.offers[..to] {
            assert_eq!(Some(model.take(offer)), offer.is_taken, "{offer:?}");
        }
        model
    }

    fn check(&mut self) {
        if !self.disk.is_stopped() {
            self.disk.stop_after(None);
            self.taken(self.offered).check(&self.history, &mut self.dice);
            assert_eq!(self.history.damaged_files(), 0);
        }
    }

    fn pass_time(&mut self) {
        let hours = if self.dice.below(6) == 0 { 24 * 20 } else { 12 };
        self.now = self.now.plus(Duration::from_mins(self.dice.below(hours * 60)));
    }

    fn faults(&mut self) {
        let mut often =
            |most| if self.dice.below(2) == 0 { 0 } else { self.dice.below(most) as u16 };
        let faults = Faults {
            short_write: often(500),
            no_space: often(80),
            write_error: often(40),
            sync_error: often(80),
        };
        self.disk.set_faults(faults);
        let stop = (self.dice.below(2) == 0).then(|| 1 + self.dice.below(60));
        self.disk.stop_after(stop);
    }

    /// Stops, starts again, perhaps more than once, and takes again what the cursor has not passed.
    fn crash(&mut self) {
        let (history, cursor) = loop {
            let crash = if self.dice.below(3) == 0 { Crash::Process } else { Crash::Power };
            self.disk.crash(crash);
            self.disk.set_faults(Faults::default());
            let stop = (self.dice.below(3) == 0).then(|| 1 + self.dice.below(40));
            self.disk.stop_after(stop);
            match History::open_on(Arc::new(self.disk.clone()), options()) {
                Ok(opened) => break opened,
                Err(error) => assert!(self.disk.is_stopped(), "it does not open: {error:?}"),
            }
        };
        self.disk.stop_after(None);
        let cursor = cursor.map_or(0, |bytes| String::from_utf8(bytes).unwrap().parse().unwrap());
        assert!(cursor >= self.durable, "cursor {cursor} is behind {}", self.durable);
        self.history = history;
        self.offered = cursor;
        self.durable = cursor;
        self.frozen.clear();
        self.check();
    }
}

fn options() -> HistoryOptions {
    HistoryOptions::new(PathBuf::from("history"), Duration::from_hours(24 * 4_000))
}

fn live(seed: u64, planted: Option<Planted>) {
    let mut life = Life::new(seed, planted);
    for _ in 0..STEPS {
        life.step();
        if life.disk.is_stopped() {
            life.crash();
        }
    }
    life.crash();
}

/// Returns the seed to replay, or all.
fn seeds() -> std::ops::Range<u64> {
    let seed = std::env::var("TIANLU_HISTORY_SEED").ok().map(|seed| seed.parse().unwrap());
    seed.map_or(0..SEEDS, |seed: u64| seed..seed + 1)
}

/// Scenario: takes with late and double points, flushes, merges, reads, faults of the disk and crashes at
/// any call, in any order.
/// Guarantees: H1, H2, H4: after each crash exactly what the cursor has passed is there, each point once;
/// reads at any moment see exactly what was taken.
#[test]
fn a_crash_at_any_call_leaves_neither_hole_nor_double() {
    for seed in seeds() {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| live(seed, None))) {
            eprintln!(
                "replay: TIANLU_HISTORY_SEED={seed} cargo test -p store --test history crash"
            );
            resume_unwind(panic);
        }
    }
}

/// Scenario: the same on a disk that plays a mistake: fsyncs that do nothing.
/// Guarantees: the simulation notices.
#[test]
fn the_simulation_sees_a_forgotten_fsync() {
    for planted in [Planted::AckBeforeFsync, Planted::NoDirectoryFsync] {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let seen = (0..20).any(|seed| catch_unwind(|| live(seed, Some(planted))).is_err());
        std::panic::set_hook(hook);
        assert!(seen, "{} went unnoticed", planted.name());
    }
}
