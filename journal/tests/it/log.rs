//! What writer and readers promise each other.

use crate::support::{append, drain, open, payload, read_all, segments_of};
use journal::sim::{Crash, Faults, SimDisk};
use journal::{
    AppendError, Appended, Log, LogOptions, OpenError, ReadError, ReadFrom, RealDisk, Visible,
    WriteError,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ALL: u16 = 1024;

fn written() -> LogOptions {
    LogOptions { visible: Visible::Written, ..segments_of(4096) }
}

#[test]
fn a_reader_sees_a_record_when_the_log_says_so() {
    // (options, seen after append, after write, after sync)
    let cases = [(segments_of(4096), [0, 0, 3]), (written(), [0, 3, 3])];
    for (options, expected) in cases {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk, &options);
        append(&mut log, 1..=3);
        let appended = read_all(&log).len();
        log.write().unwrap();
        let wrote = read_all(&log).len();
        log.sync().unwrap();
        assert_eq!([appended, wrote, read_all(&log).len()], expected);
    }
}

#[test]
fn refused_records_leave_the_log_as_it_was() {
    let disk = SimDisk::new(1);
    let options = LogOptions { buffer_bytes_max: 100, ..segments_of(2048) };
    let (mut log, _) = open(&disk, &options);
    append(&mut log, [5]);
    let mut refused = |position, bytes: usize| {
        log.append(Appended { kind: 0, position, ordinal: 0, payload: &vec![0; bytes] })
            .unwrap_err()
    };
    assert_eq!(refused(5, 0), AppendError::Position { position: 5, last: 5 });
    assert_eq!(refused(6, 1000), AppendError::TooLarge { bytes: 1040, segment_bytes: 2048 });
    log.append(Appended { kind: 0, position: 6, ordinal: 0, payload: &[0; 100] }).unwrap();
    let full = log.append(Appended { kind: 0, position: 7, ordinal: 0, payload: &[] }).unwrap_err();
    assert!(matches!(full, AppendError::BufferFull { .. }));
    assert_eq!(log.sync().unwrap().position, 6);
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let sim = SimDisk::new(1);
    let real = tempfile::tempdir().unwrap();
    let disks: [(Arc<dyn journal::Disk>, &Path); 2] =
        [(Arc::new(sim), Path::new("/log")), (Arc::new(RealDisk), real.path())];
    for (disk, dir) in disks {
        let first = Log::open(Arc::clone(&disk), dir, LogOptions::default()).unwrap();
        let second = Log::open(Arc::clone(&disk), dir, LogOptions::default()).unwrap_err();
        assert!(matches!(second, OpenError::InUse { .. }), "{second}");
        assert!(second.to_string().contains("in use"), "{second}");
        drop(first);
        Log::open(disk, dir, LogOptions::default()).unwrap();
    }
}

