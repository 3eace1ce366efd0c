//! The demo: what a newcomer types first.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};
use proof::balance::{Balance, assert_balance_always};
use proof::demo::Demo;
use proof::http;
use proof::wait::until;
use serde_json::Value;
use tempfile::TempDir;

/// What the contract gives the past to be caught up, and more for a machine that runs other tests.
const CATCH_UP: Duration = Duration::from_secs(120);
/// What the demo may take to print what it has derived, on a busy machine.
const TOLD: Duration = Duration::from_secs(10);
/// How old the newest reading of a device may be that has caught up.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

fn get(base: &str, path: &str) -> Value {
    let answer = http::get(&format!("{base}{path}")).unwrap();
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
    answer.json()
}

/// Waits until every device has a reading of the last seconds.
fn caught_up(base: &str) {
    until("the past to be caught up", CATCH_UP, || {
        let answer = http::get(&format!("{base}/api/v1/devices")).ok()?.json();
        let devices = answer["devices"].as_array()?;
        let is_fresh = |device: &Value| {
            let at: Option<Timestamp> = device["sampled_at"].as_str()?.parse().ok();
            Some(Timestamp::now().duration_since(at?).abs() < FRESH)
        };
        let fresh = devices.iter().filter(|device| is_fresh(device) == Some(true)).count();
        (fresh == devices.len() && fresh >= 30).then_some(())
    });
}

/// Returns id and state of every alert that is kept and was raised before a time.
fn alerts_before(base: &str, before: Timestamp) -> BTreeSet<String> {
    let all = get(base, "/api/v1/alerts");
    let raised_at =
        |alert: &Value| alert["raised_at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let alerts = all["alerts"].as_array().unwrap().iter();
    let theirs = alerts.filter(|alert| alert["device"] != "tianlu" && raised_at(alert) < before);
    theirs.map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
}

fn hours_ago(hours: i64) -> Timestamp {
    let then = Timestamp::now().checked_sub(SignedDuration::from_hours(hours)).unwrap();
    then.round(Unit::Hour).unwrap()
}

/// Returns the time up to which each demo that catches up from now on has told everything.
fn settled_time() -> Timestamp {
    Timestamp::now().checked_sub(FRESH).unwrap()
}

/// Scenario: a newcomer starts the demo, looks, ends it with Ctrl-C and starts it again.
/// Guarantees: page and first alert within a minute; a day of history; alerts of soil, road and air, raised and
/// resolved; the balance adds up at every moment; a clean end that leaves nothing; a second start is as good.
#[test]
fn a_newcomer_sees_a_day_of_alerts_and_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    for _ in 0..2 {
        let mut demo = Demo::start(dir.path(), &["--seed", "3"]);
        let base = demo.base().to_owned();
        let page = http::get(&format!("{base}/")).unwrap();
        assert!(page.status() == 200 && page.text().contains("<html"), "{}", page.text());
        until("the first alert", Duration::from_secs(60), || demo.alert_lines().first().cloned());
        let watch = assert_balance_always(&base);
        caught_up(&base);
        for domain in ["soil-", "expressway-", "air-"] {
            // What is derived is told a moment later.
            until(&format!("alerts of {domain} raised and resolved"), TOLD, || {
                let told = demo.alert_lines();
                let of = |state: &str| told.iter().any(|l| l.contains(domain) && l.contains(state));
                (of("firing") && of("resolved")).then_some(())
            });
        }
        let devices = get(&base, "/api/v1/devices");
        let soil = devices["devices"].as_array().unwrap().iter().find(|d| d["domain"] == "soil");
        let device = soil.unwrap()["device"].as_str().unwrap();
        let tenant = soil.unwrap()["tenant"].as_str().unwrap();
        let (from, to) = (hours_ago(23), Timestamp::now());
        let points = get(
            &base,
            &format!(
                "/api/v1/range?tenant={tenant}&device={device}&property=soil_moisture_10cm&from={from}&to={to}&step=15m"
            ),
        );
        let points = points["points"].as_array().unwrap().len();
        assert!(points >= 88, "{points} quarters of an hour of history");
        let balance = until("a balance", CATCH_UP, || Balance::fetch(&base));
        assert!(balance.uplinks.received > 5_000 && balance.readings.dead == 0, "{balance:?}");
        assert!(watch.finish() > 3);
        assert!(demo.interrupt().success());
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().starts_with("tianlu-demo-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn lines_before(lines: &[String], before: Timestamp) -> Vec<&String> {
    let at = |line: &&String| line.split("  ").next().unwrap().parse::<Timestamp>().unwrap();
    lines.iter().filter(|line| at(line) < before).collect()
}

fn told(dir: &Path, seed: &str, start: &str) -> Vec<String> {
    let mut demo = Demo::start(dir, &["--seed", seed, "--start", start]);
    caught_up(demo.base());
    // What is derived is told a moment later, at the latest at the end.
    assert!(demo.interrupt().success());
    let lines = demo.alert_lines();
    assert!(lines.len() > 10, "{lines:#?}");
    lines
}

/// Guarantees: the same seed and start tell the same alerts, line for line, whenever now is; another seed others.
#[test]
fn the_same_seed_and_start_tell_the_same_alerts() {
    let dir = TempDir::new().unwrap();
    let (start, end) = (hours_ago(30).to_string(), settled_time());
    let (first, second) = (told(dir.path(), "7", &start), told(dir.path(), "7", &start));
    assert_eq!(lines_before(&first, end), lines_before(&second, end));
    let other = told(dir.path(), "8", &start);
    assert_ne!(lines_before(&first, end), lines_before(&other, end));
}

/// Scenario: a demo with a folder of its own is killed in the middle of its past, and started again.
/// Guarantees: it goes on where it was: nothing twice, nothing missing, the same alerts as one that was not killed; a
/// seed that is not the folder's is refused.
#[test]
fn a_killed_demo_goes_on_where_it_was() {
    let dir = TempDir::new().unwrap();
    let (start, end) = (hours_ago(200).to_string(), settled_time());
    let arguments = ["--seed", "5", "--start", &start, "--data"];
    let killed = [&arguments[..], &["killed"]].concat();
    let demo = Demo::start(dir.path(), &killed);
    let base = demo.base().to_owned();
    Balance::received(&base, 2_001, CATCH_UP);
    demo.kill9();
    let mut demo = Demo::start(dir.path(), &["--data", "killed"]);
    caught_up(demo.base());
    let resumed = alerts_before(demo.base(), end);
    let balance = until("a balance", CATCH_UP, || Balance::fetch(demo.base()));
    assert_eq!((balance.readings.duplicate, balance.uplinks.lost), (0, 0), "{balance:?}");
    assert!(demo.interrupt().success());

    let mut demo = Demo::start(dir.path(), &[&arguments[..], &["whole"]].concat());
    caught_up(demo.base());
    assert_eq!(resumed, alerts_before(demo.base(), end));
    assert!(demo.interrupt().success());

    let refused =
        proof::tianlu::run(dir.path(), &["demo", "--data", "whole", "--seed", "6"]).ended(2);
    assert!(refused.stderr.contains("--seed"), "{}", refused.stderr);
}
