//! Dead letters: what was set aside, kept until it is tried again or expires.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bincode::{Decode, Encode};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use serde::Serialize;
use telemetry::time::IngestTime;

use crate::account::Reason;
use crate::record::Origin;

/// Bounds of the open letters (**P3**), each raw uplink counted once. Beyond them the oldest of the same device expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterLimits {
    /// Bytes of all open letters.
    pub bytes_max: u64,
    /// Bytes of the open letters of one device.
    pub device_bytes_max: u64,
}

impl Default for LetterLimits {
    fn default() -> Self {
        Self { bytes_max: 1 << 30, device_bytes_max: 16 << 20 }
    }
}

/// What a letter stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Subject {
    /// A whole uplink.
    Uplink,
    /// One reading, set aside by the pipeline.
    Reading,
    /// One point, refused by the store.
    Point,
}

/// One dead letter.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Letter {
    /// Position of the record that set it aside, and its number there.
    pub key: (u64, u32),
    /// What it stands for.
    pub subject: Subject,
    /// The refused point, `position.index`; of other letters nothing.
    pub point: Option<(u64, u32)>,
    /// Index of the reading in the uplink.
    pub element: u32,
    /// Whether the uplink is a batch: only then the element is named.
    pub is_batch: bool,
    /// Why.
    pub reason: Reason,
    /// What exactly was wrong.
    pub detail: String,
    /// The tenant, as far as known.
    pub tenant: String,
    /// The device, as far as known.
    pub device: String,
    /// The raw uplink; letters of one uplink share it.
    pub origin: Arc<Origin>,
}

/// A dead-letter line, its keys in the order users read.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    received_at: String,
    topic: &'a str,
    tenant: Option<&'a String>,
    device: Option<&'a String>,
    element: Option<u32>,
    reason: &'static str,
    detail: &'a str,
    payload_base64: String,
}

/// What a letter takes beside its texts: itself, its places in the list and among those of its device.
const LETTER_BYTES: usize = 384;

/// Most bytes of a payload that a letter keeps.
pub const PAYLOAD_KEPT_MAX: usize = 64 << 10;

/// Bytes of an outbox record from which on its letters come without their payload, so that it fits a segment of
/// 20 MiB: an uplink may have 10,000 bad elements.
const PAYLOADS_UNTIL: usize = 1 << 20;
/// Largest payload in an outbox record; base64 makes four bytes of three.
const PAYLOAD_WRITTEN_MAX: usize = 8 << 20;
/// Bytes of an outbox record from which letters have no names in it either.
const NAMES_UNTIL: usize = 8 << 20;

impl Letter {
    /// Returns the letter's id: the position that set it aside and its number there.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}", self.key.0, self.key.1)
    }

    /// Returns the element a redrive would yield; `None`: the whole uplink.
    #[must_use]
    pub fn redrive_element(&self) -> Option<u32> {
        (self.subject != Subject::Uplink).then_some(self.element)
    }

    /// Writes the letter as one JSON line, without its newline.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let payload_base64 = STANDARD.encode(&self.origin.payload);
        write_line(out, &Line { payload_base64, ..self.line() });
    }

    /// Writes the letter at the end of an outbox record, where it serves replays. Each letter of an uplink holds all of
    /// the uplink: where much stands in the record already, or the payload is very large, it is left empty here. The
    /// open letter has it all the same.
    pub(crate) fn write_entry(&self, record: &mut Vec<u8>) {
        let payload = &self.origin.payload;
        let fits = record.len() < PAYLOADS_UNTIL && payload.len() <= PAYLOAD_WRITTEN_MAX;
        let payload = if fits { STANDARD.encode(payload) } else { String::new() };
        // Ten thousand long names would make a record that no log takes.
        let line = Line { payload_base64: payload, ..self.line() };
        let is_long = record.len() >= NAMES_UNTIL;
        write_line(
            record,
            &if is_long { Line { topic: "", tenant: None, device: None, ..line } } else { line },
        );
    }

    fn line(&self) -> Line<'_> {
        Line {
            id: self.id(),
            received_at: IngestTime::from_nanos(self.origin.received_at_nanos).to_string(),
            topic: &self.origin.topic,
            tenant: (!self.tenant.is_empty()).then_some(&self.tenant),
            device: (!self.device.is_empty()).then_some(&self.device),
            element: (self.is_batch && self.subject != Subject::Uplink).then_some(self.element),
            reason: self.reason.code(),
            detail: &self.detail,
            payload_base64: String::new(),
        }
    }

    /// Returns the bytes of the letter alone, without the raw uplink.
    fn own_bytes(&self) -> u64 {
        let texts = self.detail.len() + self.tenant.len() + self.device.len();
        u64::try_from(texts + LETTER_BYTES).unwrap_or(u64::MAX)
    }

    /// Returns what tells its raw uplink from others: those of one record that came at the same time are one.
    fn uplink(&self) -> (u64, i64) {
        (self.key.0, self.origin.received_at_nanos)
    }

    fn owner(&self) -> String {
        format!("{}\n{}", self.tenant, self.device)
    }
}

