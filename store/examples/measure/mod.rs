//! What the examples that measure the history share.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use store::history::HistoryOptions;

/// 2026-10-01T00:00:00Z.
pub(crate) const START: i64 = 1_790_812_800_000_000_000;

/// Runs a measurement in a folder that must not exist yet; `None`: the arguments were wrong, and `usage` is shown.
pub(crate) fn measured(
    usage: &str,
    dir: Option<&String>,
    run: Option<impl FnOnce(&Path) -> Result<(), Box<dyn Error>>>,
) -> ExitCode {
    let (Some(dir), Some(run)) = (dir.map(Path::new), run) else {
        eprintln!("usage: {usage}");
        return ExitCode::from(2);
    };
    if dir.exists() {
        eprintln!("{} exists already", dir.display());
        return ExitCode::from(2);
    }
    match run(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the options of a history that keeps its points for a century.
pub(crate) fn options(dir: &Path) -> HistoryOptions {
    HistoryOptions::new(dir.to_owned(), Duration::from_hours(24 * 36_500))
}

/// Returns the CPU seconds of this thread, by the kernel; 0 where it does not tell.
pub(crate) fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|text| text.parse::<f64>().ok());
    nanos.unwrap_or_default() / 1e9
}
