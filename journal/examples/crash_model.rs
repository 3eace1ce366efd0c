//! Runs the crash model: `crash_model --points N [--seed N] [--threads N] [--planted NAME]`.
//!
//! Prints the crash points lived through and how long that took, or the lowest seed found that
//! breaks a promise. Seeds are independent, so that threads only take them in turn.
//!
//! The long form: `cargo run --release -p journal --example crash_model -- --points 1000000000`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "prints its result")]

use journal::sim::Planted;
use journal::sim::model::{Broken, CRASHES_PER_SEED, Outcome, run};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

struct Wish {
    points: u64,
    seed: u64,
    threads: usize,
    planted: Option<Planted>,
}

fn main() -> ExitCode {
    let Some(wish) = parse(std::env::args().skip(1)) else {
        eprintln!(
            "usage: crash_model --points N [--seed N] [--threads N] [--planted {}]",
            Planted::ALL.map(Planted::name).join("|")
        );
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    let (total, broken) = run_all(&wish);
    if let Some(broken) = broken {
        println!("broken: {broken}");
        let same =
            wish.planted.map_or(String::new(), |planted| format!(" --planted {}", planted.name()));
        println!("again: crash_model --points 1 --seed {}{same}", broken.seed);
        return ExitCode::from(3);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("crash points: {}", total.crashes);
    println!("records read back and compared: {}", total.records);
    println!("seeds: {}, from {}", total.crashes / CRASHES_PER_SEED, wish.seed);
    println!("threads: {}", wish.threads);
    println!("broken promises: 0");
    println!("seconds: {seconds:.1}");
    ExitCode::SUCCESS
}

/// Lives through all seeds; stops taking new ones once one is broken.
fn run_all(wish: &Wish) -> (Outcome, Option<Broken>) {
    let seeds = wish.points.div_ceil(CRASHES_PER_SEED);
    let next = AtomicU64::new(0);
    let worker = || {
        let mut total = Outcome::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= seeds {
                return (total, None);
            }
            match run(wish.seed.wrapping_add(index), wish.planted) {
                Ok(outcome) => {
                    total.crashes += outcome.crashes;
                    total.records += outcome.records;
                }
                Err(broken) => {
                    next.store(seeds, Ordering::Relaxed);
                    return (total, Some(broken));
                }
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..wish.threads).map(|_| scope.spawn(worker)).collect();
        let mut total = Outcome::default();
        let mut broken: Option<Broken> = None;
        for worker in workers {
            let Ok((outcome, found)) = worker.join() else { std::process::abort() };
            total.crashes += outcome.crashes;
            total.records += outcome.records;
            broken = [broken, found].into_iter().flatten().min_by_key(|broken| broken.seed);
        }
        (total, broken)
    })
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Wish> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut wish = Wish { points: 1_000_000, seed: 0, threads, planted: None };
    while let Some(key) = args.next() {
        let value = args.next()?;
        match key.as_str() {
            "--points" => wish.points = value.parse().ok()?,
            "--seed" => wish.seed = value.parse().ok()?,
            "--threads" => wish.threads = value.parse().ok().filter(|threads| *threads > 0)?,
            "--planted" => {
                wish.planted =
                    Some(Planted::ALL.into_iter().find(|planted| planted.name() == value)?)
            }
            _ => return None,
        }
    }
    Some(wish)
}
