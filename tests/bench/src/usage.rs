//! What a process has used, as the kernel counts it.

use std::fs;
use std::path::Path;

/// Clock ticks a second, as `/proc` counts them on every Linux.
const TICKS: f64 = 100.0;

/// Returns the CPU time of a process so far, user and system, in seconds; 0 where it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    ticks.iter().sum::<f64>() / TICKS
}

/// Returns the resident memory of a process now and at most, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    (field("VmRSS:").unwrap_or(0) * 1024, field("VmHWM:").unwrap_or(0) * 1024)
}

/// Returns the bytes of the files of a folder and of those below it.
pub(crate) fn file_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let sizes = entries.filter_map(|entry| {
        let about = entry.metadata().ok()?;
        Some(if about.is_dir() { file_bytes(&entry.path()) } else { about.len() })
    });
    sizes.sum()
}

/// Returns the bytes of the files of a folder without the zeros at their ends, which are reserved and not written.
pub(crate) fn written_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let files = entries.filter_map(|entry| fs::read(entry.ok()?.path()).ok());
    files
        .map(|bytes| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1))
        .sum()
}
