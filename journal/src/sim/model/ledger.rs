//! What a log owes.

use crate::sim::Dice;
use crate::{Record, Visible};
use std::collections::BTreeMap;

/// Positions, and the ids of the records that must or may stand there.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    ids: u64,
    /// Called durable.
    owed: BTreeMap<u64, u64>,
    /// Appended, and nothing said about it yet.
    open: BTreeMap<u64, u64>,
    /// Pronounced dead, but perhaps still on the disk: until something newer is durable.
    dead: BTreeMap<u64, Vec<u64>>,
    /// Up to here the file has what was appended, if only in the cache.
    written: u64,
    /// Nothing below this is owed.
    cut: u64,
    /// Nothing above this is owed until the next check: taking it away was under way.
    going: Option<u64>,
}

/// Returns the bytes of a record: a function of its id.
pub(super) fn payload(id: u64) -> Vec<u8> {
    let mut dice = Dice::new(id);
    let len = match dice.below(16) {
        0 => 0,
        1..=10 => dice.below(48),
        11..=14 => dice.below(160),
        _ => dice.below(900),
    };
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 8);
    let word = if dice.in_1024(64) { u64::from_le_bytes(*b"TLr1TLr1") } else { 0 };
    while (bytes.len() as u64) < len {
        let next = if word == 0 { dice.next() } else { word };
        bytes.extend_from_slice(&next.to_le_bytes());
    }
    bytes.truncate(usize::try_from(len).unwrap_or(0));
    bytes
}

impl Ledger {
    pub(super) const fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Notes a record that the log has taken. A log that was emptied begins anew, below what was
    /// cut.
    pub(super) fn appended(&mut self, position: u64, id: u64) -> Result<(), String> {
        let passed = self.owed.split_off(&position);
        if passed.keys().any(|at| *at >= self.cut) {
            return Err(format!("took {position}, although more is owed"));
        }
        self.open.insert(position, id);
        Ok(())
    }

    /// Everything up to `position` was called durable.
    pub(super) fn durable(&mut self, position: u64) {
        let later = self.open.split_off(&(position + 1));
        let done = std::mem::replace(&mut self.open, later);
        if !done.is_empty() {
            // It stands in a segment whose head buries what is dead.
            self.dead.clear();
        }
        self.owed.extend(done);
    }

    /// What is above `end` is gone from the log.
    pub(super) fn gone(&mut self, end: u64) {
        let owed = self.owed.split_off(&(end + 1));
        let open = self.open.split_off(&(end + 1));
        for (at, id) in owed.into_iter().chain(open) {
            self.dead.entry(at).or_default().push(id);
        }
        self.cut = self.cut.min(end + 1);
    }

    /// What is above `end` is gone from the disk, and so is whatever was dead.
    pub(super) fn gone_for_good(&mut self, end: u64) {
        self.gone(end);
        self.dead.clear();
    }

    /// Returns whether nothing dead may stand on the disk.
    pub(super) fn is_certain(&self) -> bool {
        self.dead.is_empty()
    }

    /// Taking away what is above `position` failed somewhere.
    pub(super) fn may_lack_above(&mut self, position: u64) {
        self.going = Some(self.going.map_or(position, |going| going.min(position)));
    }

    pub(super) const fn wrote(&mut self, position: u64) {
        self.written = position;
    }

    pub(super) fn cut_before(&mut self, position: u64) {
        self.cut = self.cut.max(position);
    }

    pub(super) fn some_position(&self, dice: &mut Dice) -> u64 {
        let newest = self.owed.last_key_value().map_or(0, |(last, _)| *last);
        newest.saturating_sub(dice.below(40))
    }

    /// A record seen by a reader while the log lives.
    pub(super) fn seen(&self, record: &Record<'_>, visible: Visible) -> Result<(), String> {
        let (position, id) = self.check(record)?;
        let owed = self.owed.get(&position) == Some(&id);
        let written = self.open.get(&position) == Some(&id) && position <= self.written;
        if owed || (written && visible == Visible::Written) {
            Ok(())
        } else {
            Err(format!("a reader saw record {id} at {position} too early or too late"))
        }
    }

    /// Compares a record with what was appended.
    pub(super) fn check(&self, record: &Record<'_>) -> Result<(u64, u64), String> {
        let (at, id) = (record.position, record.ordinal);
        let known = match self.owed.get(&at) {
            Some(owed) => *owed == id,
            None => {
                self.open.get(&at) == Some(&id)
                    || self.dead.get(&at).is_some_and(|ids| ids.contains(&id))
            }
        };
        if !known {
            return Err(format!(
                "record {id} at {at} is not what was appended there: {:?}",
                self.owed.get(&at)
            ));
        }
        if record.payload != payload(id) || record.kind != id.to_le_bytes()[0] {
            return Err(format!("record {id} at {at} has other bytes"));
        }
        Ok((at, id))
    }

    /// After a crash: all that is owed was found; what was found is owed from now on. With `cached`
    /// the machine did not stop, so that what the file had is owed as well.
    pub(super) fn adopt(&mut self, found: Vec<(u64, u64)>, cached: bool) -> Result<(), String> {
        if !found.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(format!("positions are not in order: {found:?}"));
        }
        let found: BTreeMap<_, _> = found.into_iter().collect();
        let written = self.open.keys().filter(|at| cached && **at <= self.written);
        let going = self.going.take().unwrap_or(u64::MAX);
        let owed = |at: &&u64| (self.cut..=going).contains(*at) && !found.contains_key(*at);
        let missing = self.owed.keys().chain(written).find(owed);
        if let Some(at) = missing {
            return Err(format!("record at {at} was called durable and is gone"));
        }
        self.written = found.last_key_value().map_or(0, |(last, _)| *last);
        self.owed = found;
        self.open.clear();
        self.dead.clear();
        Ok(())
    }
}
