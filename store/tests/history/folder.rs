//! What stands in the folder: damage, foreign files, retention, a second process, readers beside a flush.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use journal::sim::{Crash, SimDisk};
use store::history::{CURSOR_BYTES_MAX, History, HistoryError, HistoryOptions};
use store::{EntryKey, POINTS_MAX, ReadError, RejectReason};
use telemetry::time::EventTime;

use crate::model::{HOUR, at, query};

const DAY: Duration = Duration::from_hours(24);

pub(crate) fn options(dir: impl Into<PathBuf>, days: u32) -> HistoryOptions {
    HistoryOptions::new(dir.into(), DAY * days)
}

pub(crate) fn on(disk: &SimDisk) -> Result<(History, Option<Vec<u8>>), HistoryError> {
    History::open_on(Arc::new(disk.clone()), options("history", 4_000))
}

pub(crate) fn take(history: &History, line: &str, now: EventTime) -> Result<(), RejectReason> {
    let key = EntryKey { position: 1, index: 2 };
    history.take(key, line, now).map_or(Ok(()), |refused| Err(refused.reason))
}

/// Takes one value of device 0.
fn value(history: &History, time: i64, value: i64) {
    let line = format!("soil,device=d0,tenant=t f={value} {time}");
    take(history, &line, EventTime::from_nanos(time)).unwrap();
}

pub(crate) fn values(history: &History) -> Vec<f64> {
    history.range(&query(0, "f")).unwrap().into_iter().map(|(_, value)| value).collect()
}

pub(crate) fn parquet(disk: &SimDisk) -> Vec<PathBuf> {
    let is_file = |path: &PathBuf| path.extension().is_some_and(|end| end == "parquet");
    disk.paths().into_iter().filter(is_file).collect()
}

/// Scenario: any byte of a file is changed, or the file is cut anywhere.
/// Guarantees: H5: the file is left out, counted and set aside; the day beside it is still read; a wrong
/// value is never read.
#[test]
fn no_damage_passes_and_none_takes_its_neighbours_along() {
    let disk = SimDisk::new(1);
    let (history, _) = on(&disk).unwrap();
    let start = at("2026-11-24T12:00:00Z").as_nanos();
    (0..200).for_each(|n| value(&history, start + n * HOUR / 8, n));
    history.flush(b"1").unwrap();
    let expected = values(&history);
    drop(history);
    let files = parquet(&disk);
    let (first, last) = (&files[0], files.last().unwrap());
    assert_eq!(files.len(), 2);
    let whole = disk.bytes(first).unwrap();
    let changed = (0..whole.len()).step_by(7).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    let cut = (0..whole.len()).step_by(97).map(|at| whole[..at].to_vec());
    for (n, bytes) in changed.chain(cut).enumerate() {
        disk.crash(Crash::Process);
        disk.damage(first, bytes);
        let (history, cursor) = on(&disk).unwrap();
        assert_eq!(cursor.as_deref(), Some(&b"1"[..]));
        let read = values(&history);
        // The first file's values are the first ones.
        if read != expected {
            assert!(expected.ends_with(&read), "{n}: {read:?}");
            assert!(read.len() > 100, "{n}: {}", read.len());
            assert_eq!(history.damaged_files(), 1, "{n}");
        } else {
            assert_eq!(
                history.damaged_files(),
                0,
                "{n}: a byte that no reader of this column needs"
            );
        }
    }
    disk.crash(Crash::Process);
    disk.damage(first, whole[..whole.len() / 2].to_vec());
    let (history, _) = on(&disk).unwrap();
    assert!(values(&history).len() > 100);
    let done = history.maintain(at("2026-11-25T00:00:00Z")).unwrap();
    assert_eq!(done.set_aside, 1);
    assert!(disk.bytes(first).is_none() && disk.bytes(last).is_some());
    assert!(disk.paths().iter().any(|path| path.to_string_lossy().ends_with(".parquet.damaged")));
    drop(history);
    disk.crash(Crash::Process);
    let (history, _) = on(&disk).unwrap();
    assert_eq!(history.damaged_files(), 1, "it is still counted");
}

