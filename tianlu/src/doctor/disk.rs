//! Whether the data folder has room, can be written, and how long an fsync takes there: every
//! acknowledgement waits for one.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ingest::engine::layout::Layout;
use telemetry::time::show_duration;

use super::{Finding, Level};
use crate::config::{Data, show_size};

const PART: &str = "disk";
const WRITES: usize = 50;
const BLOCK: [u8; 4096] = [0x5a; 4096];
/// A disk that is this fast has not waited for its medium: memory, or a cache that loses power.
const TOO_FAST: Duration = Duration::from_micros(15);
/// With slower syncs group commit acknowledges fewer than 20 batches a second.
const SLOW: Duration = Duration::from_millis(50);

pub(super) fn examine(data: &Data) -> Vec<Finding> {
    let dir = existing(&data.dir);
    let path = data.dir.display();
    let mut findings = Vec::new();
    match free_bytes(&dir) {
        Ok(free) => findings.push(room(data, free, log_bytes(&data.dir))),
        Err(error) => {
            findings.push(Finding::bad(
                Level::Fail,
                PART,
                "tianlu.doctor.disk.unreadable",
                &[("path", &path), ("error", &error)],
            ));
        }
    }
    findings.push(match sync_times(&dir) {
        Ok(times) => sync(&times),
        Err(error) => Finding::bad(
            Level::Fail,
            PART,
            "tianlu.doctor.disk.unwritable",
            &[("path", &dir.display()), ("error", &error)],
        ),
    });
    findings
}

/// Returns the folder, or the nearest one above it that exists: the service creates the rest.
fn existing(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    absolute
        .ancestors()
        .find(|above| above.is_dir())
        .map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}

fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Returns what of `max_bytes` is taken: by both logs, and by nothing else in the folder.
fn log_bytes(data: &Path) -> u64 {
    let layout = Layout::new(data);
    used_bytes(&layout.journal()) + used_bytes(&layout.outbox())
}

fn used_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => used_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        // It may have been removed meanwhile.
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn room(data: &Data, free: u64, used: u64) -> Finding {
    let wanted = data.max_bytes.saturating_sub(used);
    let (free_text, wanted_text, max) = (about(free), about(wanted), show_size(data.max_bytes));
    let args: [(&str, &dyn std::fmt::Display); 3] =
        [("free", &free_text), ("wanted", &wanted_text), ("max", &max)];
    if free >= wanted {
        Finding::ok(PART, "tianlu.doctor.disk.room", &args)
    } else if free >= wanted / 4 {
        Finding::bad(Level::Warn, PART, "tianlu.doctor.disk.tight", &args)
    } else {
        Finding::bad(Level::Fail, PART, "tianlu.doctor.disk.tight", &args)
    }
}

/// Writes a size with one decimal.
fn about(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x10_0000 => (1 << 10, "KiB"),
        0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
        _ => (1_u64 << 30, "GiB"),
    };
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

/// Measures fsyncs after small writes over zeros, as the journal does them.
fn sync_times(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".tianlu-doctor-{}", std::process::id()));
    let file = File::options().write(true).create_new(true).open(&path)?;
    let measured = measure(&file);
    fs::remove_file(&path)?;
    measured
}

fn measure(mut file: &File) -> io::Result<Vec<Duration>> {
    file.write_all(&vec![0; BLOCK.len() * WRITES])?;
    file.sync_all()?;
    file.rewind()?;
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        file.write_all(&BLOCK)?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn sync(sorted: &[Duration]) -> Finding {
    let at = |percent: usize| {
        sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
    };
    let (p50, p99) = (at(50).copied().unwrap_or_default(), at(99).copied().unwrap_or_default());
    let micros = |time: Duration| {
        show_duration(Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    };
    let (p50_text, p99_text) = (micros(p50), micros(p99));
    let args: [(&str, &dyn std::fmt::Display); 2] = [("p50", &p50_text), ("p99", &p99_text)];
    if p50 >= SLOW {
        Finding::bad(Level::Warn, PART, "tianlu.doctor.disk.slow", &args)
    } else if p50 < TOO_FAST {
        Finding::bad(Level::Warn, PART, "tianlu.doctor.disk.volatile", &args)
    } else {
        Finding::ok(PART, "tianlu.doctor.disk.sync", &args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged_by_what_the_logs_may_still_take() {
        let data = Data {
            dir: "d".into(),
            max_bytes: 8 << 30,
            keep: Duration::ZERO,
            commit_interval: Duration::ZERO,
        };
        for (free, used, level) in [
            (8 << 30, 0, Level::Ok),
            (1 << 30, 7 << 30, Level::Ok),
            (4 << 30, 0, Level::Warn),
            (1 << 30, 0, Level::Fail),
        ] {
            assert_eq!(room(&data, free, used).level, level, "{free} {used}");
        }
    }

    /// The history and the snapshots of a month take nothing of what the logs may take.
    #[test]
    fn only_the_logs_count() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, bytes) in [("journal", 100), ("outbox", 30), ("history", 5000), (".", 7)] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("file"), vec![0; bytes]).unwrap();
        }
        assert_eq!(log_bytes(dir.path()), 130);
    }

    #[test]
    fn slow_and_suspiciously_fast_disks_are_told() {
        let all = |time| sync(&[Duration::from_micros(time); WRITES]).level;
        assert_eq!([all(2), all(800), all(80_000)], [Level::Warn, Level::Ok, Level::Warn]);
        assert_eq!(about(1536), "1.5 KiB");
    }

    #[test]
    fn the_measurement_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(sync_times(dir.path()).unwrap().len(), WRITES);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(sync_times(&dir.path().join("none")).is_err());
    }
}
