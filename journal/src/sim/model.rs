//! The crash model: a log lives through crash after crash on a [`SimDisk`], and a ledger knows what
//! it owes.
//!
//! After each crash the log must open, and then hold:
//!
//! - every record that was called durable and not cut since, with its kind, ordinal and bytes;
//! - of the others only such as were appended and not pronounced dead since;
//! - positions in order, no damage (a crash alone is never damage), and an end at the last record.
//!
//! Then it must take one more record, make it durable and show it to its reader.
//!
//! While it lives, its readers must have seen exactly what is published.

mod ledger;

use super::{Crash, Dice, Faults, Planted, SimDisk};
use crate::{Appended, Damage, Log, LogOptions, ReadError, ReadFrom, Reader, Visible, WriteError};
use ledger::{Ledger, payload};
use std::path::PathBuf;
use std::sync::Arc;

/// Crashes that one seed lives through.
pub const CRASHES_PER_SEED: u64 = 8;

/// What a seed showed, if nothing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Crashes, each followed by a check of everything.
    pub crashes: u64,
    /// Records read back and compared.
    pub records: u64,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, after {crashes} crashes: {what}")]
pub struct Broken {
    /// Seed that shows it again.
    pub seed: u64,
    /// Crashes until then.
    pub crashes: u64,
    /// Which promise.
    pub what: String,
}

/// Lives through [`CRASHES_PER_SEED`] crashes.
///
/// # Errors
/// The first [`Broken`] promise.
pub fn run(seed: u64, planted: Option<Planted>) -> Result<Outcome, Broken> {
    let mut life = Life::new(seed, planted);
    let mut outcome = Outcome::default();
    for _ in 0..CRASHES_PER_SEED {
        let lived = life.live();
        outcome.crashes += 1;
        let checked = lived.and_then(|()| life.crash_and_check());
        match checked {
            Ok(records) => outcome.records += records,
            Err(what) => return Err(Broken { seed, crashes: outcome.crashes, what }),
        }
    }
    Ok(outcome)
}

struct Life {
    dice: Dice,
    disk: SimDisk,
    dir: PathBuf,
    options: LogOptions,
    ledger: Ledger,
}

/// A log, and a reader that follows it.
struct Open {
    log: Log,
    reader: Reader,
    cut: bool,
}

