//! How many uplinks a CPU second makes, of each built-in scenario with a thousand devices.
//!
//! `cargo run --release -p simulator --example speed [SECONDS]`
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::time::{Duration, Instant};

use simulator::{Fleet, Scenario};
use telemetry::time::EventTime;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(2);
    let start = EventTime::from_nanos(1_777_593_600_000_000_000);
    for scenario in Scenario::list() {
        let Ok(fleet) = Fleet::new(&scenario, 1, start, Some(1000)) else { continue };
        let to = start.plus(Duration::from_hours(24 * 365));
        let (begun, used, mut out) = (Instant::now(), cpu_seconds(), Vec::new());
        let (mut count, mut bytes) = (0_u64, 0_u64);
        for (at, device) in fleet.schedule(start, to) {
            out.clear();
            fleet.write_uplink(device, at, &mut out);
            bytes += u64::try_from(out.len()).unwrap_or(0);
            count += 1;
            if count.is_multiple_of(4096) && begun.elapsed() > Duration::from_secs(seconds) {
                break;
            }
        }
        let rate = Duration::from_secs(count).as_secs_f64() / (cpu_seconds() - used).max(0.01);
        println!(
            "{}: {rate:.0} uplinks per CPU second, {} bytes each",
            scenario.name,
            bytes / count
        );
    }
}

/// Returns the CPU time of this process, from Linux in hundredths of a second: others may use the same core.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
