//! Measures the log on a real disk: `throughput DIR [RECORDS] [BATCH]`; records of 200 bytes, a
//! sync after each batch.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "prints its result")]

use journal::{Appended, Log, LogOptions, ReadFrom, RealDisk};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(dir) = args.first() else {
        eprintln!("usage: throughput DIR [RECORDS] [BATCH]");
        return ExitCode::from(2);
    };
    let number =
        |at: usize, default| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    match measure(Path::new(dir), number(1, 1_000_000), number(2, 10_000)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("could not measure: {e}");
            ExitCode::FAILURE
        }
    }
}

fn measure(dir: &Path, records: u64, batch: u64) -> Result<(), Box<dyn Error>> {
    let (mut log, opened) = Log::open(Arc::new(RealDisk), dir, LogOptions::default())?;
    let from = opened.end.position;
    let payload = [0x5a; 200];
    let begun = cpu_and_wall();
    for n in 1..=records {
        log.append(Appended { kind: 1, position: from + n, ordinal: n, payload: &payload })?;
        if n % batch == 0 {
            log.sync()?;
        }
    }
    log.sync()?;
    report("append and sync", records, begun);
    let mut reader = log.reader(ReadFrom::Position(from + 1));
    let begun = cpu_and_wall();
    let mut read = 0;
    while let Some(record) = reader.next()? {
        read += u64::from(record.payload.len() == 200);
    }
    report("read", read, begun);
    log.close()?;
    let begun = cpu_and_wall();
    drop(Log::open(Arc::new(RealDisk), dir, LogOptions::default())?);
    report("open again", read, begun);
    Ok(())
}

/// CPU seconds of this process so far (user and system), and now.
fn cpu_and_wall() -> (f64, Instant) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok());
    (ticks.sum::<f64>() / 100.0, Instant::now())
}

fn report(what: &str, records: u64, (cpu, wall): (f64, Instant)) {
    let spent = cpu_and_wall().0 - cpu;
    println!("{what}: {records} records, {spent:.2} CPU s, {:.2} s", wall.elapsed().as_secs_f64());
}
