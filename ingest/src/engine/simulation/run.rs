//! Runs worlds: one, many on all cores, and a failing one with fewer and fewer steps.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::clock;
use super::planted::Planted;
use super::step::Plan;
use super::world::World;

/// How long fewer steps are looked for.
const SHRINKING: std::time::Duration = std::time::Duration::from_secs(20);

/// A broken promise, with the fewest steps found that break it.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) seed: u64,
    pub(super) what: String,
    pub(super) plan: Plan,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, what, plan } = self;
        writeln!(f, "SEED={seed}: {what}")?;
        writeln!(
            f,
            "with {} devices, window {}, {} bytes, and these steps:",
            plan.devices, plan.window, plan.max_bytes
        )?;
        for timed in &plan.steps {
            writeln!(f, "  after {} ms: {:?}", timed.after_ms, timed.step)?;
        }
        Ok(())
    }
}

/// Lives one plan through.
pub(super) fn one(plan: Plan, planted: Option<Planted>) -> Result<(), String> {
    live(plan, planted).map(|_| ())
}

/// As [`one`]; returns the world as it is at its end.
pub(super) fn live(plan: Plan, planted: Option<Planted>) -> Result<World, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    fastrand::seed(plan.seed);
    let lived = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            clock::begin();
            let mut world = World::new(plan, planted);
            world.live().await.map(|()| world)
        })
    }));
    lived.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        Err(format!("panicked: {}", words.unwrap_or_default()))
    })
}

/// Lives seeds on every core until one fails; returns it with the fewest steps that were found.
pub(super) fn many(seeds: std::ops::Range<u64>, planted: Option<Planted>) -> Option<Broken> {
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(None::<(u64, String)>));
    let work = || {
        while found.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Err(what) = one(Plan::of(seed), planted) {
                let mut found = found.lock().unwrap();
                if found.as_ref().is_none_or(|(known, _)| seed < *known) {
                    *found = Some((seed, what));
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..cores).for_each(|_| drop(scope.spawn(work)));
    });
    let (seed, what) = found.into_inner().unwrap()?;
    if planted.is_some() {
        return Some(Broken { seed, what, plan: Plan::of(seed) });
    }
    eprintln!("SEED={seed}: {what}; looking for fewer steps");
    Some(shrink(seed, what, planted))
}

/// Lives seeds on every core and returns every failure, as it is.
pub(super) fn survey(seeds: std::ops::Range<u64>) -> Vec<(u64, String)> {
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let began = std::time::Instant::now();
            let lived = one(Plan::of(seed), None);
            if began.elapsed().as_secs() >= 2 {
                eprintln!("SEED={seed} took {:?}", began.elapsed());
            }
            if let Err(what) = lived {
                eprintln!("SEED={seed}: {what}");
                found.lock().unwrap().push((seed, what));
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..cores).for_each(|_| drop(scope.spawn(work)));
    });
    let mut found = found.into_inner().unwrap();
    found.sort();
    found
}

/// Leaves out steps, in ever smaller pieces, as long as something still breaks.
pub(super) fn shrink(seed: u64, what: String, planted: Option<Planted>) -> Broken {
    let mut broken = Broken { seed, what, plan: Plan::of(seed) };
    let mut piece = broken.plan.steps.len() / 2;
    let until = std::time::Instant::now() + SHRINKING;
    while piece > 0 && std::time::Instant::now() < until {
        let mut at = 0;
        while at < broken.plan.steps.len() && std::time::Instant::now() < until {
            let mut plan = broken.plan.clone();
            let end = (at + piece).min(plan.steps.len());
            plan.steps.drain(at..end);
            match one(plan.clone(), planted) {
                Err(what) => (broken.what, broken.plan) = (what, plan),
                Ok(()) => at += piece,
            }
        }
        piece /= 2;
    }
    broken
}
