//! kill -9 of the service under load: nothing acknowledged is lost, nothing stands twice.
//!
//! The long form, with a thousand kills and a report, is `cargo run --release -p proof --example kills`.
#![expect(clippy::print_stderr, reason = "tests")]

use proof::kills::Plan;

fn assert_exact(plan: Plan) {
    let Some(outcome) = plan.run() else { return };
    eprintln!("{}", outcome.report());
    assert_eq!(outcome.wrong(), [""; 0], "with the seed {}", plan.seed);
    assert!(outcome.samples.unwrap_or(0) > 20);
    assert_eq!(outcome.killed.values().sum::<u32>(), plan.kills, "each of them was a kill");
    assert!(outcome.under_load * 2 > plan.kills, "uplinks were on the way at most of them");
    assert_eq!(outcome.left_behind, 0, "halves of snapshots");
}

/// Scenario: 30,000 uplinks at QoS 1 by three publishers through Mosquitto; the service is killed seven times: while
/// it starts, recovers, at full flow, in its orderly end and while it writes a snapshot; each time it is started again.
/// Guarantees: each reading stands in InfluxDB exactly once with its own time and values; what came again is counted
/// as duplicate; each sample of the balance adds up; the totals survive the kills.
#[test]
fn each_of_30_000_uplinks_is_stored_exactly_once_through_kills() {
    assert_exact(Plan { kills: 7, uplinks: 30_000, seed: 1, is_embedded: false });
}

/// Scenario: the same with 15,000 uplinks and devices that connect to the service itself, which keeps the history.
/// Guarantees: the same of the embedded history, as the service tells it.
#[test]
fn each_of_15_000_uplinks_to_the_listener_is_kept_exactly_once_through_kills() {
    assert_exact(Plan { kills: 7, uplinks: 15_000, seed: 2, is_embedded: true });
}
