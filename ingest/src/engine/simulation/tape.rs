//! The tape: every record that the two logs ever called durable, or showed, kept apart from them.
//!
//! It is written as the logs publish, so that what is cut, lost or derived again can be held against it.

use std::collections::BTreeMap;

use bytes::Bytes;
use journal::{Log, ReadFrom, Reader};
use pipeline::record::{Kind, Record};

use super::clock;

/// A record of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) kind: u8,
    pub(super) ordinal: u64,
    pub(super) payload: Vec<u8>,
    /// The true time when it was seen to be durable.
    pub(super) seen_at: i64,
}

/// Both logs, as they ever were.
#[derive(Debug, Default)]
pub(super) struct Tape {
    pub(super) journal: BTreeMap<u64, Kept>,
    /// Ordinal and results by position.
    pub(super) outbox: BTreeMap<u64, (u64, Vec<u8>)>,
    readers: Option<(Reader, Reader)>,
    /// Uplinks in the journal.
    pub(super) uplinks: u64,
    taken_in: BTreeMap<Bytes, u64>,
    /// Results that were another thing when they were derived again.
    pub(super) broken: Option<String>,
}

impl Tape {
    /// Returns how often a payload stands in the journal.
    pub(super) fn times_taken_in(&self, payload: &Bytes) -> u64 {
        self.taken_in.get(payload).copied().unwrap_or_default()
    }

    /// Holds a journal just opened against everything that was ever durable in it, then follows both logs.
    pub(super) fn follow(&mut self, journal: &Log, outbox: &Log) -> Result<(), String> {
        let mut reader = journal.reader(ReadFrom::Oldest);
        let mut before = None;
        while let Some(record) = reader.next().map_err(|error| error.to_string())? {
            let at = record.position;
            if let Some(known) = self.journal.get(&at) {
                let same = (known.kind, known.ordinal, &known.payload[..])
                    == (record.kind, record.ordinal, record.payload);
                if !same {
                    return Err(format!("P2: journal record {at} has changed"));
                }
            } else if self.last().is_some_and(|last| at <= last) {
                return Err(format!("P2: journal record {at} was never durable"));
            }
            let gap = before.and_then(|before| self.journal.range(before + 1..at).next());
            if let Some((lost, _)) = gap {
                let kind = self.journal.get(lost).map(|kept| kept.kind);
                return Err(format!(
                    "P2: journal record {lost} of kind {kind:?} is gone, between {before:?} and {at} of {:?}: {:?}",
                    journal.end(),
                    reader.damaged()
                ));
            }
            before = Some(at);
        }
        let end = journal.end().position;
        if let Some(last) = self.last().filter(|last| *last > end) {
            return Err(format!("P2: the journal ends at {end}, and {last} had been durable"));
        }
        if let Some(damage) = Some(reader.damaged()).filter(|damage| damage.stretches > 0) {
            return Err(format!("P2: a crash left damage: {damage:?}"));
        }
        let from = ReadFrom::Position(self.last().unwrap_or(0) + 1);
        self.readers = Some((journal.reader(from), outbox.reader(ReadFrom::Oldest)));
        self.read();
        Ok(())
    }

    /// Lets go of the logs, as a crash does.
    pub(super) fn let_go(&mut self) {
        self.readers = None;
    }

    fn last(&self) -> Option<u64> {
        self.journal.keys().next_back().copied()
    }

    /// Returns where the readers stand, for a person.
    pub(super) fn standing(&mut self) -> String {
        let last = (self.last(), self.outbox.keys().next_back().copied());
        let Some((journal, outbox)) = &mut self.readers else { return format!("{last:?}") };
        let ends = (journal.published().end(), outbox.published().end());
        let next = outbox.next().map(|record| record.map(|record| record.position));
        format!(
            "tape to {last:?}, logs to {ends:?}, next {next:?}, reader at {}",
            outbox.position()
        )
    }

    /// Reads what has been published.
    pub(super) fn read(&mut self) {
        let Some((mut journal, mut outbox)) = self.readers.take() else { return };
        while let Ok(Some(record)) = journal.next() {
            if record.kind == Kind::Uplink.code()
                && let Ok(Record::Uplink(uplink)) = Record::decode(record.kind, record.payload)
            {
                self.uplinks += 1;
                *self.taken_in.entry(Bytes::copy_from_slice(uplink.payload)).or_default() += 1;
            }
            let (kind, ordinal, payload) = (record.kind, record.ordinal, record.payload.to_vec());
            let seen_at = clock::now();
            self.journal.insert(record.position, Kept { kind, ordinal, payload, seen_at });
        }
        let end = outbox.published().end().position;
        if end < outbox.position() {
            outbox = outbox.again(ReadFrom::Position(end + 1));
        }
        while let Ok(Some(record)) = outbox.next() {
            let shown = (record.ordinal, record.payload.to_vec());
            let known = self.outbox.entry(record.position).or_insert_with(|| shown.clone());
            if *known != shown {
                let at = record.position;
                let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let (known, shown) = (words(&known.1), words(&shown.1));
                self.broken = Some(format!("P4: results of {at} were {known:?}, are {shown:?}"));
            }
        }
        self.readers = Some((journal, outbox));
    }
}
