//! What Tianlu itself wrote and reads again: records and snapshots, as a disk may return them.

use std::num::NonZeroU16;

use pipeline::{Entries, Entry, Limits, OutboxRecord, Pipeline, Record};

use crate::sample::{Applied, CONFIG};

/// A kind and the payload of a journal record: what is read is written and read the same.
pub fn record(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else { return };
    let record = match Record::decode(*kind, payload) {
        Ok(record) => record,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let again = record.encode();
    assert_eq!(Record::decode(record.kind().code(), &again).as_ref(), Ok(&record));
    assert_eq!(record.kind().code(), *kind);
}

/// The payload of an outbox record: what is read is written and read the same, and is no more than there was.
pub fn outbox(data: &[u8]) {
    let Some(entries) = Entries::of(data) else { return };
    let received_at = entries.received_at();
    let entries: Vec<Entry<'_>> = entries.collect();
    let mut record = OutboxRecord::default();
    record.begin(received_at);
    entries.iter().for_each(|entry| record.push(*entry));
    assert_eq!(record.is_empty(), entries.is_empty());
    assert!(record.bytes().len() <= data.len());
    let again = Entries::of(record.bytes()).expect("our own record");
    assert_eq!(again.received_at(), received_at);
    assert_eq!(again.collect::<Vec<_>>(), entries);
}

/// A snapshot, as it is and with checksums that fit. One that is read settles at once: written and restored again,
/// into any number of shards, it has the same bytes.
pub fn snapshot(data: &[u8]) {
    restored(data);
    restored(&with_sums(data));
}

/// Bytes of a snapshot before its blocks, and of a block before its body: kind, length, checksum.
const MAGIC_BYTES: usize = 5;
const BLOCK_HEAD_BYTES: usize = 13;

/// Puts the checksum of each body where it belongs, so that what is damaged is read.
fn with_sums(data: &[u8]) -> Vec<u8> {
    let mut whole = data.to_vec();
    let mut at = MAGIC_BYTES;
    while let Some(head) = whole.get(at..at + BLOCK_HEAD_BYTES) {
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let body = at + BLOCK_HEAD_BYTES;
        let end = body.saturating_add(usize::try_from(len).expect("32 bits fit")).min(whole.len());
        let sum = telemetry::hash::hash64(&whole[body..end]).to_le_bytes();
        whole[at + 5..body].copy_from_slice(&sum);
        at = end;
    }
    whole
}

fn restored(data: &[u8]) {
    let head = Pipeline::read_snapshot_head(data);
    let restore = |bytes: &[u8], shards| {
        let shards = NonZeroU16::new(shards).expect("at least one");
        Pipeline::restore(bytes, shards, Limits::default(), &*CONFIG)
    };
    let Ok(first) = restore(data, 1) else { return };
    let head = head.expect("what is restored has a head");
    assert_eq!(first.snapshot_head().position, head.position);
    let settled = first.snapshot();
    let again = restore(&settled, 1).expect("our own snapshot");
    assert_eq!(again.snapshot(), settled);
}

/// Uplinks through the whole pipeline: lines of a minute, a topic and a payload, with a blank between.
///
/// The account balances after each, and one shard gives the bytes of three, with a restart in the middle.
pub fn uplink(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').take(64).collect();
    let (mut one, mut three) = (Applied::new(1), Applied::new(3));
    for (number, line) in lines.iter().enumerate() {
        if number == lines.len() / 2 {
            let shards = NonZeroU16::new(3).expect("not 0");
            let bytes = three.pipeline.snapshot();
            let restored = Pipeline::restore(&bytes, shards, Limits::default(), &*CONFIG);
            three.pipeline = restored.expect("our own snapshot");
        }
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let minutes = parts.next().map_or(0, |part| i64::from(part.first().copied().unwrap_or(0)));
        let topic = String::from_utf8_lossy(parts.next().unwrap_or_default());
        let payload = parts.next();
        for applied in [&mut one, &mut three] {
            match payload {
                Some(payload) => applied.uplink(minutes, &topic, payload),
                None => applied.tick(minutes, Vec::new()),
            }
        }
        assert_eq!(one.out.bytes(), three.out.bytes(), "line {number}");
        assert!(one.pipeline.account().balances(), "line {number}");
    }
    assert_eq!(one.pipeline.account(), three.pipeline.account());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a snapshot that the first version wrote after the records of [`crate::pipeline_snapshot`].
    /// Guarantees: it gives the state that this version has after them.
    #[test]
    fn a_snapshot_of_the_first_version_is_read() {
        let old = include_bytes!("../../../fuzz/corpus/snapshot/first-version");
        let restore = |bytes: &[u8]| {
            Pipeline::restore(bytes, NonZeroU16::MIN, Limits::default(), &*CONFIG).expect("whole")
        };
        let (old, new) = (restore(old), restore(&crate::pipeline_snapshot()));
        assert_eq!(old.account(), new.account());
        assert_eq!(old.devices(), new.devices());
        assert_eq!(old.firing(), new.firing());
        assert_eq!(old.letters().iter().count(), new.letters().iter().count());
    }
}
