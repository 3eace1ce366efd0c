//! What the tests share.

use journal::sim::SimDisk;
use journal::{Appended, Log, LogOptions, Opened, ReadError, ReadFrom, Reader};
use std::path::Path;
use std::sync::Arc;

pub(crate) const DIR: &str = "/log";

pub(crate) fn open(disk: &SimDisk, options: &LogOptions) -> (Log, Opened) {
    Log::open(Arc::new(disk.clone()), Path::new(DIR), options.clone()).unwrap()
}

/// Options with segments of `segment_bytes`.
pub(crate) fn segments_of(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, ..LogOptions::default() }
}

/// The payload of a position, as the tests write it.
pub(crate) fn payload(position: u64) -> Vec<u8> {
    format!("{position}:").into_bytes().repeat(1 + usize::try_from(position % 7).unwrap())
}

pub(crate) fn append(log: &mut Log, positions: impl IntoIterator<Item = u64>) {
    for position in positions {
        let bytes = payload(position);
        log.append(Appended { kind: 7, position, ordinal: position * 10, payload: &bytes })
            .unwrap();
    }
}

/// Reads what is published, comparing each record; returns the positions.
pub(crate) fn drain(reader: &mut Reader) -> Result<Vec<u64>, ReadError> {
    let mut positions = Vec::new();
    while let Some(record) = reader.next()? {
        assert_eq!((record.kind, record.ordinal), (7, record.position * 10));
        assert_eq!(record.payload, payload(record.position));
        positions.push(record.position);
    }
    Ok(positions)
}

pub(crate) fn read_all(log: &Log) -> Vec<u64> {
    drain(&mut log.reader(ReadFrom::Oldest)).unwrap()
}