/// Scenario: the manifest is damaged, missing, or of a newer version.
/// Guarantees: the files' points are kept, the cursor is lost and that is told; a newer format is refused
/// with its number and nothing is touched.
#[test]
fn the_points_outlive_their_manifest() {
    let disk = SimDisk::new(2);
    let manifest = Path::new("history/MANIFEST");
    let (history, _) = on(&disk).unwrap();
    value(&history, at("2026-11-24T12:00:00Z").as_nanos(), 5);
    history.flush(&[7; CURSOR_BYTES_MAX]).unwrap();
    assert!(matches!(
        history.flush(&[7; CURSOR_BYTES_MAX + 1]),
        Err(HistoryError::CursorTooLong { bytes: 256 })
    ));
    drop(history);
    disk.crash(Crash::Power);
    let intact = disk.bytes(manifest).unwrap();
    disk.damage(manifest, b"tianlu history 2\nunheard of\n".to_vec());
    assert!(matches!(on(&disk), Err(HistoryError::Newer { format: 2, .. })));
    for damage in [intact[..20].to_vec(), Vec::new()] {
        disk.crash(Crash::Process);
        disk.damage(manifest, damage);
        let (history, cursor) = on(&disk).unwrap();
        assert_eq!((cursor, values(&history)), (None, vec![5.0]));
        assert_eq!(history.damaged_files(), 1);
        value(&history, at("2026-11-24T13:00:00Z").as_nanos(), 5);
        drop(history);
    }
    disk.crash(Crash::Process);
    let (history, cursor) = on(&disk).unwrap();
    assert_eq!((cursor, values(&history)), (None, vec![5.0]));
}

/// Scenario: files of others stand in the folder, and a second process wants it.
/// Guarantees: foreign files are left alone; the second process is told.
#[test]
fn what_is_foreign_is_left_alone_and_a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (history, _) = History::open(options(folder.path(), 4_000)).unwrap();
    value(&history, at("2026-11-24T12:00:00Z").as_nanos(), 5);
    history.flush(b"1").unwrap();
    let second = History::open(options(folder.path(), 4_000));
    assert!(matches!(second, Err(HistoryError::Locked { .. })), "{second:?}");
    drop(history);
    let foreign = ["notes.txt", "measurement=soil/mine.parquet", "other/x.parquet"];
    std::fs::create_dir(folder.path().join("other")).unwrap();
    for name in foreign {
        std::fs::write(folder.path().join(name), b"PAR1 not PAR1").unwrap();
    }
    let (history, cursor) = History::open(options(folder.path(), 4_000)).unwrap();
    assert_eq!((cursor.as_deref(), values(&history)), (Some(&b"1"[..]), vec![5.0]));
    history.maintain(at("2026-12-24T12:00:00Z")).unwrap();
    for name in foreign {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

/// Scenario: points older than the retention, and files that become older.
/// Guarantees: such a point is refused with its reason; files are deleted as a whole, days by days and months
/// once their last day is too old.
#[test]
fn retention_refuses_old_points_and_deletes_whole_files() {
    let disk = SimDisk::new(3);
    let open = || History::open_on(Arc::new(disk.clone()), options("history", 10)).unwrap().0;
    let history = open();
    let noon = |day: u32| at(&format!("2026-10-{day:02}T12:00:00Z"));
    let line = |day: u32| format!("soil,device=d0,tenant=t f={day} {}", noon(day).as_nanos());
    for day in 1..=20 {
        take(&history, &line(day), noon(day)).unwrap();
        history.flush(&[1]).unwrap();
    }
    assert_eq!(take(&history, &line(10), noon(20)), Ok(()), "exactly as old as is kept");
    let late = EventTime::from_nanos(noon(20).as_nanos() + 1);
    assert_eq!(take(&history, &line(10), late), Err(RejectReason::OutsideRetention));
    assert_eq!(history.maintain(noon(20)).unwrap().expired, 9);
    assert_eq!(values(&history).len(), 11, "day 10 ends after the bound");
    assert_eq!(parquet(&disk).len(), 11);
    let november = at("2026-11-02T02:00:00Z");
    while history.maintain(november).unwrap().has_more {}
    assert_eq!(
        parquet(&disk).len(),
        0,
        "all of October is older than ten days: {:?}",
        parquet(&disk)
    );
    assert_eq!(values(&history).len(), 1, "what the tail holds is not in a file yet");
}

/// Scenario: a reader reads on and on while points are taken, flushed and merged.
/// Guarantees: it sees every point that was taken before, none twice, at any moment; no file vanishes under
/// it.
#[test]
fn a_reader_sees_every_point_once_whatever_goes_on_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (history, _) = History::open(options(folder.path(), 4_000)).unwrap();
    let start = at("2026-11-24T12:00:00Z").as_nanos();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut seen, mut reads) = (0, 0);
            while !is_done.load(Ordering::Relaxed) {
                let values = values(&history);
                assert!(values.iter().copied().eq((0..values.len()).map(|n| n as f64)));
                assert!(values.len() >= seen, "{} after {seen}", values.len());
                seen = values.len();
                reads += 1;
            }
            reads
        });
        for n in 0..1_500_i64 {
            value(&history, start + n * HOUR / 10, n);
            if n % 10 == 9 {
                history.flush(&n.to_le_bytes()).unwrap();
            }
            if n % 50 == 49 {
                let now = EventTime::from_nanos(start + (n / 10 + 2) * HOUR);
                while history.maintain(now).unwrap().has_more {}
            }
        }
        is_done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
    assert_eq!(values(&history).len(), 1_500);
}

