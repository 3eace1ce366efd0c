//! Cursors and replaced files survive crashes.

use journal::sim::{Crash, Dice, Faults, SimDisk};
use journal::{CursorError, CursorFile, Disk, RealDisk, atomic_write, read_file};
use std::path::Path;

const PATH: &str = "/data/store.cursor";

fn value(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(1 + usize::try_from(n % 300).unwrap())
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().unwrap())
}

#[test]
fn a_cursor_returns_what_was_stored_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cursor");
    for n in 1..5 {
        let mut cursor = CursorFile::open(&RealDisk, &path).unwrap();
        assert_eq!(cursor.load(), (n > 1).then(|| value(n - 1)).as_deref());
        cursor.store(&value(n)).unwrap();
        assert_eq!(cursor.load(), Some(value(n).as_slice()));
    }
    let mut cursor = CursorFile::open(&RealDisk, &path).unwrap();
    let long = cursor.store(&vec![0; CursorFile::VALUE_BYTES_MAX + 1]).unwrap_err();
    assert!(matches!(long, CursorError::TooLong { .. }), "{long}");
    cursor.store(&vec![1; CursorFile::VALUE_BYTES_MAX]).unwrap();
    assert_eq!(
        CursorFile::open(&RealDisk, &path).unwrap().load().unwrap().len(),
        CursorFile::VALUE_BYTES_MAX
    );
}

/// Scenario: stores with faults, and a crash at any call, 20 times for each of 300 seeds.
/// Guarantees: the cursor is the last one stored or the one under way, never older, never torn.
#[test]
fn no_crash_takes_a_cursor_back() {
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let mut dice = Dice::new(seed);
        let (mut stored, mut tried) = (0, 0);
        for _ in 0..20 {
            disk.stop_after(Some(1 + dice.below(40)));
            let often = u16::try_from(dice.below(200)).unwrap();
            disk.set_faults(Faults {
                short_write: often,
                no_space: often / 4,
                sync_error: often,
                write_error: often / 4,
            });
            while let Ok(mut cursor) = CursorFile::open(&disk, Path::new(PATH)) {
                let found = cursor.load().map_or(0, number);
                assert!(
                    found >= stored && found <= tried,
                    "seed {seed}: {stored} <= {found} <= {tried}"
                );
                stored = found;
                while !disk.is_stopped() && dice.below(8) > 0 {
                    tried += 1;
                    if cursor.store(&value(tried)).is_ok() {
                        stored = tried;
                    }
                }
            }
            disk.crash(if dice.below(4) == 0 { Crash::Process } else { Crash::Power });
            disk.set_faults(Faults::default());
            let cursor = CursorFile::open(&disk, Path::new(PATH)).unwrap();
            let found = cursor.load().map_or(0, number);
            assert!(
                found >= stored && found <= tried,
                "seed {seed}: {stored} <= {found} <= {tried}"
            );
            assert!(found == 0 || cursor.load() == Some(value(found).as_slice()), "seed {seed}");
            stored = found;
        }
    }
}

/// Scenario: a file replaced again and again, with a crash at any call.
/// Guarantees: it is always one of the whole versions, and never older than the last one replaced.
#[test]
fn a_replaced_file_is_old_or_new_and_never_between() {
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let mut dice = Dice::new(seed);
        let path = Path::new("/data/snapshot");
        let (mut stored, mut tried) = (0, 0);
        for _ in 0..10 {
            disk.stop_after(Some(1 + dice.below(30)));
            while !disk.is_stopped() {
                tried += 1;
                if atomic_write(&disk, path, &value(tried)).is_ok() {
                    stored = tried;
                }
            }
            disk.crash(Crash::Power);
            let Ok(bytes) = read_file(&disk, path) else {
                assert_eq!(stored, 0, "seed {seed}");
                continue;
            };
            let found = number(&bytes);
            assert!(bytes == value(found) && found >= stored && found <= tried, "seed {seed}");
            stored = found;
        }
    }
}

#[test]
fn a_failed_replacement_leaves_the_old_file_and_no_other() {
    let disk = SimDisk::new(1);
    let path = Path::new("/data/snapshot");
    atomic_write(&disk, path, b"old").unwrap();
    for faults in [
        Faults { no_space: 1024, ..Faults::default() },
        Faults { write_error: 1024, ..Faults::default() },
        Faults { sync_error: 1024, ..Faults::default() },
    ] {
        disk.set_faults(faults);
        atomic_write(&disk, path, b"new").unwrap_err();
        disk.set_faults(Faults::default());
        assert_eq!(read_file(&disk, path).unwrap(), b"old");
        assert_eq!(disk.list(Path::new("/data")).unwrap(), ["snapshot"]);
    }
}
