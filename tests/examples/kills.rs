//! A thousand times kill -9 of the real binary under load: a Markdown report of what became of each uplink.
//!
//! `TIANLU_BIN=target/release/tianlu cargo run --release -p proof --example kills -- [--kills 1000] [--uplinks 200000]
//! [--seed 1] [--embedded]`
//!
//! Three publishers send through Mosquitto, the service stores in InfluxDB; with `--embedded` they connect to the
//! service itself, which keeps the history. The moments of the kills are drawn from the seed over all phases of a
//! life. It fails where anything is not exact, and names the seed and the first uplinks that are missing or wrong.
#![expect(clippy::print_stdout, reason = "a tool for measuring, not part of the product")]

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use proof::arguments::Arguments;
use proof::kills::Plan;

const USAGE: &str = "kills [--kills 1000] [--uplinks 200000] [--seed 1] [--embedded]";

fn main() -> ExitCode {
    let mut arguments = Arguments::of_this_process(USAGE);
    let plan = Plan {
        kills: arguments.number("--kills", 1000),
        uplinks: arguments.number("--uplinks", 200_000),
        seed: arguments.number("--seed", 1),
        is_embedded: arguments.flag("--embedded"),
    };
    arguments.end();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!("{plan:?}. Load average before the run: {load}.\n");
    let began = Instant::now();
    let Some(outcome) = plan.run() else { return ExitCode::FAILURE };
    println!("{}\nTook {:.0} s.\n", outcome.report(), began.elapsed().as_secs_f64());
    let wrong = outcome.wrong();
    for line in &wrong {
        println!("**Not exact** with `--seed {}`: {line}\n", outcome.seed);
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
