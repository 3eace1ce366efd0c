//! What the simulation shows.

use std::collections::BTreeSet;

use super::line::{Values, tag};
use super::planted::Planted;
use super::run::{live, many, one, shrink};
use super::step::{Plan, Shape, Step, Timed, is_quiet};
use super::webhook;
use super::world::World;
use crate::notifier::AlertState;

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

/// Scenario: rules that are read in another way than they are written, by every part alike; silence that never counts.
/// Guarantees: what judges alerts without them notices each within a hundred seeds.
#[test]
fn an_alert_that_is_wrong_each_time_in_the_same_way_is_found() {
    for planted in [
        Planted::DryEndsEarly,
        Planted::DryAtOnce,
        Planted::SilentTooSoon,
        Planted::SilentTooLate,
        Planted::NeverCaughtUp,
    ] {
        let broken = many(0..100, Some(planted));
        let broken = broken.unwrap_or_else(|| panic!("{planted:?} was not noticed"));
        assert!(broken.what.starts_with("alerts"), "{planted:?}: {broken}");
    }
}

/// Scenario: the broker is away while a device is about to fall silent, and keeps what the device says.
/// Guarantees: nobody is told that it is silent; where the time counts all the same, it is noticed.
#[test]
fn an_outage_of_ours_is_no_silence_of_a_device() {
    let timed = |after_ms, step| Timed { after_ms, step };
    let plan = Plan {
        devices: 1,
        max_bytes: 1 << 30,
        retention_s: None,
        is_picky: false,
        // Silence counts from ten seconds after the start.
        steps: vec![
            timed(1_000, Step::Send(0, Shape::Good)),
            timed(124_000, Step::Broker { keeps: true, away_ms: 30_000 }),
            timed(100, Step::Send(0, Shape::Good)),
            timed(40_000, Step::Rest),
        ],
        ..Plan::of(1)
    };
    assert_eq!(one(plan.clone(), None), Ok(()));
    let broken = one(plan, Some(Planted::CountsWhileAway)).unwrap_err();
    assert!(broken.contains("waited for us"), "{broken}");
}

/// Scenario: a seed that shows a mistake, and the looking for fewer steps.
/// Guarantees: fewer are found, and they show it still.
#[test]
fn fewer_steps_are_found_that_still_show_a_mistake() {
    let planted = Some(Planted::CursorBeforeSettled);
    let broken = many(0..100, planted).unwrap();
    let all = broken.plan.steps.len();
    let fewer = shrink(broken.seed, broken.what, planted);
    assert!(fewer.plan.steps.len() < all, "{fewer}");
    assert_eq!(one(fewer.plan.clone(), planted), Err(fewer.what));
}

/// Scenario: the alerts of some worlds, a webhook that fails, hangs and loses its answers, kills of our process.
/// Guarantees: each is told at least once, by the same id, raised before it is over; and what would be lost, changed
/// or in disorder is noticed.
#[test]
fn a_webhook_is_told_every_alert_in_order_whatever_happens() {
    let (mut worlds, mut repeats) = (0, 0);
    // In these each device falls silent.
    for seed in (0..120).step_by(8) {
        let world = live(Plan::of(seed), None).unwrap_or_else(|what| panic!("SEED={seed}: {what}"));
        let alerts = world.told.lock().unwrap().notices.clone();
        if !(2..200).contains(&alerts.len()) {
            continue;
        }
        let (notices, taken) = webhook::Bench::new(seed, &alerts).tell();
        assert_eq!(webhook::judge(&notices, &taken), Ok(()), "SEED={seed}");
        worlds += 1;
        repeats += taken.len() - notices.len();
        let backward: Vec<_> = taken.iter().rev().cloned().collect();
        let has_ended = notices.iter().any(|one| one.state == AlertState::Resolved);
        assert_eq!(webhook::judge(&notices, &backward).is_err(), has_ended, "SEED={seed}");
        let without: Vec<_> = taken.iter().filter(|one| one.0 != taken[0].0).cloned().collect();
        assert!(webhook::judge(&notices, &without).is_err(), "SEED={seed}");
    }
    assert!(worlds >= 5 && repeats > 0, "{worlds} worlds, {repeats} repeats");
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

/// What the store has of every device but the first, and the alerts of theirs: when silence is told depends on what
/// came before, but not of whom.
fn of_the_others(world: &World) -> (BTreeSet<(String, i64, Values)>, BTreeSet<String>) {
    let content = world.server.lock().unwrap().content();
    let others = content.into_iter().filter(|((series, _), values)| {
        // A reading without a time stands where it was taken in, and that depends on what came before.
        tag(series, "device") != "d0" && !values.contains_key("time_flag")
    });
    let stored = others.map(|((series, at), values)| (series, at, values)).collect();
    let told = world.told.lock().unwrap();
    let lines = told.notices.values().map(|line| serde_json::from_slice(line).unwrap());
    let alerts = lines.filter(|line: &serde_json::Value| line["device"] != "d0");
    let named = alerts.map(|line| match &line["rule"] {
        rule if rule == "dry" => {
            format!("{} {} {} {}", line["device"], line["state"], line["began_at"], line["value"])
        }
        rule => format!("{} {} {rule}", line["device"], line["state"]),
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
