//! What the simulation shows.

use std::collections::BTreeSet;

use super::line::{Values, tag};
use super::planted::Planted;
use super::run::{live, many};
use super::step::{Plan, Shape, Step, Timed, is_quiet};
use super::world::World;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Scenario: disorder, repeats, bad payloads, crashes of process and machine at any call of the disk, full and failing
/// disk, clock jumps, a broker that restarts, a store that is slow, away, busy, picky or forgets, configuration
/// changes, redrives; then nothing fails any more.
/// Guarantees: P1 to P4, and everything settles.
#[test]
fn whatever_happens_the_promises_hold_and_everything_settles() {
    let seeds = number("SEEDS").unwrap_or(2_000);
    if std::env::var("SURVEY").is_ok() {
        let found = super::run::survey(0..seeds);
        assert!(found.is_empty(), "{} of {seeds} seeds fail", found.len());
        return;
    }
    let broken = match number("SEED") {
        Some(seed) => many(seed..seed + 1, None),
        None => many(0..seeds, None),
    };
    assert!(broken.is_none(), "{}", broken.unwrap());
}

/// Scenario: mistakes that the product could make, one at a time.
/// Guarantees: the simulation notices each within a hundred seeds.
#[test]
fn a_planted_mistake_is_found() {
    for planted in [
        Planted::AckBeforeFsync,
        Planted::CursorBeforeSettled,
        Planted::SnapshotBeforeOutboxSync,
        Planted::CutBeyondCursor,
    ] {
        let broken = many(0..100, Some(planted));
        assert!(broken.is_some(), "{planted:?} was not noticed");
    }
}

/// Scenario: some seeds twice.
/// Guarantees: the same records in the journal and the same calls of the disk, so that a failure replays.
#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..12 {
        let run = || {
            let world =
                live(Plan::of(seed), None).unwrap_or_else(|what| panic!("SEED={seed}: {what}"));
            let journal = world.tape.lock().unwrap().journal.clone();
            (journal, world.disk.calls())
        };
        assert_eq!(run(), run(), "SEED={seed}");
    }
}

/// What the store has of every device but the first, and the alerts of theirs that values raised.
fn of_the_others(world: &World) -> (BTreeSet<(String, i64, Values)>, BTreeSet<String>) {
    let content = world.server.lock().unwrap().content();
    let others = content.into_iter().filter(|((series, _), values)| {
        // A reading without a time stands where it was taken in, and that depends on what came before.
        tag(series, "device") != "d0" && !values.contains_key("time_flag")
    });
    let stored = others.map(|((series, at), values)| (series, at, values)).collect();
    let told = world.told.lock().unwrap();
    let lines = told.notices.values().map(|line| serde_json::from_slice(line).unwrap());
    let alerts =
        lines.filter(|line: &serde_json::Value| line["rule"] == "dry" && line["device"] != "d0");
    let named = alerts.map(|line| {
        format!("{} {} {} {}", line["device"], line["state"], line["began_at"], line["value"])
    });
    (stored, named.collect())
}

/// Scenario: the same run without crashes, with and without a device that sends rubbish in between.
/// Guarantees: P5: the others' points and alerts are the same.
#[test]
fn a_device_that_sends_rubbish_changes_nothing_of_the_others() {
    for seed in 0..100 {
        let mut good = Plan::of(seed);
        (good.devices, good.is_picky, good.retention_s) = (good.devices.clamp(2, 10), false, None);
        good.slow_acks = false;
        good.steps.retain(|timed| is_quiet(&timed.step));
        let mut bad = good.clone();
        let rubbish = [
            Step::Malformed(0),
            Step::TooLarge(0),
            Step::UnknownTopic,
            Step::Send(0, Shape::Conflict),
            Step::Send(0, Shape::NoValue),
            Step::Send(0, Shape::OutOfRange),
        ];
        let rubbish = rubbish.iter().cycle().map(|step| Timed { after_ms: 0, step: step.clone() });
        let steps = std::mem::take(&mut bad.steps).into_iter();
        bad.steps = steps.zip(rubbish).flat_map(|(step, rubbish)| [step, rubbish]).collect();
        let [good, bad] = [good, bad].map(|plan| {
            let lived = live(plan, None).unwrap_or_else(|what| panic!("SEED={seed}: {what}"));
            of_the_others(&lived)
        });
        let differ: Vec<_> = good.0.symmetric_difference(&bad.0).collect();
        assert!(differ.is_empty(), "SEED={seed}: {differ:?}");
        assert_eq!(good.1, bad.1, "SEED={seed}");
    }
}
