//! The records of the outbox: the results of one journal position.
//!
//! The log's header carries the position and the reading ordinal: how many readings had been found up to and
//! including this position. The payload:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, 1 |
//! | 8 | `received_at` of the position, nanoseconds, little endian |
//! | .. | entries |
//!
//! An entry: kind (1), flags (1: bit 0 redriven), element (4, little endian; index of the reading in the uplink),
//! length (4), data. An entry's number is `position.index`, counted from 0 in the record.

use telemetry::time::IngestTime;

const VERSION: u8 = 1;
const HEAD: usize = 9;
const ENTRY_HEAD: usize = 10;
const REDRIVEN: u8 = 1;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// A point, as one line of line protocol without its newline. Stands for one reading.
    Point = 1,
    /// A dead letter of a reading, as one JSON line without its newline. Stands for one reading.
    DeadReading = 2,
    /// A reading that had been seen before; no data. Stands for one reading.
    Duplicate = 3,
    /// A dead letter of a whole uplink, as one JSON line. Stands for no reading.
    DeadUplink = 4,
    /// An alert transition, as one JSON line. Stands for no reading.
    Alert = 5,
    /// A dead letter of a point that the store refused, as one JSON line. Stands for no reading: the store's
    /// cursor counted it when it passed the point.
    StoreLetter = 6,
}

impl EntryKind {
    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Point),
            2 => Some(Self::DeadReading),
            3 => Some(Self::Duplicate),
            4 => Some(Self::DeadUplink),
            5 => Some(Self::Alert),
            6 => Some(Self::StoreLetter),
            _ => None,
        }
    }
}

/// One entry of an outbox record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: EntryKind,
    /// Whether it came from a dead letter tried again: the reading had been counted before.
    pub redriven: bool,
    /// Index of the reading in its uplink.
    pub element: u32,
    /// Line, JSON or nothing.
    pub data: &'a [u8],
}

/// Builds the outbox record of one position.
#[derive(Debug, Default)]
pub struct OutboxRecord {
    bytes: Vec<u8>,
    /// Counted only to tell an empty record.
    entries: u32,
}

impl OutboxRecord {
    /// Begins the record of another position; keeps the memory.
    pub fn begin(&mut self, received_at: IngestTime) {
        self.bytes.clear();
        self.entries = 0;
        self.bytes.push(VERSION);
        self.bytes.extend_from_slice(&received_at.as_nanos().to_le_bytes());
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: Entry<'_>) {
        self.push_with(entry.kind, entry.redriven, entry.element, |out| {
            out.extend_from_slice(entry.data);
        });
    }

    /// Adds an entry whose data `write` appends; nothing else of the buffer may be touched.
    pub fn push_with(
        &mut self,
        kind: EntryKind,
        redriven: bool,
        element: u32,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.bytes.push(kind as u8);
        self.bytes.push(if redriven { REDRIVEN } else { 0 });
        self.bytes.extend_from_slice(&element.to_le_bytes());
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        write(&mut self.bytes);
        let len = u32::try_from(self.bytes.len() - at - 4).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(at..at + 4) {
            field.copy_from_slice(&len.to_le_bytes());
        }
        self.entries += 1;
    }

    /// Adds entries that were built in another record, as they stand there.
    pub(crate) fn append_entries(&mut self, part: &Self, range: std::ops::Range<usize>) {
        let bytes = part.bytes.get(range).unwrap_or_default();
        self.entries += u32::from(!bytes.is_empty());
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds all entries of another record.
    pub(crate) fn append_all(&mut self, part: &Self) {
        self.append_entries(part, HEAD..part.bytes.len());
    }

    /// Returns whether the position has no result.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Returns the record's payload.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the payload of an outbox record.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    received_at: IngestTime,
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Reads the head of a record. `None`: written by a newer version, or not whole.
    #[must_use]
    pub fn of(payload: &'a [u8]) -> Option<Self> {
        let (head, rest) = payload.split_first_chunk::<HEAD>()?;
        let [version, at @ ..] = *head;
        (version == VERSION)
            .then(|| Self { received_at: IngestTime::from_nanos(i64::from_le_bytes(at)), rest })
    }

    /// Returns when the uplink behind the position was taken in.
    #[must_use]
    pub const fn received_at(&self) -> IngestTime {
        self.received_at
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (head, rest) = self.rest.split_first_chunk::<ENTRY_HEAD>()?;
        let [kind, flags, e0, e1, e2, e3, l0, l1, l2, l3] = *head;
        let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
        let (data, rest) = rest.split_at_checked(len)?;
        let kind = EntryKind::from_code(kind)?;
        self.rest = rest;
        Some(Entry {
            kind,
            redriven: flags & REDRIVEN != 0,
            element: u32::from_le_bytes([e0, e1, e2, e3]),
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back_as_written() {
        let mut record = OutboxRecord::default();
        record.begin(IngestTime::from_nanos(42));
        assert!(record.is_empty());
        let entries = [
            Entry { kind: EntryKind::Point, redriven: false, element: 0, data: b"soil v=1 5" },
            Entry { kind: EntryKind::Duplicate, redriven: true, element: 70_000, data: b"" },
            Entry { kind: EntryKind::Alert, redriven: false, element: 1, data: b"{}" },
        ];
        entries.iter().for_each(|entry| record.push(*entry));
        let read = Entries::of(record.bytes()).unwrap();
        assert_eq!(read.received_at(), IngestTime::from_nanos(42));
        assert_eq!(read.collect::<Vec<_>>(), entries);
        for cut in 0..record.bytes().len() {
            let _ended = Entries::of(&record.bytes()[..cut]).map(Iterator::count);
        }
    }
}