/// Scenario: lines that cannot be rows, and more values than one read returns.
/// Guarantees: each is refused with a reason that has a name; the read says that there are too many.
#[test]
fn what_cannot_be_kept_or_returned_is_said() {
    let disk = SimDisk::new(4);
    let (history, _) = on(&disk).unwrap();
    let now = at("2026-11-24T12:00:00Z");
    let time = now.as_nanos();
    take(&history, &format!("m,device=d0,tenant=t,x=1 f=1,s=\"a\" {time}"), now).unwrap();
    for (line, reason) in [
        ("nonsense".to_owned(), RejectReason::StoreRejected),
        ("m,device=d0,tenant=t f=1".to_owned(), RejectReason::StoreRejected),
        (format!("m,time=1 f=1 {time}"), RejectReason::StoreRejected),
        (format!("m,device=d0 time=1 {time}"), RejectReason::StoreRejected),
        (format!("m,device=d0 u=18446744073709551615u {time}"), RejectReason::StoreRejected),
        (format!("{},device=d0 f=1 {time}", "长".repeat(40)), RejectReason::StoreRejected),
        (format!("m,device=d0,tenant=t f=1i {time}"), RejectReason::TypeConflict),
        (format!("m,device=d0,tenant=t new=1,s=2 {time}"), RejectReason::TypeConflict),
        (format!("m,device=d0,tenant=t x=1 {time}"), RejectReason::TypeConflict),
        (format!("m,device=d0,f=1,tenant=t g=1 {time}"), RejectReason::TypeConflict),
    ] {
        assert_eq!(take(&history, &line, now), Err(reason), "{line}");
    }
    assert_eq!(history.tail().rows, 1);
    for n in 0..=i64::try_from(POINTS_MAX).unwrap() {
        value(&history, time + n, 1);
    }
    assert!(matches!(history.range(&query(0, "f")), Err(ReadError::TooMany)));
    history.flush(b"1").unwrap();
    assert!(matches!(history.range(&query(0, "f")), Err(ReadError::TooMany)));
    let mut query = query(0, "f");
    query.measurement = Some("soil".to_owned());
    query.step = Some(Duration::from_hours(1));
    let windows = history.windows(&query).unwrap();
    assert_eq!((windows.len(), windows[0].count), (1, POINTS_MAX as u64 + 1));
}

/// Scenario: a fleet of more series than a file keeps an index of, some with more points than others, some
/// of another tenant or of none, through flushes and a merge.
/// Guarantees: each series is found with its own points and no others.
#[test]
fn each_series_of_a_large_fleet_is_found() {
    let disk = SimDisk::new(6);
    let (history, _) = on(&disk).unwrap();
    let now = at("2026-11-24T12:00:00Z");
    let tags = |device: u64| match device % 5 {
        0 => format!("device=d{device}"),
        1 => format!("device=d{device},tenant=other"),
        _ => format!("device=d{device},site=s{},tenant=t", device % 9),
    };
    for flush in 0..8_u64 {
        let skipped = if flush < 2 { 1 } else { 1_000 };
        for device in (0..60_000).filter(|device| device % skipped == 0) {
            let device = device * 7_919 % 60_000;
            for point in 0..=device % 3 {
                let time = now.as_nanos() + i64::try_from(flush * 10 + point).unwrap();
                take(&history, &format!("soil,{} f={device} {time}", tags(device)), now).unwrap();
            }
        }
        history.flush(flush.to_string().as_bytes()).unwrap();
    }
    for state in ["flushed", "merged"] {
        for device in [0, 1, 2, 3, 17, 8_192, 8_193, 33_333, 59_997, 59_998, 59_999] {
            for tenant in ["t", "other", ""] {
                let mut query = query(device, "f");
                query.tenant = tenant.to_owned();
                let own = ["", "other", "t", "t", "t"][usize::try_from(device % 5).unwrap()];
                let points = history.range(&query).unwrap();
                let place = (0..60_000_u64).find(|at| at * 7_919 % 60_000 == device).unwrap();
                let flushes = if place.is_multiple_of(1_000) { 8 } else { 2 };
                let count = if tenant == own { flushes * (device % 3 + 1) } else { 0 };
                assert_eq!(points.len() as u64, count, "{device} of {tenant}, {state}");
                assert!(points.iter().all(|(_, value)| (*value - device as f64).abs() < 0.5));
            }
        }
        while history.maintain(now).unwrap().has_more {}
    }
    assert_eq!(history.files().0, 1);
}
