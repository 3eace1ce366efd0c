//! Rows `state` and `restart`: what a device takes, and how soon the service is back.

use serde::Serialize;

use crate::child::{Part, arguments};
use crate::load::Shape;
use crate::pass::Terms;
use crate::report::{Report, Table, say};
use crate::state::Taken;
use crate::usage::resident_bytes;

use super::Plan;
use super::embedded::Stack;

/// Mobile IoT terminals of one province, sending every 15 minutes.
const TERMINALS: f64 = 66.557e6;
const TERMINALS_PER_SECOND: f64 = TERMINALS / 900.0;
const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1024.0 * MIB;

/// The pipeline alone with 10,000 devices and with many.
pub(crate) fn state(plan: &Plan, report: &mut Report) {
    let columns = [
        "devices",
        "B/device, first reading",
        "B/device, memory of 32 full",
        "us/uplink",
        "tick ms",
        "snapshot MiB",
        "longest pause ms",
        "copy in all ms (CPU)",
        "restore ms (CPU)",
    ];
    let mut table = Table::new("State: the pipeline alone, three rules a device", &columns);
    let taken: Vec<Taken> = [plan.devices / 100, plan.devices]
        .map(|devices| {
            let pairs = [
                ("devices", devices.max(1).to_string()),
                ("measured", (2 * plan.devices).to_string()),
            ];
            Part::start(&arguments("state", &pairs)).finish()
        })
        .into();
    for one in &taken {
        table.row(vec![
            one.devices.to_string(),
            format!("{:.0}", one.bytes_first),
            format!("{:.0}", one.bytes_full),
            format!("{:.2}", one.uplink_us),
            format!("{:.2}", one.tick_ms),
            format!("{:.1}", one.snapshot_bytes as f64 / MIB),
            format!("{:.1}", one.pause_ms),
            both(one.snapshot_ms),
            both(one.restore_ms),
        ]);
    }
    let (few, many) = (&taken[0], &taken[1]);
    table.note(format!(
        "An uplink costs {:.2} times as much with {} devices as with {} (goal: at most 1.5).",
        many.uplink_us / few.uplink_us,
        many.devices,
        few.devices
    ));
    let scale = TERMINALS / many.devices as f64;
    table.note(format!(
        "Computed from the last line for 66.557 M terminals, one uplink each 15 minutes ({TERMINALS_PER_SECOND:.0}/s): \
         {:.0} GiB of state, {:.0} % of a core in the pipeline, snapshots of {:.1} GiB that take {:.0} s of CPU, {:.0} s to \
         restore one, {:.0} ms a tick; divided by the number of instances.",
        many.bytes_full * TERMINALS / GIB,
        many.uplink_us * TERMINALS_PER_SECOND / 1e4,
        many.snapshot_bytes as f64 * scale / GIB,
        many.snapshot_ms[1] * scale / 1e3,
        many.restore_ms[1] * scale / 1e3,
        many.tick_ms * scale,
    ));
    report.add("state", &table, &taken);
}

/// Wall time, and CPU time, which holds on a busy machine.
fn both([wall, cpu]: [f64; 2]) -> String {
    format!("{wall:.0} ({cpu:.0})")
}

#[derive(Debug, Serialize)]
struct Restart {
    devices: u64,
    stop_s: f64,
    start_s: f64,
    start_after_kill_s: f64,
    resident_mib: f64,
}

/// The whole service with many devices: ended and started, killed and started.
pub(crate) fn restart(plan: &Plan, report: &mut Report) {
    let mut stack = match Stack::best() {
        Ok(stack) => stack,
        Err(why) => return say(&format!("Row `restart` skipped: {why}")),
    };
    let terms = Terms { shape: Shape::Json, messages: plan.devices };
    stack.load(terms, &[("devices", plan.devices.to_string())]);
    let (resident, _) = resident_bytes(stack.service().pid());
    let [stop, start] = stack.restart(false);
    // So that there is something to derive again: an uplink of each device, and no snapshot of them.
    stack.load(terms, &[("devices", plan.devices.to_string())]);
    let [_, start_after_kill] = stack.restart(true);
    let found = Restart {
        devices: plan.devices,
        stop_s: stop.as_secs_f64(),
        start_s: start.as_secs_f64(),
        start_after_kill_s: start_after_kill.as_secs_f64(),
        resident_mib: resident as f64 / MIB,
    };
    let heading = format!("Restart with {} devices: {}", plan.devices, stack.way());
    let columns = [
        "to end in order, s",
        "to be ready again, s",
        "to be ready after kill -9 with an uplink of each device to derive, s",
        "RSS before MiB",
    ];
    let mut table = Table::new(&heading, &columns);
    let seconds =
        [found.stop_s, found.start_s, found.start_after_kill_s].map(|s| format!("{s:.2}"));
    table.row(seconds.into_iter().chain([format!("{:.0}", found.resident_mib)]).collect());
    table.note("Goal: ready again within 5 s with 1 M devices.");
    report.add("restart", &table, &found);
}
