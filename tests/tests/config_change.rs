//! Rules and registry change between a crash and the restart.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::time::Duration;

use proof::influx::Influx;
use proof::letters::text;
use proof::mosquitto::Mosquitto;
use proof::publisher::Publisher;
use proof::sample::Sample;
use proof::tianlu::{Tianlu, run_with};
use proof::wait::{now_ms, until};
use proof::webhook::Webhook;
use proof::work::{DRY, Work};
use serde_json::Value;

const SHORTLY: Duration = Duration::from_secs(20);
const IN_TIME: Duration = Duration::from_mins(1);
/// Deliveries that the queue of the webhook has recorded.
const DELIVERED: &str = "tianlu_notifications_total{kind=\"webhook\",outcome=\"delivered\"}";

const BEFORE: &str =
    "tenant,device,profile,site,lat,lon,region,name,group\nt1,d1,,north,,,,,\nt1,d2,,north,,,,,\n";
const AFTER: &str =
    "tenant,device,profile,site,lat,lon,region,name,group\nt1,d1,,south,,,,,\nt1,d2,,south,,,,,\n";

fn publish(broker: &Mosquitto, readings: &[(&str, i64, u32)]) {
    let sample = |&(device, at_ms, moisture_thousandths): &(&str, i64, u32)| {
        Sample { device: device.to_owned(), at_ms, moisture_thousandths, temp_tenths: 142 }.uplink()
    };
    let uplinks: Vec<_> = readings.iter().map(sample).collect();
    Publisher::new(&broker.address(), "p1").send(&uplinks);
}

/// Scenario: under a limit of 0.12 one device fires and one at 0.15 does not; kill -9; the limit on disk becomes
/// 0.20 and the registry moves both to another site; restart; new readings; then `replay --journal` twice.
/// Guarantees: what was raised before stays as it was delivered and is resolved as `rule_changed` by the new
/// version; the reading at 0.15 from before is not judged anew; the new one fires under the new version; points
/// keep the site of their own time; both replays give identical bytes, in another zone and language too.
#[test]
fn a_change_takes_effect_at_its_own_position() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let hook = Webhook::start();
    let work = Work::new()
        .mqtt(&broker.url())
        .influx(&influx)
        .rule("soil-dry", DRY)
        .webhook(&hook.url(), "");
    let work = work.devices(BEFORE, "");
    let mut service = Tianlu::ready(&work);
    let at = now_ms() - 60_000;
    publish(&broker, &[("d1", at, 110), ("d2", at, 150)]);
    let raised = hook.wait(1, SHORTLY)[0].request.json();
    service.settle(2, SHORTLY);
    // A delivery that is not recorded before the kill is made once more after it.
    until("the delivery to be recorded", SHORTLY, || {
        (service.metric(DELIVERED) >= 1.0).then_some(())
    });
    service.kill9();

    work.write("rules/soil-dry.toml", &DRY.replace("< 0.12", "< 0.2").replace("> 0.15", "> 0.3"));
    work.write("devices.csv", AFTER);
    let mut service = Tianlu::ready(&work);
    let resolved = hook.wait(2, SHORTLY)[1].request.json();
    assert_eq!(
        (text(&resolved, "id"), text(&resolved, "state")),
        (text(&raised, "id"), "resolved")
    );
    assert_eq!(text(&resolved, "reason"), "rule_changed");
    assert_eq!(text(&resolved, "raised_at"), text(&raised, "raised_at"));
    assert_eq!(service.alerts("firing").len(), 0, "a reading from before is not judged anew");

    publish(&broker, &[("d2", at + 1000, 150)]);
    let new = hook.wait(3, SHORTLY)[2].request.json();
    assert_eq!(
        (text(&new, "device"), text(&new, "state"), text(&new, "site")),
        ("d2", "firing", "south")
    );
    assert_eq!((&new["value"], &new["limit"]), (&Value::from(0.15), &Value::from(0.2)));
    assert_ne!(text(&new, "rule_version"), text(&raised, "rule_version"));
    service.settle(3, SHORTLY);
    assert_sites(&influx, at);
    // Killed once more: a drain would snapshot the end, and the replay would begin there.
    service.kill9();

    let replayed = [
        replay(&work, "a", &[]),
        replay(&work, "b", &[("TZ", "Asia/Kolkata"), ("LANG", "zh_CN.UTF-8")]),
    ];
    assert_eq!(replayed[0], replayed[1]);
    let alerts = proof::letters::list(&replayed[0][1]);
    let states: Vec<_> =
        alerts.iter().map(|a| (text(a, "id").to_owned(), text(a, "state").to_owned())).collect();
    let told = [(&raised, "firing"), (&raised, "resolved"), (&new, "firing")];
    assert_eq!(states, told.map(|(alert, state)| (text(alert, "id").to_owned(), state.to_owned())));
    assert_eq!(replayed[0][0].lines().count(), 3);
}

fn assert_sites(influx: &Influx, at: i64) {
    let rows = influx.points("soil").into_iter().filter(|row| row["_field"] == "soil_temp");
    let mut sites: Vec<_> = rows
        .map(|row| {
            let device = row["device"].as_str().unwrap_or_default().to_owned();
            (device, row["at"].as_i64().unwrap_or(0) / 1_000_000 - at, row["site"].clone())
        })
        .collect();
    sites.sort_by_key(|(device, after, _)| (device.clone(), *after));
    let told = [("d1", 0, "north"), ("d2", 0, "north"), ("d2", 1000, "south")];
    assert_eq!(
        sites,
        told.map(|(device, after, site)| (device.to_owned(), after, Value::from(site)))
    );
}

/// Replays the journal and returns points, alerts, dead letters and summary.
fn replay(work: &Work, name: &str, environment: &[(&str, &str)]) -> [String; 4] {
    let files =
        ["lp", "alerts.ndjson", "dead.ndjson", "summary.json"].map(|kind| format!("{name}.{kind}"));
    let [points, alerts, dead, summary] = &files;
    let args = [
        "replay",
        "--journal",
        "data",
        "--points",
        points,
        "--alerts",
        alerts,
        "--dead",
        dead,
        "--summary",
        summary,
    ];
    drop(run_with(work.dir(), &args, environment).ended(0));
    files.map(|file| fs::read_to_string(work.path(&file)).unwrap())
}

/// Scenario: a rule file that does not parse is put in place and the service is told to reload.
/// Guarantees: nothing changes: the old rules go on; after the repair a reload takes the new ones.
#[test]
fn a_reload_happens_as_a_whole_or_not_at_all() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let hook = Webhook::start();
    let work = Work::new()
        .mqtt(&broker.url())
        .influx(&influx)
        .rule("soil-dry", DRY)
        .webhook(&hook.url(), "");
    let service = Tianlu::ready(&work);
    let at = now_ms() - 60_000;
    work.write("rules/soil-dry.toml", &DRY.replace("when =", "whem ="));
    service.reload();
    publish(&broker, &[("d1", at, 110)]);
    let first = hook.wait(1, SHORTLY)[0].request.json();
    assert_eq!(first["limit"], 0.12);
    work.write("rules/soil-dry.toml", &DRY.replace("< 0.12", "< 0.2").replace("> 0.15", "> 0.3"));
    service.reload();
    let resolved = hook.wait(2, IN_TIME)[1].request.json();
    assert_eq!(text(&resolved, "reason"), "rule_changed");
}
