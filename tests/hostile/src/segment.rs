//! A segment of a log, as a disk may return it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use journal::sim::SimDisk;
use journal::{Appended, Disk, Log, LogOptions, ReadFrom};

/// Bytes of a segment of the log that is damaged.
pub const JOURNAL_SEGMENT_BYTES: usize = 2048;
/// Records in it.
const RECORDS: u64 = 12;
const DIR: &str = "/log";

/// A closed segment with the positions 1 to 12: its path and its bytes.
static GOOD: LazyLock<(PathBuf, Vec<u8>)> = LazyLock::new(|| {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    for position in 1..=RECORDS {
        append(&mut log, position);
        if position.is_multiple_of(4) {
            log.sync().expect("a disk without faults");
        }
    }
    log.close().expect("a disk without faults");
    let paths = disk.paths();
    let path = paths.into_iter().find(|path| path.extension().is_some()).expect("a segment");
    let bytes = disk.bytes(&path).expect("its bytes");
    (path, bytes)
});

fn open(disk: &SimDisk) -> Log {
    let options =
        LogOptions { segment_bytes: JOURNAL_SEGMENT_BYTES as u64, ..LogOptions::default() };
    let opened = Log::open(Arc::new(disk.clone()), Path::new(DIR), options);
    opened.expect("whatever stands in a segment, the log opens").0
}

fn payload(position: u64) -> Vec<u8> {
    vec![
        b'a' + u8::try_from(position % 26).unwrap_or(0);
        3 + usize::try_from(position % 9).unwrap_or(0)
    ]
}

fn append(log: &mut Log, position: u64) {
    let bytes = payload(position);
    let record = Appended { kind: 7, position, ordinal: position * 10, payload: &bytes };
    log.append(record).expect("a record that follows");
}

/// Returns the positions, after checking that each record is one that was appended.
fn read(log: &Log) -> Vec<u64> {
    let mut reader = log.reader(ReadFrom::Oldest);
    let mut positions: Vec<u64> = Vec::new();
    while let Some(record) = reader.next().expect("damage is stepped over") {
        assert!(positions.last().is_none_or(|last| *last < record.position), "positions rise");
        assert_eq!((record.kind, record.ordinal), (7, record.position * 10), "invented");
        assert_eq!(record.payload, payload(record.position), "invented");
        positions.push(record.position);
    }
    positions
}

/// A good segment with edits: a length to cut it to (2 bytes), then offset (2 bytes) and a byte that is laid over
/// it by XOR, again and again. An odd number of bytes: the rest stands in its place from offset 1024 as it is.
///
/// The log opens, nothing is read that was not appended, appending goes on, and opening again shows the same.
pub fn journal(data: &[u8]) {
    let (path, good) = &*GOOD;
    let mut bytes = good.clone();
    let (cut, edits) = data.split_first_chunk().unwrap_or((&[0xff, 0xff], &[]));
    if data.len() % 2 == 1 {
        bytes.truncate(1024);
        bytes.extend_from_slice(data);
    } else {
        for edit in edits.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
            bytes[at] ^= edit[2];
        }
    }
    bytes.truncate(usize::from(u16::from_le_bytes(*cut)));
    let disk = SimDisk::new(2);
    drop(disk.create(path).expect("an empty disk"));
    disk.damage(path, bytes);
    let mut log = open(&disk);
    let before = read(&log);
    assert!(before.iter().all(|position| *position <= RECORDS), "invented");
    let next = log.end().position + 1;
    append(&mut log, next);
    log.sync().expect("a disk without faults");
    let expected = [before, vec![next]].concat();
    assert_eq!(read(&log), expected);
    drop(log);
    assert_eq!(read(&open(&disk)), expected);
}