fn write_line(out: &mut Vec<u8>, line: &Line<'_>) {
    let written = serde_json::to_writer(out, line);
    debug_assert!(written.is_ok(), "JSON into memory cannot fail");
}

/// Reads the id of a letter.
#[must_use]
pub fn parse_letter_id(id: &str) -> Option<(u64, u32)> {
    let (position, number) = id.split_once('-')?;
    Some((position.parse().ok()?, number.parse().ok()?))
}

/// The open letters, bounded in all and per device.
#[derive(Debug, Default)]
pub struct Letters {
    limits: LetterLimits,
    open: BTreeMap<(u64, u32), Letter>,
    /// The refused points among them: a crash may make the store refuse one twice.
    points: BTreeSet<(u64, u32)>,
    held: Held,
    of_device: HashMap<String, OfDevice>,
    /// Kept while a copy of the list is being made.
    removed: Option<Removed>,
}

/// What has left the list since a copy of it began.
#[derive(Debug)]
struct Removed {
    /// The copy holds what was set aside up to here.
    position: u64,
    letters: BTreeMap<(u64, u32), Letter>,
}

#[derive(Debug, Default)]
struct OfDevice {
    held: Held,
    /// In order.
    keys: VecDeque<(u64, u32)>,
}

/// Bytes of letters: of each its own, of those of one uplink the raw uplink once. A gateway that sends ten thousand bad
/// rows in one message has ten thousand letters, and one payload.
#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    /// By uplink: its bytes, and how many letters it has.
    uplinks: HashMap<(u64, i64), (u64, u32)>,
}

impl Held {
    fn add(&mut self, letter: &Letter) {
        let origin = &letter.origin;
        let raw = || u64::try_from(origin.payload.len() + origin.topic.len()).unwrap_or(u64::MAX);
        let (raw, letters) = self.uplinks.entry(letter.uplink()).or_insert_with(|| (raw(), 0));
        self.bytes += letter.own_bytes() + if *letters == 0 { *raw } else { 0 };
        *letters += 1;
    }

    fn remove(&mut self, letter: &Letter) {
        self.bytes -= letter.own_bytes();
        let Entry::Occupied(mut uplink) = self.uplinks.entry(letter.uplink()) else { return };
        let (raw, letters) = uplink.get_mut();
        *letters -= 1;
        if *letters == 0 {
            self.bytes -= *raw;
            uplink.remove();
        }
    }
}

impl Letters {
    /// Makes an empty list.
    #[must_use]
    pub fn new(limits: LetterLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Adds a letter; returns how many expired for it.
    pub fn add(&mut self, letter: Letter) -> u64 {
        let (key, owner) = (letter.key, letter.owner());
        self.held.add(&letter);
        self.points.extend(letter.point);
        let device = self.of_device.entry(owner.clone()).or_default();
        device.held.add(&letter);
        device.keys.push_back(key);
        self.open.insert(key, letter);
        let mut expired = 0;
        while let Some(oldest) = self.over_bound(&owner) {
            self.remove(oldest);
            expired += 1;
        }
        expired
    }

    fn over_bound(&self, owner: &str) -> Option<(u64, u32)> {
        let device = self.of_device.get(owner)?;
        let has_others = device.keys.len() > 1;
        if self.held.bytes > self.limits.bytes_max {
            // A device with one letter only gives way to nobody older than itself: then the oldest of all goes.
            let oldest = || self.open.keys().next().copied();
            return device.keys.front().copied().filter(|_| has_others).or_else(oldest);
        }
        // One letter alone may be longer than what a device may have; no other device pays for it.
        let is_over = has_others && device.held.bytes > self.limits.device_bytes_max;
        device.keys.front().copied().filter(|_| is_over)
    }

    /// Takes an open letter out. `None`: it is not open, so that trying it again does nothing.
    pub fn close(&mut self, id: &str) -> Option<Letter> {
        self.remove(parse_letter_id(id)?)
    }

    fn remove(&mut self, key: (u64, u32)) -> Option<Letter> {
        let letter = self.open.remove(&key)?;
        if let Some(removed) = self.removed.as_mut().filter(|removed| key.0 <= removed.position) {
            removed.letters.insert(key, letter.clone());
        }
        if let Some(point) = letter.point {
            self.points.remove(&point);
        }
        self.held.remove(&letter);
        let owner = letter.owner();
        if let Some(device) = self.of_device.get_mut(&owner) {
            device.held.remove(&letter);
            if let Ok(place) = device.keys.binary_search(&key) {
                device.keys.remove(place);
            }
            if device.keys.is_empty() {
                self.of_device.remove(&owner);
            }
        }
        Some(letter)
    }

    /// Begins to keep what leaves the list, for a copy of the letters up to a position; `None`: ends it.
    pub(crate) fn keep_removed(&mut self, position: Option<u64>) {
        self.removed = position.map(|position| Removed { position, letters: BTreeMap::new() });
    }

    /// Returns the next letter of a copy after `key`, as the list was when the journal stood at `position`.
    pub(crate) fn next_of_copy(&self, key: Option<(u64, u32)>, position: u64) -> Option<&Letter> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (from, Bound::Included((position, u32::MAX)));
        let open = self.open.range(range).next();
        let removed = self.removed.as_ref().and_then(|removed| removed.letters.range(range).next());
        let next = open.into_iter().chain(removed).min_by_key(|(key, _)| **key);
        next.map(|(_, letter)| letter)
    }

