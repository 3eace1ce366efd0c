//! What an hour of steady load leaves behind: a Markdown report of memory, handles, threads and disk by the minute.
//!
//! `TIANLU_BIN=target/release/tianlu cargo run --release -p proof --example growth -- [--minutes 60] [--rate 2000]`
//! sends that many uplinks a second of 1,000 devices through Mosquitto into the real binary, which stores in
//! InfluxDB, and looks at the process each second. The first third of the time, at most thirty minutes, is warm-up:
//! the memory of the devices, the replay window and the logs' room fill up, and each thread meets the largest of its
//! bursts, up to which the allocator keeps what it once had. The slope is that of the line of least squares through
//! the minutes after it.
//!
//! Memory is the resident one; of its own is what is no page of a file, as those of the program are, which the kernel
//! maps when they are first run.
//!
//! It fails where memory grows by 1 % an hour or more, where handles or threads rise above what they were in the
//! warm-up, where the data folder takes more than its budget, or where the balance is not exact.
#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a tool for measuring, not part of the product"
)]

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use proof::arguments::Arguments;
use proof::balance::Balance;
use proof::growth::{Load, Look, mean, slope, span};
use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::tianlu::Tianlu;
use proof::work::Work;

const USAGE: &str = "growth [--minutes 60] [--rate 2000]";
const DEVICES: u32 = 1000;
/// Bytes that both logs may take: a few minutes of the load, so that the hour goes through them many times.
const LOGS_MIB: u64 = 192;
/// What the data folder holds beside the logs: snapshots, configurations, cursors.
const BESIDE_MIB: u64 = 64;
const PERCENT_AN_HOUR_MAX: f64 = 1.0;
const IN_TIME: Duration = Duration::from_mins(5);
const MIB: f64 = 1_048_576.0;

/// What a minute's looks say together.
struct Minute {
    resident: f64,
    own: f64,
    handles: (usize, usize),
    threads: (usize, usize),
    disk: f64,
}

impl Minute {
    fn of(looks: &[Look]) -> Self {
        Self {
            resident: mean(looks, |look| look.resident_bytes),
            own: mean(looks, |look| look.own_bytes),
            handles: span(looks, |look| look.handles),
            threads: span(looks, |look| look.threads),
            disk: span(looks, |look| look.disk_bytes).1 as f64,
        }
    }
}

fn print_minutes(minutes: &[Minute]) {
    println!(
        "\n| minute | memory, MiB | of its own, MiB | handles | threads | data folder at most, MiB |"
    );
    println!("|---|---|---|---|---|---|");
    let range = |(least, most): (usize, usize)| format!("{least}-{most}");
    for (number, minute) in minutes.iter().enumerate() {
        println!(
            "| {} | {:.2} | {:.2} | {} | {} | {:.1} |",
            number + 1,
            minute.resident / MIB,
            minute.own / MIB,
            range(minute.handles),
            range(minute.threads),
            minute.disk / MIB
        );
    }
}

/// Returns the mean of these minutes, and how much it grows, in per cent an hour.
fn growth(minutes: &[Minute], of: fn(&Minute) -> f64) -> (f64, f64) {
    let points: Vec<(f64, f64)> =
        minutes.iter().enumerate().map(|(n, minute)| (n as f64 / 60.0, of(minute))).collect();
    let mean = points.iter().map(|(_, y)| y).sum::<f64>() / points.len() as f64;
    (mean, slope(&points) / mean * 100.0)
}

/// Prints the verdicts and returns whether all are good.
fn print_verdicts(minutes: &[Minute], looks: &[Look], warm_up: usize) -> bool {
    let steady = minutes.get(warm_up..).unwrap_or_default();
    let (mean, grown) = growth(steady, |minute| minute.resident);
    let (own_mean, own_grown) = growth(steady, |minute| minute.own);
    let (warm, after) = looks.split_at(looks.len().min(warm_up * 60));
    let disk = span(looks, |look| look.disk_bytes).1 as f64 / MIB;
    let budget = (LOGS_MIB + BESIDE_MIB) as f64;
    println!("\n| | warm-up, {warm_up} min | after it, {} min | allowed |", steady.len());
    println!("|---|---|---|---|");
    let mib = |bytes: f64| bytes / MIB;
    println!(
        "| memory, mean {:.2} MiB | | {grown:+.2} %/h | < {PERCENT_AN_HOUR_MAX} %/h |",
        mib(mean)
    );
    println!("| – of its own, mean {:.2} MiB | | {own_grown:+.2} %/h | |", mib(own_mean));
    let mut good = grown < PERCENT_AN_HOUR_MAX && disk <= budget;
    for (what, of) in
        [("handles", (|look| look.handles) as fn(&Look) -> usize), ("threads", |look| look.threads)]
    {
        let (before, since) = (span(warm, of), span(after, of));
        good &= since.1 <= before.1;
        println!(
            "| {what} | {}-{} | {}-{} | at most {} |",
            before.0, before.1, since.0, since.1, before.1
        );
    }
    println!("| data folder at most, MiB | | {disk:.1} | {budget:.0} |");
    good
}

fn print_balance(balance: &Balance, load: &Load, stored: u64) -> bool {
    println!(
        "\nUplinks acknowledged by the broker: {}. Balance: {}. In InfluxDB: {stored}.",
        load.uplinks(),
        balance.sums()
    );
    let (u, r) = (balance.uplinks, balance.readings);
    let all = load.uplinks();
    (u.lost, u.dead, r.dead) == (0, 0, 0) && r.stored == all && stored == all
}

fn main() -> ExitCode {
    let mut arguments = Arguments::of_this_process(USAGE);
    let minutes: u32 = arguments.number("--minutes", 60);
    let per_second = arguments.number("--rate", 2000);
    arguments.end();
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else {
        return ExitCode::FAILURE;
    };
    let logs = format!("max_bytes = \"{LOGS_MIB} MiB\"");
    let work = Work::new().data(&logs).mqtt(&broker.url()).influx(&influx);
    let mut service = Tianlu::ready(&work);
    let load = Load { devices: DEVICES, per_second, seconds: minutes * 60, note_bytes: 0 };
    let load_average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{minutes} minutes at {per_second} uplinks/s by {DEVICES} devices. Load average before the run: {}.",
        load_average.split(' ').next().unwrap_or_default()
    );
    let looks = load.run(&service, &work, &broker.address());
    let by_minute: Vec<Minute> = looks.chunks_exact(60).map(Minute::of).collect();
    print_minutes(&by_minute);
    let warm_up = usize::try_from((minutes / 3).clamp(1, 30)).expect("a few minutes");
    let good = print_verdicts(&by_minute, &looks, warm_up);
    let balance = service.settle(load.uplinks(), IN_TIME);
    let exact = print_balance(&balance, &load, influx.count("soil", "soil_temp"));
    if good && exact && service.terminate().success() {
        ExitCode::SUCCESS
    } else {
        println!("\n**Not as promised.**");
        ExitCode::FAILURE
    }
}