impl Life {
    fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut dice = Dice::new(seed ^ 0x7469_616e_6c75);
        let visible = if dice.in_1024(512) { Visible::Durable } else { Visible::Written };
        let options = LogOptions {
            segment_bytes: 2048 + 1024 * dice.below(3),
            visible,
            zeros_ahead: if dice.in_1024(512) { 0 } else { 256 << dice.below(6) },
            ..LogOptions::default()
        };
        let disk = SimDisk::with_planted(seed, planted);
        Self { dice, disk, dir: PathBuf::from("/log"), options, ledger: Ledger::default() }
    }

    fn open(&self) -> Result<(Open, crate::Opened), String> {
        let (log, opened) = Log::open(Arc::new(self.disk.clone()), &self.dir, self.options.clone())
            .map_err(|e| format!("does not open: {e}: {:?}", std::error::Error::source(&e)))?;
        let reader = log.reader(ReadFrom::Newest);
        Ok((Open { log, reader, cut: false }, opened))
    }

    /// Lets a log live until the machine stops, or some time.
    fn live(&mut self) -> Result<(), String> {
        let most = if self.dice.in_1024(512) { 24 } else { 120 };
        self.disk.stop_after(Some(1 + self.dice.below(most)));
        self.set_faults();
        let Ok((mut open, _)) = self.open() else {
            // Stopped, or a fault; the check opens it without either.
            return Ok(());
        };
        for _ in 0..self.dice.below(48) {
            if self.disk.is_stopped() {
                break;
            }
            open = match self.act(open)? {
                Some(open) => open,
                None => break,
            };
        }
        Ok(())
    }

    fn set_faults(&mut self) {
        let mut often = |most| {
            if self.dice.in_1024(256) {
                u16::try_from(self.dice.below(most)).unwrap_or(0)
            } else {
                0
            }
        };
        let faults = Faults {
            short_write: often(512),
            no_space: often(128),
            write_error: often(64),
            sync_error: often(256),
        };
        self.disk.set_faults(faults);
    }

    fn act(&mut self, mut open: Open) -> Result<Option<Open>, String> {
        match self.dice.below(64) {
            0..=23 => self.append(&mut open)?,
            24..=43 => self.sync(&mut open),
            44..=49 => self.write(&mut open),
            50..=55 => self.read(&mut open)?,
            56..=58 => self.cut_before(&mut open),
            59..=61 => self.truncate_after(&mut open),
            _ => return Ok(self.close(open)),
        }
        Ok(Some(open))
    }

    /// Closes and opens again; `None` where one of them failed, or where something dead may have
    /// come back: that ends this life, and the check finds out.
    fn close(&mut self, open: Open) -> Option<Open> {
        let end = open.log.close().ok()?;
        self.ledger.durable(end.position);
        self.ledger.wrote(end.position);
        let reopened = self.open().ok().map(|(open, _)| open);
        reopened.filter(|_| self.ledger.is_certain())
    }

    fn append(&mut self, open: &mut Open) -> Result<(), String> {
        for _ in 0..1 + self.dice.below(4) {
            let gap = if self.dice.in_1024(64) { self.dice.below(5) } else { 0 };
            let position = open.log.end().position + 1 + gap;
            let id = self.ledger.next_id();
            let bytes = payload(id);
            let record =
                Appended { kind: id.to_le_bytes()[0], position, ordinal: id, payload: &bytes };
            open.log.append(record).map_err(|e| format!("append refused: {e}"))?;
            self.ledger.appended(position, id)?;
        }
        Ok(())
    }

    fn sync(&mut self, open: &mut Open) {
        let synced = open.log.sync().map(|_| ());
        self.note(&open.log, &synced);
    }

    fn write(&mut self, open: &mut Open) {
        let written = open.log.write().map(|_| ());
        self.note(&open.log, &written);
    }

    /// Notes what became of what was appended.
    fn note(&mut self, log: &Log, outcome: &Result<(), WriteError>) {
        self.ledger.durable(log.durable().position);
        self.ledger.wrote(log.written().position);
        if outcome.as_ref().is_err_and(|e| !e.is_full()) {
            self.ledger.gone(log.end().position);
        }
    }

    /// A reader sees what is published, all of it, and nothing else.
    fn read(&self, open: &mut Open) -> Result<(), String> {
        loop {
            match open.reader.next() {
                Ok(Some(record)) => self.ledger.seen(&record, self.options.visible)?,
                Ok(None) => break,
                Err(ReadError::Cut { .. }) if open.cut => {}
                Err(ReadError::Io { .. }) if self.disk.is_stopped() => return Ok(()),
                Err(e) => return Err(format!("reader: {e}")),
            }
        }
        let published = open.log.published().end().position;
        if open.log.first_position().is_some() && open.reader.position() < published {
            return Err(format!(
                "reader stands at {}, published is {published}",
                open.reader.position()
            ));
        }
        no_damage("reader", open.reader.damaged())
    }

    fn cut_before(&mut self, open: &mut Open) {
        let position = self.ledger.some_position(&mut self.dice);
        open.cut = true;
        self.ledger.cut_before(position);
        // A failure leaves more than asked, which the ledger allows.
        drop(open.log.cut_before(position));
    }

    fn truncate_after(&mut self, open: &mut Open) {
        let position = self.ledger.some_position(&mut self.dice);
        if position >= open.log.end().position {
            return;
        }
        let done = open.log.truncate_after(position);
        let (end, durable) = (open.log.end().position, open.log.durable().position);
        self.ledger.durable(durable);
        if done.is_ok() {
            self.ledger.gone_for_good(end);
        } else {
            self.ledger.gone(end);
            self.ledger.may_lack_above(position);
        }
        self.ledger.wrote(open.log.written().position);
    }

    fn crash_and_check(&mut self) -> Result<u64, String> {
        let crash = if self.dice.in_1024(160) { Crash::Process } else { Crash::Power };
        self.disk.crash(crash);
        let twice = self.dice.in_1024(512);
        if twice {
            // Crashes while it repairs what the last crash left.
            self.disk.set_faults(Faults::default());
            self.disk.stop_after(Some(1 + self.dice.below(16)));
            drop(self.open());
            self.disk.crash(Crash::Power);
        }
        self.disk.set_faults(Faults::default());
        let (open, opened) = self.open()?;
        let Open { mut log, .. } = open;
        no_damage("recovery", opened.damage)?;
        let mut reader = log.reader(ReadFrom::Oldest);
        let mut found = Vec::new();
        while let Some(record) = reader.next().map_err(|e| format!("read after the crash: {e}"))? {
            found.push(self.ledger.check(&record)?);
        }
        no_damage("reading after the crash", reader.damaged())?;
        let end = opened.end.position;
        if found.last().is_some_and(|(position, _)| *position != end) {
            return Err(format!("the end is {end}, the last record is {:?}", found.last()));
        }
        let records = found.len() as u64;
        self.ledger.adopt(found, crash == Crash::Process && !twice)?;
        self.go_on(&mut log, &mut reader)?;
        Ok(records)
    }

    /// After the crash, on a disk that works, the log takes a record as before.
    fn go_on(&mut self, log: &mut Log, reader: &mut Reader) -> Result<(), String> {
        let (position, id) = (log.end().position + 1, self.ledger.next_id());
        let bytes = payload(id);
        let record = Appended { kind: id.to_le_bytes()[0], position, ordinal: id, payload: &bytes };
        log.append(record).map_err(|e| format!("takes nothing after the crash: {e}"))?;
        self.ledger.appended(position, id)?;
        log.sync().map_err(|e| format!("makes nothing durable after the crash: {e}"))?;
        self.ledger.durable(position);
        self.ledger.wrote(position);
        match reader.next() {
            Ok(Some(record)) if record.position == position => {
                self.ledger.check(&record).map(|_| ())
            }
            other => {
                Err(format!("{position} was taken after the crash; its reader sees {other:?}"))
            }
        }
    }
}

fn no_damage(who: &str, damage: Damage) -> Result<(), String> {
    if damage == Damage::default() {
        Ok(())
    } else {
        Err(format!("{who} found damage: {damage:?}"))
    }
}
