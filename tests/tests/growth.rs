//! Steady load: what the service holds stays what it is. The long form is the example `growth`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::time::Duration;

use proof::balance::assert_balance_always;
use proof::growth::{Load, Look, mean, span};
use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::publisher::Publisher;
use proof::sample::Sample;
use proof::tianlu::Tianlu;
use proof::wait::{now_ms, until};
use proof::work::Work;

/// The snapshot after the first minute is what lets the logs be cut.
const LOAD: Load = Load { devices: 200, per_second: 2000, seconds: 80, note_bytes: 200 };
/// Looks (one a second) until the memory of the devices is full.
const WARM_UP: usize = 30;
/// Looks that are taken together at the beginning and the end of what is judged.
const TOGETHER: usize = 10;
/// Bytes of memory an uplink that may stay behind: far above the 10 to 20 that the allocator was seen to move by.
const LEFT_AN_UPLINK: f64 = 50.0;
/// A log's segments are of 20 MiB: the budget has room for what comes in before the first snapshot.
const LOGS: &str = "max_bytes = \"160 MiB\"\nkeep = \"0s\"";
/// Both logs, and snapshots, configurations and cursors beside them.
const BUDGET_BYTES: u64 = (160 + 16) << 20;
/// Without the replay window: some 8 MB that come and go with the load would hide a leak, or look like one.
const NO_REPLAY: &str = "replay_window = \"0s\"";
const IN_TIME: Duration = Duration::from_mins(2);
/// A log is cut at the snapshot of each minute, as far as the store has settled: two of them, and more for a busy
/// machine.
const CUT: Duration = Duration::from_secs(150);

/// Returns the names of a log's segments, the oldest first.
fn segments(work: &Work, log: &str) -> Vec<String> {
    let entries = fs::read_dir(work.path(&format!("data/{log}"))).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut segments: Vec<String> = names.filter(|name| name.ends_with(".seg")).collect();
    segments.sort_unstable();
    segments
}

/// Returns the median: a connection that comes and goes is no leak.
fn middle(looks: &[Look], of: fn(&Look) -> usize) -> usize {
    let mut values: Vec<usize> = looks.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Scenario: 2,000 uplinks of some 350 bytes a second for 80 s, within a budget of eight segments for both logs.
/// Guarantees: both logs drop their first segments; the data folder never takes more than its budget; after 30 s
/// handles and threads are no more than before, and a leak of 50 bytes an uplink would be seen; all is stored once.
#[test]
fn memory_handles_threads_and_disk_stay_under_steady_load() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let work = Work::new().data(LOGS).mqtt(&broker.url()).influx(&influx).section(NO_REPLAY);
    let mut service = Tianlu::ready(&work);
    // With its first uplink a log gets its first segment.
    let first_uplink = Sample::new("first", now_ms() - 1000, 0).uplink();
    Publisher::new(&broker.address(), "p1").send(&[first_uplink]);
    service.settle(1, IN_TIME);
    let first = ["journal", "outbox"].map(|log| segments(&work, log));
    let watch = assert_balance_always(&work.base());
    let looks = LOAD.run(&service, &work, &broker.address());
    let balance = service.settle(LOAD.uplinks() + 1, IN_TIME);
    assert_eq!(balance.readings.stored, LOAD.uplinks() + 1);
    for (log, first) in ["journal", "outbox"].into_iter().zip(first) {
        until(&format!("the {log} to drop its first segment"), CUT, || {
            (!segments(&work, log).contains(&first[0])).then_some(())
        });
    }
    assert!(watch.finish() > 20);

    let disk = span(&looks, |look| look.disk_bytes).1;
    assert!(disk <= BUDGET_BYTES, "the data folder took {disk} bytes");
    let steady = &looks[WARM_UP..];
    let (begin, end) = (&steady[..TOGETHER], &steady[steady.len() - TOGETHER..]);
    let own = |looks: &[Look]| mean(looks, |look| look.own_bytes);
    let grown = own(end) - own(begin);
    let between =
        f64::from(LOAD.per_second) * f64::from(u32::try_from(steady.len() - TOGETHER).unwrap());
    let held =
        |looks: &[Look]| (middle(looks, |look| look.handles), middle(looks, |look| look.threads));
    eprintln!(
        "{disk} bytes of disk; {:.0} bytes of memory an uplink; handles and threads {:?}, then {:?}",
        grown / between,
        held(begin),
        held(end)
    );
    assert!(grown / between < LEFT_AN_UPLINK, "memory grew by {grown} bytes");
    // A connection that is made anew is open twice for a moment: the warm-up has seen as many as there ever are.
    let most = (span(&looks[..WARM_UP], |look| look.handles).1, held(begin).1);
    let (handles, threads) = held(end);
    assert!(handles <= most.0 && threads <= most.1, "{:?}, at most {most:?}", held(end));
    assert_eq!(influx.count("soil", "soil_temp"), LOAD.uplinks() + 1);
}
