//! Runs the crash model: `crash_model --points N [--seed N] [--planted NAME]`.
//!
//! Prints the crash points lived through and how long that took, or the first seed that breaks a
//! promise.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "prints its result")]

use journal::sim::Planted;
use journal::sim::model::{Outcome, run};
use std::process::ExitCode;
use std::time::Instant;

struct Wish {
    points: u64,
    seed: u64,
    planted: Option<Planted>,
}

fn main() -> ExitCode {
    let Some(Wish { points, seed, planted }) = parse(std::env::args().skip(1)) else {
        eprintln!(
            "usage: crash_model --points N [--seed N] [--planted {}]",
            Planted::ALL.map(Planted::name).join("|")
        );
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    let mut total = Outcome::default();
    let mut seeds = 0;
    while total.crashes < points {
        match run(seed.wrapping_add(seeds), planted) {
            Ok(outcome) => {
                total.crashes += outcome.crashes;
                total.records += outcome.records;
            }
            Err(broken) => {
                println!("broken: {broken}");
                let same = planted
                    .map_or(String::new(), |planted| format!(" --planted {}", planted.name()));
                println!("again: crash_model --points 1 --seed {}{same}", broken.seed);
                return ExitCode::from(3);
            }
        }
        seeds += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("crash points: {}", total.crashes);
    println!("records read back and compared: {}", total.records);
    println!("seeds: {seeds}, from {seed}");
    println!("broken promises: 0");
    println!("seconds: {seconds:.1}");
    ExitCode::SUCCESS
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Wish> {
    let mut wish = Wish { points: 1_000_000, seed: 0, planted: None };
    while let Some(key) = args.next() {
        let value = args.next()?;
        match key.as_str() {
            "--points" => wish.points = value.parse().ok()?,
            "--seed" => wish.seed = value.parse().ok()?,
            "--planted" => {
                wish.planted =
                    Some(Planted::ALL.into_iter().find(|planted| planted.name() == value)?)
            }
            _ => return None,
        }
    }
    Some(wish)
}
