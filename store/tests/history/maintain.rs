//! Maintenance where a file does not let itself be read, renamed or removed, and by a clock that was wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::Disk;
use journal::sim::SimDisk;
use store::history::History;
use telemetry::time::EventTime;

use crate::folder::{on, options, parquet, take, values};
use crate::model::at;

fn line(measurement: &str, at: EventTime) -> String {
    format!("{measurement},device=d0,tenant=t f=1 {}", at.as_nanos())
}

/// Fills a folder with a file for each of three days.
fn three_days(folder: &Path, retention_days: u32) -> (History, Vec<PathBuf>) {
    let (history, _) = History::open(options(folder, retention_days)).unwrap();
    for day in 1..=3_u8 {
        let noon = at(&format!("2026-10-{day:02}T12:00:00Z"));
        take(&history, &line("soil", noon), noon).unwrap();
        history.flush(&[day]).unwrap();
    }
    let files = files(folder);
    assert_eq!(files.len(), 3);
    (history, files)
}

/// Returns the history's files on the real disk, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("measurement=soil")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "parquet")).collect();
    files.sort();
    files
}

fn set_aside(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.damaged", file.display()))
}

/// Scenario: the disk does not give back one file of the first measurement.
/// Guarantees: H6: what stands behind it is merged; it is told, and tried again after a while.
#[test]
fn a_file_that_cannot_be_read_holds_up_no_other_merge() {
    let disk = SimDisk::new(7);
    let (history, _) = on(&disk).unwrap();
    let now = at("2026-11-24T12:00:00Z");
    for n in 0..8_u8 {
        for measurement in ["a", "b"] {
            take(&history, &line(measurement, now.plus(Duration::from_secs(n.into()))), now)
                .unwrap();
        }
        history.flush(&[n]).unwrap();
    }
    let of = |measurement: &str| -> Vec<PathBuf> {
        let folder = format!("history/measurement={measurement}");
        parquet(&disk).into_iter().filter(|path| path.starts_with(&folder)).collect()
    };
    let gone = of("a").pop().unwrap();
    Disk::remove(&disk, &gone).unwrap();
    let told = (0..5).filter(|_| history.maintain(now).is_err()).count();
    assert_eq!((told, of("a").len(), of("b").len()), (1, 7, 1));
    let later = now.plus(Duration::from_mins(10));
    assert!(history.maintain(later).is_err(), "it is tried again");
    assert!(history.maintain(later).is_ok());
}

/// Scenario: three files have expired, and one of them cannot be removed for a while.
/// Guarantees: the others are removed at once, and this one later.
#[test]
fn a_file_that_cannot_be_removed_keeps_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (history, stored) = three_days(folder.path(), 10);
    std::fs::remove_file(&stored[0]).unwrap();
    std::fs::create_dir(&stored[0]).unwrap();
    let now = at("2026-12-01T00:00:00Z");
    assert!(history.maintain(now).is_err());
    assert_eq!(files(folder.path()), [stored[0].clone()]);
    std::fs::remove_dir(&stored[0]).unwrap();
    std::fs::write(&stored[0], b"what is left of it").unwrap();
    history.maintain(now).unwrap();
    assert!(files(folder.path()).is_empty());
}

/// Scenario: three files are damaged, and one of them cannot be renamed for a while.
/// Guarantees: H5: the others are set aside at once, and this one later.
#[test]
fn a_damaged_file_that_cannot_be_renamed_keeps_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (history, stored) = three_days(folder.path(), 10);
    drop(history);
    for file in &stored {
        let whole = std::fs::read(file).unwrap();
        std::fs::write(file, &whole[..whole.len() / 2]).unwrap();
    }
    let in_the_way = set_aside(&stored[1]);
    std::fs::create_dir(&in_the_way).unwrap();
    let (history, _) = History::open(options(folder.path(), 10)).unwrap();
    assert!(values(&history).is_empty());
    assert_eq!(history.damaged_files(), 3);
    let now = at("2026-10-04T00:00:00Z");
    assert!(history.maintain(now).is_err());
    assert_eq!(files(folder.path()), [stored[1].clone()]);
    assert!(set_aside(&stored[0]).is_file() && set_aside(&stored[2]).is_file());
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(history.maintain(now).unwrap().set_aside, 1);
    assert!(in_the_way.is_file() && files(folder.path()).is_empty());
}

/// Scenario: the clock is a month ahead for a while, then it is right again.
/// Guarantees: a day that was flushed afterwards becomes one file once it is quiet.
#[test]
fn a_clock_that_was_ahead_holds_up_no_merge() {
    let disk = SimDisk::new(8);
    let (history, _) = on(&disk).unwrap();
    let noon = at("2026-11-24T12:00:00Z");
    let (day_before, ahead) = (at("2026-11-23T12:00:00Z"), at("2026-12-24T12:00:00Z"));
    take(&history, &line("soil", day_before), ahead).unwrap();
    history.flush(b"1").unwrap();
    for n in 2..4_u8 {
        take(&history, &line("soil", noon.plus(Duration::from_secs(n.into()))), noon).unwrap();
        history.flush(&[n]).unwrap();
    }
    while history.maintain(at("2026-11-25T02:00:00Z")).unwrap().has_more {}
    assert_eq!(parquet(&disk).len(), 2, "{:?}", parquet(&disk));
}
