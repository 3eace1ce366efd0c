//! Damage costs the records it touches, and no other.

use crate::support::{DIR, append, drain, open, read_all, segments_of};
use journal::sim::{Crash, SimDisk};
use journal::{Damage, ReadFrom, Reader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A closed log of one segment with the positions 1 to 12, in three sync groups.
fn small_log() -> (SimDisk, PathBuf, Vec<u8>) {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, &segments_of(4096));
    for group in [1..=4, 5..=8, 9..=12] {
        append(&mut log, group);
        log.sync().unwrap();
    }
    log.close().unwrap();
    let path = disk.paths().into_iter().find(|path| path.extension().is_some()).unwrap();
    let bytes = disk.bytes(&path).unwrap();
    (disk, path, bytes)
}

/// Where the records of `small_log` stand.
fn extents(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let starts: Vec<_> =
        (1024..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"TLr1")).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().copied().zip(ends).map(|(from, to)| from..to).collect()
}

/// Scenario: after a power cut the tail has a hole; what stands behind it is good. With and without
/// a later group that proves the place of the hole to have been durable.
/// Guarantees: an unproven hole cuts the tail and is no damage; a proven one is damage and cuts
/// nothing.
#[test]
fn a_hole_is_a_torn_tail_only_where_nothing_proves_it_durable() {
    // (groups synced after the record at 5 to 8, which loses its second record; what is read;
    // damage)
    let cases: [(u64, Vec<u64>, u64); 2] =
        [(0, vec![1, 2, 3, 4, 5], 0), (1, vec![1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12], 1)];
    for (later, expected, stretches) in cases {
        let disk = SimDisk::new(3);
        let (mut log, _) = open(&disk, &segments_of(4096));
        for group in [1..=4, 5..=8, 9..=12].into_iter().take(2 + usize::try_from(later).unwrap()) {
            append(&mut log, group);
            log.sync().unwrap();
        }
        disk.crash(Crash::Power);
        drop(log);
        let path = disk.paths().into_iter().find(|path| path.extension().is_some()).unwrap();
        let mut bytes = disk.bytes(&path).unwrap();
        let hit = extents(&bytes)[5].start;
        bytes[hit + 45] ^= 1;
        disk.damage(&path, bytes);
        let (log, opened) = open(&disk, &segments_of(4096));
        assert_eq!((read_all(&log), opened.damage.stretches), (expected, stretches));
        assert_eq!((opened.cut_bytes > 0, opened.cut_records), (later == 0, 2 * (1 - later)));
    }
}

/// Scenario: both copies of a segment's head are gone.
/// Guarantees: the file's name is enough to read its records.
#[test]
fn records_survive_the_loss_of_the_segment_head() {
    let (disk, path, mut bytes) = small_log();
    bytes[..1024].fill(0xff);
    disk.damage(&path, bytes);
    let (log, opened) = open(&disk, &segments_of(4096));
    // The last group is not proven, but whole.
    assert_eq!(read_all(&log), (1..=12).collect::<Vec<_>>());
    assert_eq!(opened.damage.bytes, 1024);
}

/// Scenario: a whole segment between others has vanished.
/// Guarantees: what is before and behind it is read, and it is counted.
#[test]
fn a_missing_segment_is_counted() {
    use journal::Disk;
    let disk = SimDisk::new(5);
    let (mut log, _) = open(&disk, &segments_of(2048));
    append(&mut log, 1..=60);
    log.close().unwrap();
    let segments: Vec<_> =
        disk.paths().into_iter().filter(|path| path.extension().is_some()).collect();
    assert!(segments.len() >= 3);
    disk.remove(&segments[1]).unwrap();
    let (log, opened) = open(&disk, &segments_of(2048));
    assert_eq!(opened.damage, Damage { missing_segments: 1, ..Damage::default() });
    let read = read_all(&log);
    assert_eq!((read.first(), read.last()), (Some(&1), Some(&60)));
}

/// Scenario: a log that is being written, opened by somebody who may only read.
/// Guarantees: he reads what is there, and changes nothing.
#[test]
fn reading_only_changes_nothing() {
    let disk = SimDisk::new(6);
    let (mut log, _) = open(&disk, &segments_of(4096));
    append(&mut log, 1..=5);
    log.sync().unwrap();
    let before: Vec<_> = disk.paths().iter().map(|path| disk.bytes(path)).collect();
    let mut reader =
        Reader::open(Arc::new(disk.clone()), Path::new(DIR), ReadFrom::Position(3)).unwrap();
    assert_eq!(drain(&mut reader).unwrap(), [3, 4, 5]);
    let after: Vec<_> = disk.paths().iter().map(|path| disk.bytes(path)).collect();
    assert_eq!(before, after);
}
