//! Measures what the embedded history spends on a point: `history_write DIR [SERIES [POINTS [FLUSH_MIB]]]`;
//! DIR must not exist yet. Defaults: 1,000,000 series, 4,000,000 points, the flush size of the service.
//!
//! Every series has a point a round, in an order of its own each round, as a fleet of gateways sends. Points
//! are taken, flushed and merged in one thread; the service merges beside its sink.
//!
//! ```text
//! cargo run --release -p store --example history_write -- /tmp/history 1000000 4000000
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "prints its result")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use store::history::History;
use store::{EntryKey, RangeQuery};
use telemetry::time::EventTime;

use measure::{START, cpu, measured, options};

mod measure;

const SECOND: i64 = 1_000_000_000;
/// Lines between two looks at the size of the tail.
const BATCH: usize = 1_024;
/// Merges after one flush at most.
const MERGES_AT_ONCE: u32 = 4;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        args.get(at).map_or(Some(default), |text| text.parse::<usize>().ok())
    };
    let numbers = (number(1, 1_000_000), number(2, 4_000_000), number(3, 0));
    let run = match numbers {
        (Some(series), Some(points), Some(mib)) => {
            Some(move |dir: &Path| run(dir, series.max(1), points.max(1), mib << 20))
        }
        _ => None,
    };
    measured("history_write DIR [SERIES [POINTS [FLUSH_MIB]]]", args.first(), run)
}

/// CPU seconds by what they were spent on.
#[derive(Default)]
struct Spent {
    /// Bytes that had been written before the first point.
    written_before: f64,
    making: f64,
    taking: f64,
    flushing: f64,
    merging: f64,
}

fn run(dir: &Path, series: usize, points: usize, mib: usize) -> Result<(), Box<dyn Error>> {
    let mut options = options(dir);
    if mib > 0 {
        options.flush_bytes = mib;
    }
    let (history, _) = History::open(options)?;
    let mut spent = Spent { written_before: written(), ..Spent::default() };
    let (begun, mut flushes) = (Instant::now(), 0_u64);
    let mut numbers = (0..points).peekable();
    while numbers.peek().is_some() {
        let lines = lines(&mut numbers, series, &mut spent)?;
        let before = cpu();
        let now = EventTime::from_nanos(START + 3_600 * SECOND);
        for line in lines.lines() {
            if let Some(refused) = history.take(EntryKey { position: 0, index: 0 }, line, now) {
                return Err(refused.detail.into_string().into());
            }
        }
        spent.taking += cpu() - before;
        let is_last = numbers.peek().is_none();
        if is_last || history.tail().bytes >= history.options().flush_bytes {
            flushes += 1;
            flush(&history, flushes, now, &mut spent)?;
        }
    }
    show(&history, points, flushes, begun, &spent);
    read(&history, series)
}

fn flush(
    history: &History,
    number: u64,
    now: EventTime,
    spent: &mut Spent,
) -> Result<(), Box<dyn Error>> {
    let before = cpu();
    history.flush(number.to_string().as_bytes())?;
    let flushed = cpu();
    for _ in 0..MERGES_AT_ONCE {
        if !history.maintain(now)?.has_more {
            break;
        }
    }
    spent.flushing += flushed - before;
    spent.merging += cpu() - flushed;
    Ok(())
}

fn show(history: &History, points: usize, flushes: u64, begun: Instant, spent: &Spent) {
    let wall = begun.elapsed().as_secs_f64() - spent.making;
    let micros = |cpu: f64| cpu * 1e6 / points as f64;
    let all = spent.taking + spent.flushing + spent.merging;
    println!(
        "{points} points: CPU us/point {:.2} = take {:.2} + flush {:.2} + merge {:.2}; {:.0} points/s by the clock",
        micros(all),
        micros(spent.taking),
        micros(spent.flushing),
        micros(spent.merging),
        points as f64 / wall,
    );
    let (files, bytes) = history.files();
    println!(
        "{flushes} flushes, {files} files, {:.1} bytes/point on disk, {:.1} written; peak memory {:.0} MiB",
        bytes as f64 / points as f64,
        (written() - spent.written_before) / points as f64,
        number_in("/proc/self/status", "VmHWM:") / 1024.0,
    );
}

/// Reads the points of one series twice.
fn read(history: &History, series: usize) -> Result<(), Box<dyn Error>> {
    for state in ["first", "again"] {
        let query = RangeQuery {
            measurement: Some("soil".to_owned()),
            tenant: "default".to_owned(),
            device: format!("soil-{:07}", series / 3),
            property: "soil_moisture_10cm".to_owned(),
            from: EventTime::from_nanos(START),
            to: EventTime::from_nanos(START + 86_400 * SECOND),
            step: None,
        };
        let begun = Instant::now();
        let points = history.range(&query)?.len();
        println!("all of one series, {state}: {points} points in {:.3?}", begun.elapsed());
    }
    Ok(())
}

/// Returns the next lines; what they cost is not the history's.
fn lines(
    numbers: &mut impl Iterator<Item = usize>,
    series: usize,
    spent: &mut Spent,
) -> Result<String, std::fmt::Error> {
    let before = cpu();
    let mut text = String::with_capacity(BATCH * 200);
    for number in numbers.take(BATCH) {
        let (round, at) = (number / series, number % series);
        // A step that has no divisor in common with the usual numbers of series.
        let device = at.wrapping_mul(611_953).wrapping_add(round * 7_919) % series;
        let time = START + (round * 10_000_000_000 + at * 1_000).cast_signed() as i64;
        let noise = |salt: usize| ((number + salt).wrapping_mul(0x9e37_79b9) >> 7) % 64;
        writeln!(
            text,
            "soil,device=soil-{device:07},site=s{},tenant=default battery_v={:.2},soil_ec_ms_m={:.1},soil_moisture_10cm={:.3},soil_moisture_30cm={:.3},soil_temp_c={:.1} {time}",
            device / 1_000,
            3.3 + noise(0) as f64 / 200.0,
            25.0 + noise(1) as f64 / 10.0,
            0.25 + noise(2) as f64 / 1e3,
            0.28 + noise(3) as f64 / 1e3,
            15.0 + noise(4) as f64 / 10.0,
        )?;
    }
    spent.making += cpu() - before;
    Ok(text)
}

/// Returns the number behind a name in a file of the kernel, as it stands there.
fn number_in(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Returns the bytes that this process has sent to disks; `cargo run` counts its own to it.
fn written() -> f64 {
    number_in("/proc/self/io", "write_bytes:")
}
