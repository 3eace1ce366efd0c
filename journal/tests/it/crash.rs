//! The crash model finds nothing wrong with the log, and every planted mistake.

use journal::sim::Planted;
use journal::sim::model::run;

/// Scenario: seeds of eight crashes each, with short writes, full disks, failing syncs, crashes in
/// recovery.
/// Guarantees: after each, everything called durable is there, nothing is invented, and the log
/// goes on.
#[test]
fn no_crash_loses_or_invents_a_record() {
    for seed in 0..2000 {
        let outcome = run(seed, None);
        assert!(outcome.is_ok(), "{outcome:?}; replay: crash_model --points 1 --seed {seed}");
    }
}

/// Scenario: the same with one mistake made on purpose.
/// Guarantees: the model notices each within a few hundred seeds.
#[test]
fn every_planted_mistake_is_noticed() {
    for planted in Planted::ALL {
        let noticed = (0..400).find_map(|seed| run(seed, Some(planted)).err());
        assert!(noticed.is_some(), "{} went unnoticed", planted.name());
    }
}
