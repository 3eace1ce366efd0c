//! How many uplinks a second one core makes, of each built-in scenario with a thousand devices.
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
        let (begun, mut out) = (Instant::now(), Vec::new());
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
        let rate = Duration::from_secs(count).as_secs_f64() / begun.elapsed().as_secs_f64();
        println!("{}: {rate:.0} uplinks/s, {} bytes each", scenario.name, bytes / count);
    }
}
