//! Measures the embedded history: `history_bench DIR [FILE.lp…]`; DIR must not exist yet.
//!
//! For each file of line protocol (`tianlu replay … --points FILE.lp`): CPU of taking and flushing, and
//! bytes per value once everything is merged. Then a fleet of 1,000 series at 15 minutes for 30 days: 24 h of
//! one series, and all series down-sampled to hours.
//!
//! ```text
//! cargo run --release -p store --example history_bench -- /tmp/history air.lp traffic.lp
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "prints its result")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use store::history::History;
use store::{EntryKey, RangeQuery};
use telemetry::line_protocol::{FieldValue, parse_line};
use telemetry::time::EventTime;

use measure::{START, cpu, measured, options};

mod measure;

const SERIES: i64 = 1_000;
const DAYS: i64 = 30;
const DAY: i64 = 86_400_000_000_000;
const QUARTER: i64 = 900_000_000_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let files = args.get(1..).unwrap_or_default();
    measured("history_bench DIR [FILE.lp...]", args.first(), Some(|dir: &Path| run(dir, files)))
}

fn run(dir: &Path, files: &[String]) -> Result<(), Box<dyn Error>> {
    for (at, file) in files.iter().enumerate() {
        let text = std::fs::read_to_string(file)?;
        println!("{file}");
        let history = open(&dir.join(at.to_string()))?;
        fill(&history, text.lines())?;
    }
    println!("{SERIES} series, {DAYS} days at 15 minutes, 5 fields");
    let history = open(&dir.join("fleet"))?;
    let lines: Vec<String> = (0..DAYS * 96).flat_map(fleet_lines).collect();
    fill(&history, lines.iter().map(String::as_str))?;
    drop(history);
    let history = open(&dir.join("fleet"))?;
    let day = START + 12 * DAY;
    for state in ["cold", "warm", "another"] {
        let begun = Instant::now();
        let device = if state == "another" { 700 } else { 300 };
        let points = history.range(&query(device, day, day + DAY, None))?.len();
        println!("  24 h of one series, {state}: {points} points in {:.3?}", begun.elapsed());
    }
    for state in ["cold", "warm"] {
        let (begun, cpu) = (Instant::now(), cpu());
        let mut windows = 0;
        for device in 0..SERIES {
            let hour = Some(Duration::from_hours(1));
            windows += history.windows(&query(device, START, START + DAYS * DAY, hour))?.len();
        }
        let cpu = self::cpu() - cpu;
        println!(
            "  {DAYS} days of {SERIES} series by the hour, {state}: {windows} windows in {:.3?}, CPU {cpu:.3} s",
            begun.elapsed()
        );
    }
    Ok(())
}

fn open(dir: &Path) -> Result<History, Box<dyn Error>> {
    Ok(History::open(options(dir))?.0)
}

fn fill<'a>(
    history: &History,
    lines: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), Box<dyn Error>> {
    let count = lines.clone().count();
    let parsing = cpu();
    let values: usize = lines.clone().filter_map(numbers).sum();
    let parsing = cpu() - parsing;
    let (mut taking, mut flushing) = (0.0, 0.0);
    let mut flushes = 0;
    let times = lines.clone().filter_map(|line| line.rsplit(' ').next()?.parse().ok());
    let last = EventTime::from_nanos(times.max().unwrap_or_default());
    let mut lines = lines.peekable();
    while lines.peek().is_some() {
        let before = cpu();
        for (n, line) in lines.by_ref().enumerate() {
            if let Some(refused) = history.take(EntryKey { position: 0, index: 0 }, line, last) {
                return Err(refused.detail.into_string().into());
            }
            // As the engine does: between batches.
            if n % 256 == 255 && history.tail().bytes >= history.options().flush_bytes {
                break;
            }
        }
        let taken = cpu();
        flushes += 1;
        history.flush(flushes.to_string().as_bytes())?;
        taking += taken - before;
        flushing += cpu() - taken;
    }
    let per_million = |cpu: f64| cpu * 1e6 / count as f64;
    println!(
        "  take {:.2} CPU s per million lines (parse_line alone {:.2}), flush {:.2} ({count} lines, {flushes} flushes)",
        per_million(taking),
        per_million(parsing),
        per_million(flushing)
    );
    let bytes_each = |bytes: u64| bytes as f64 / values as f64;
    let (before, bytes) = history.files();
    println!("  {before} files, {:.2} bytes per value ({values} values)", bytes_each(bytes));
    let (begun, cpu) = (Instant::now(), cpu());
    while history.maintain(last.plus(Duration::from_hours(24 * 60)))?.has_more {}
    let cpu = self::cpu() - cpu;
    let (after, bytes) = history.files();
    println!(
        "  merged: {after} files, {:.2} bytes per value; CPU {:.2} s per million lines, {:.3?}",
        bytes_each(bytes),
        per_million(cpu),
        begun.elapsed()
    );
    Ok(())
}

/// Counts the values of a line that are no text.
fn numbers(line: &str) -> Option<usize> {
    let line = parse_line(line).ok()?;
    Some(line.fields.iter().filter(|(_, value)| !matches!(value, FieldValue::Text(_))).count())
}

/// Returns the lines of one quarter of an hour: values that wander as those of sensors do.
fn fleet_lines(quarter: i64) -> Vec<String> {
    let time = START + quarter * QUARTER;
    let line = |device: i64| {
        let phase = (quarter + device * 7) as f64;
        let noise =
            |salt: i64| ((quarter * 31 + device * 17 + salt).wrapping_mul(0x9e37_79b9) >> 7) % 8;
        let moisture = 0.25 + (phase / 700.0).sin() * 0.08;
        let temperature = 15.0 + (phase / 15.3).sin() * 8.0;
        format!(
            "soil,device=soil-{device:04},site=s{},tenant=default battery_v={:.2},soil_ec_ms_m={:.1},soil_moisture_10cm={:.3},soil_moisture_30cm={:.3},soil_temp_c={:.1} {time}",
            device / 50,
            3.6 - (quarter as f64) * 1e-5,
            25.0 + noise(1) as f64 / 10.0,
            moisture + noise(2) as f64 / 1e3,
            moisture * 1.1 + noise(3) as f64 / 1e3,
            temperature + noise(4) as f64 / 10.0,
        )
    };
    (0..SERIES).map(line).collect()
}

fn query(device: i64, from: i64, to: i64, step: Option<Duration>) -> RangeQuery {
    RangeQuery {
        measurement: Some("soil".to_owned()),
        tenant: "default".to_owned(),
        device: format!("soil-{device:04}"),
        property: "soil_moisture_10cm".to_owned(),
        from: EventTime::from_nanos(from),
        to: EventTime::from_nanos(to),
        step,
    }
}
