//! The crash model finds nothing wrong with the log, and every planted mistake.

use journal::sim::Planted;
use journal::sim::model::{CRASHES_PER_SEED, run};

/// Seeds of the short form: 160,000 crash points. The long one is the example `crash_model`.
const SEEDS: u64 = 20_000;

/// Scenario: seeds of eight crashes each, with short writes, full disks, failing syncs, crashes in
/// recovery.
/// Guarantees: after each, everything called durable is there, nothing is invented, and the log
/// goes on.
#[test]
fn no_crash_loses_or_invents_a_record() {
    let mut records = 0;
    for seed in 0..SEEDS {
        let outcome = run(seed, None);
        let outcome = outcome.unwrap_or_else(|broken| {
            unreachable!("{broken}; replay: crash_model --points 1 --seed {seed}")
        });
        assert_eq!(outcome.crashes, CRASHES_PER_SEED);
        records += outcome.records;
    }
    // It is no proof where hardly a record was there to be lost.
    assert!(records > 5 * SEEDS * CRASHES_PER_SEED, "{records} records compared");
}

/// Scenario: the same with one mistake made on purpose: acknowledged before the fsync, the folder's
/// fsync forgotten, a failed fsync called again, old bytes of a reserved segment taken for records.
/// Guarantees: the model notices each within a few hundred seeds, as often as the seed is run, and
/// the seed is fine without the mistake.
#[test]
fn every_planted_mistake_is_noticed() {
    for planted in Planted::ALL {
        let noticed = (0..400).find_map(|seed| run(seed, Some(planted)).err());
        let noticed = noticed.unwrap_or_else(|| unreachable!("{} unnoticed", planted.name()));
        assert_eq!(run(noticed.seed, Some(planted)), Err(noticed.clone()));
        assert!(run(noticed.seed, None).is_ok(), "{noticed}");
    }
}
