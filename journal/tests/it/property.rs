//! Whatever is appended is read, however it is grouped.

use crate::support::{open, segments_of};
use journal::sim::SimDisk;
use journal::{Appended, ReadFrom};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Kind, step of the position, ordinal, payload, and whether a sync follows.
fn record() -> impl Strategy<Value = (u8, u64, u64, Vec<u8>, bool)> {
    (any::<u8>(), 1_u64..1000, any::<u64>(), vec(any::<u8>(), 0..600), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn records_are_read_as_they_were_appended(
        records in vec(record(), 0..40),
        segment_bytes in 2048_u64..9000,
    ) {
        let disk = SimDisk::new(0);
        let (mut log, _) = open(&disk, &segments_of(segment_bytes));
        let mut position = 0;
        let mut expected = Vec::new();
        for (kind, step, ordinal, payload, sync) in &records {
            position += step;
            log.append(Appended { kind: *kind, position, ordinal: *ordinal, payload }).unwrap();
            expected.push((*kind, position, *ordinal, payload.clone()));
            if *sync {
                log.sync().unwrap();
            }
        }
        log.close().unwrap();
        let (log, opened) = open(&disk, &segments_of(segment_bytes));
        prop_assert_eq!(opened.end.position, position);
        let mut reader = log.reader(ReadFrom::Oldest);
        let mut read = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            read.push((record.kind, record.position, record.ordinal, record.payload.to_vec()));
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn hostile_bytes_in_a_segment_panic_nobody(
        bytes in vec(prop_oneof![select(b"TLr1\0".to_vec()), any::<u8>()], 0..4000),
    ) {
        let disk = SimDisk::new(0);
        let (mut log, _) = open(&disk, &segments_of(4096));
        log.append(Appended { kind: 0, position: 1, ordinal: 1, payload: b"first" }).unwrap();
        log.sync().unwrap();
        drop(log);
        let path = disk.paths().into_iter().find(|path| path.extension().is_some()).unwrap();
        let mut all = disk.bytes(&path).unwrap();
        all.truncate(1024 + 48);
        all.extend_from_slice(&bytes);
        disk.damage(&path, all);
        let (log, opened) = open(&disk, &segments_of(4096));
        prop_assert_eq!(opened.end.position, 1);
        let mut reader = log.reader(ReadFrom::Oldest);
        prop_assert_eq!(reader.next().unwrap().unwrap().payload, b"first");
        prop_assert_eq!(reader.next().unwrap(), None);
    }
}