    /// Returns the open letters, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Letter> {
        self.open.values()
    }

    /// Returns the open letters after a key, oldest first; the key's own letter need not be open any more.
    pub fn after(&self, key: Option<(u64, u32)>) -> impl Iterator<Item = &Letter> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.open.range((from, Bound::Unbounded)).map(|(_, letter)| letter)
    }

    /// Returns an open letter.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Letter> {
        self.open.get(&parse_letter_id(id)?)
    }

    /// Returns whether a refused point has its letter already.
    #[must_use]
    pub fn has_point(&self, point: (u64, u32)) -> bool {
        self.points.contains(&point)
    }

    /// Returns how many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns the bytes of all open letters.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.held.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(position: u64, device: &str, payload: usize) -> Letter {
        Letter {
            key: (position, 0),
            subject: Subject::Uplink,
            point: None,
            element: 0,
            is_batch: false,
            reason: Reason::Malformed,
            detail: String::new(),
            tenant: "default".to_owned(),
            device: device.to_owned(),
            origin: Arc::new(Origin {
                source: 0,
                received_at_nanos: 0,
                topic: String::new(),
                payload: vec![b'x'; payload],
                full_len: 0,
            }),
        }
    }

    #[test]
    fn one_faulty_device_expires_only_its_own_letters() {
        let mut letters = Letters::new(LetterLimits { bytes_max: 10_000, device_bytes_max: 3_000 });
        assert_eq!(letters.add(letter(1, "good", 1000)), 0);
        let expired: u64 =
            (2..20).map(|position| letters.add(letter(position, "faulty", 1000))).sum();
        assert_eq!(expired, 16);
        let open: Vec<u64> = letters.iter().map(|letter| letter.key.0).collect();
        assert_eq!(open, [1, 18, 19]);
        assert_eq!(
            letters.after(Some((2, 0))).map(|letter| letter.key.0).collect::<Vec<_>>(),
            [18, 19]
        );
    }

    /// Guarantees: a letter beyond what one device may have costs no other device one of its own.
    #[test]
    fn one_letter_too_long_stays_alone() {
        let mut letters = Letters::new(LetterLimits { bytes_max: 10_000, device_bytes_max: 3_000 });
        assert_eq!(letters.add(letter(1, "good", 1000)), 0);
        assert_eq!(letters.add(letter(2, "faulty", 4000)), 0);
        assert_eq!(letters.add(letter(3, "faulty", 1000)), 1);
        let open: Vec<u64> = letters.iter().map(|letter| letter.key.0).collect();
        assert_eq!(open, [1, 3]);
    }

    /// Guarantees: what letters of one uplink share counts once, and until the last of them is gone.
    #[test]
    fn letters_of_one_uplink_share_its_bytes() {
        let mut letters =
            Letters::new(LetterLimits { bytes_max: 50_000, device_bytes_max: 50_000 });
        let of_element = |number| Letter { key: (7, number), ..letter(7, "d", 10_000) };
        assert_eq!((0..100).map(|number| letters.add(of_element(number))).sum::<u64>(), 0);
        let whole = letters.bytes();
        assert!((10_000..50_000).contains(&whole), "{whole}");
        // The oldest of all give way to another device's uplink: each frees its own bytes alone.
        let expired = letters.add(letter(8, "e", 10_000));
        assert_eq!((expired, letters.bytes()), (25, whole + 10_392 - 25 * 392));
        for number in 0..100 {
            letters.close(&format!("7-{number}"));
        }
        letters.close("8-0");
        assert_eq!((letters.bytes(), letters.len(), letters.of_device.len()), (0, 0, 0));
        assert!(letters.held.uplinks.is_empty());
    }

    #[test]
    fn a_closed_letter_cannot_be_closed_again() {
        let mut letters = Letters::new(LetterLimits::default());
        letters.add(letter(7, "d", 1));
        assert!(letters.close("7-0").is_some());
        assert!(letters.close("7-0").is_none());
        assert_eq!((letters.bytes(), letters.len()), (0, 0));
        assert!(letters.close("nonsense").is_none());
    }

    #[test]
    fn the_line_is_the_contracts() {
        let mut out = Vec::new();
        letter(7, "d", 2).write_json(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"id":"7-0","received_at":"1970-01-01T00:00:00Z","topic":"","tenant":"default","device":"d","element":null,"reason":"malformed","detail":"","payload_base64":"eHg="}"#
        );
    }
}