#[test]
fn a_failed_fsync_is_reported_and_its_records_never_come_back() {
    let disk = SimDisk::new(9);
    let (mut log, _) = open(&disk, &segments_of(4096));
    append(&mut log, 1..=3);
    log.sync().unwrap();
    append(&mut log, 4..=6);
    disk.set_faults(Faults { sync_error: ALL, ..Faults::default() });
    let failed = log.sync().unwrap_err();
    assert!(matches!(failed, WriteError::NotDurable { first: 4, last: 6, .. }), "{failed}");
    disk.set_faults(Faults::default());
    assert_eq!((log.end().position, read_all(&log)), (3, vec![1, 2, 3]));
    append(&mut log, [5, 8]);
    log.sync().unwrap();
    for crash in [Crash::Process, Crash::Power] {
        disk.crash(crash);
        let (log, _) = open(&disk, &segments_of(4096));
        assert_eq!(read_all(&log), [1, 2, 3, 5, 8]);
    }
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on_once_there_is_space() {
    let disk = SimDisk::new(2);
    disk.set_capacity(Some(2048 + 100));
    let (mut log, _) = open(&disk, &segments_of(2048));
    append(&mut log, 1..=40);
    let full = log.sync().unwrap_err();
    assert!(full.is_full(), "{full}");
    let durable = log.durable().position;
    assert!(durable > 0 && durable < 40);
    assert_eq!(read_all(&log), (1..=durable).collect::<Vec<_>>());
    append(&mut log, [41]);
    assert!(log.sync().unwrap_err().is_full());
    disk.set_capacity(None);
    assert_eq!(log.sync().unwrap().position, 41);
    assert_eq!(read_all(&log), (1..=41).collect::<Vec<_>>());
}

#[test]
fn it_opens_on_a_full_disk() {
    let disk = SimDisk::new(2);
    let (mut log, _) = open(&disk, &segments_of(2048));
    append(&mut log, 1..=9);
    log.sync().unwrap();
    disk.crash(Crash::Power);
    disk.set_capacity(Some(0));
    let (mut log, _) = open(&disk, &segments_of(2048));
    assert_eq!(read_all(&log), (1..=9).collect::<Vec<_>>());
    append(&mut log, [10]);
    assert!(log.sync().unwrap_err().is_full());
}

/// Scenario: a file system that copies on write has no space even for bytes that stand there already.
/// Guarantees: what may not be durable is not shown, and comes back as soon as there is space.
#[test]
fn what_cannot_be_made_durable_is_not_shown() {
    let disk = SimDisk::new(2);
    let (mut log, _) = open(&disk, &segments_of(2048));
    append(&mut log, 1..=9);
    log.sync().unwrap();
    disk.crash(Crash::Power);
    disk.set_faults(Faults { no_space: ALL, ..Faults::default() });
    let refused =
        Log::open(Arc::new(disk.clone()), Path::new("/log"), segments_of(2048)).unwrap_err();
    let OpenError::Io { doing: "settle", source, .. } = refused else { panic!("{refused}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    disk.set_faults(Faults::default());
    let (log, _) = open(&disk, &segments_of(2048));
    assert_eq!(read_all(&log), (1..=9).collect::<Vec<_>>());
}

#[test]
fn short_writes_are_continued() {
    let disk = SimDisk::new(4);
    disk.set_faults(Faults { short_write: ALL, ..Faults::default() });
    let (mut log, _) = open(&disk, &segments_of(2048));
    append(&mut log, 1..=100);
    log.close().unwrap();
    let (log, _) = open(&disk, &segments_of(2048));
    assert_eq!(read_all(&log), (1..=100).collect::<Vec<_>>());
}

#[test]
fn readers_begin_where_they_are_told() {
    let disk = SimDisk::new(4);
    let (mut log, _) = open(&disk, &segments_of(2048));
    append(&mut log, (1..=100).map(|n| n * 2));
    log.sync().unwrap();
    let cases = [
        (ReadFrom::Oldest, 2),
        (ReadFrom::Position(0), 2),
        (ReadFrom::Position(77), 78),
        (ReadFrom::Position(78), 78),
        (ReadFrom::Position(200), 200),
    ];
    for (from, first) in cases {
        let read = drain(&mut log.reader(from)).unwrap();
        assert_eq!(read, (first / 2..=100).map(|n| n * 2).collect::<Vec<_>>(), "{from:?}");
    }
    for from in [ReadFrom::Position(201), ReadFrom::Newest] {
        assert_eq!(log.reader(from).next().unwrap(), None, "{from:?}");
    }
}

#[test]
fn a_reader_of_what_is_cut_is_told_once() {
    let disk = SimDisk::new(4);
    let (mut log, _) = open(&disk, &segments_of(2048));
    append(&mut log, 1..=100);
    log.sync().unwrap();
    let mut inside = log.reader(ReadFrom::Oldest);
    inside.next().unwrap();
    let bytes = log.bytes();
    log.cut_before(60).unwrap();
    let oldest = log.first_position().unwrap();
    assert!(oldest > 1 && oldest <= 60 && log.bytes() < bytes);
    let mut late = log.reader(ReadFrom::Position(2));
    for reader in [&mut inside, &mut late] {
        let cut = drain(reader).unwrap_err();
        assert!(matches!(cut, ReadError::Cut { wanted: 2, after } if after + 1 == oldest), "{cut}");
        assert_eq!(drain(reader).unwrap(), (oldest..=100).collect::<Vec<_>>());
    }
    drop(log);
    let (log, opened) = open(&disk, &segments_of(2048));
    assert_eq!((log.first_position(), opened.end.position), (Some(oldest), 100));
}

#[test]
fn a_truncated_log_ends_where_it_was_told() {
    for (position, buffered) in
        [(0, false), (1, false), (37, false), (37, true), (99, false), (102, true)]
    {
        let disk = SimDisk::new(4);
        let (mut log, _) = open(&disk, &written());
        append(&mut log, 1..=100);
        log.write().unwrap();
        let mut reader = log.reader(ReadFrom::Position(40));
        drain(&mut reader).unwrap();
        if buffered {
            append(&mut log, 101..=103);
        }
        let end = log.truncate_after(position).unwrap();
        assert_eq!((end.position, end.ordinal), (position, position * 10));
        append(&mut log, [position + 1, position + 2]);
        log.sync().unwrap();
        assert_eq!(read_all(&log), (1..=position + 2).collect::<Vec<_>>());
        // What the reader has seen it does not see again.
        assert!(drain(&mut reader).unwrap().iter().all(|seen| *seen > 100), "{position}");
        disk.crash(Crash::Power);
        let (log, _) = open(&disk, &written());
        assert_eq!(read_all(&log), (1..=position + 2).collect::<Vec<_>>());
    }
}

#[test]
fn a_log_truncated_below_what_it_keeps_is_empty_and_goes_on() {
    let disk = SimDisk::new(4);
    let (mut log, _) = open(&disk, &segments_of(2048));
    append(&mut log, 1..=100);
    log.sync().unwrap();
    log.cut_before(90).unwrap();
    assert_eq!(log.truncate_after(50).unwrap().position, 50);
    assert_eq!((log.first_position(), log.bytes()), (None, 0));
    append(&mut log, 51..=53);
    log.sync().unwrap();
    assert_eq!(read_all(&log), [51, 52, 53]);
}

#[test]
fn waiting_ends_with_a_publication_or_the_timeout() {
    let disk = SimDisk::new(4);
    let (mut log, _) = open(&disk, &segments_of(4096));
    let mut reader = log.reader(ReadFrom::Newest);
    assert!(!reader.wait(Duration::ZERO));
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let watch = log.published().watch(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let follower = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while seen.len() < 50 {
            assert!(reader.wait(Duration::from_secs(60)));
            seen.extend(drain(&mut reader).unwrap());
        }
        seen
    });
    for position in 1..=50 {
        append(&mut log, [position]);
        log.sync().unwrap();
    }
    assert_eq!(follower.join().unwrap(), (1..=50).collect::<Vec<_>>());
    assert_eq!(calls.load(Ordering::Relaxed), 50);
    drop(watch);
    append(&mut log, [51]);
    log.sync().unwrap();
    assert_eq!((calls.load(Ordering::Relaxed), log.published().end().position), (50, 51));
}

/// Scenario: a real folder; a writer rolling segments, two readers, cuts at both ends, several
/// openings.
/// Guarantees: the real disk does what the simulated one does.
#[test]
fn the_real_disk_keeps_the_same_promises() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("a/log");
    let options = segments_of(64 << 10);
    let open = || Log::open(Arc::new(RealDisk), &dir, options.clone()).unwrap();
    let (mut log, _) = open();
    let mut reader = log.reader(ReadFrom::Oldest);
    let follower = std::thread::spawn(move || {
        let mut seen = 0;
        while seen < 5000 && reader.wait(Duration::from_secs(60)) {
            seen += drain(&mut reader).unwrap().len();
        }
        seen
    });
    for group in 0..50 {
        append(&mut log, group * 100 + 1..=group * 100 + 100);
        log.sync().unwrap();
    }
    assert_eq!(follower.join().unwrap(), 5000);
    drop(log);
    let (mut log, opened) = open();
    assert_eq!((opened.end.position, opened.cut_bytes), (5000, 0));
    assert!(log.first_position() == Some(1));
    log.cut_before(3000).unwrap();
    log.truncate_after(4000).unwrap();
    append(&mut log, [4001]);
    log.close().unwrap();
    let (log, opened) = open();
    assert_eq!((opened.end.position, opened.end.ordinal), (4001, 40010));
    assert_eq!(read_all(&log).last(), Some(&4001));
    assert_eq!(
        log.reader(ReadFrom::Position(4001)).next().unwrap().unwrap().payload,
        payload(4001)
    );
}
