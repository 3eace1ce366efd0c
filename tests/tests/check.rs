//! `tianlu check`: every mistake at once, each with file, key, value and remedy.

use proof::letters::{list, text};
use proof::tianlu::{Ran, run};
use proof::webhook::{Answer, Webhook};
use proof::work::{DRY, SOIL, Work};
use serde_json::Value;

/// One mistake: file, key, value as written, and a word of its remedy.
type Mistake = (&'static str, &'static str, &'static str, &'static str);

const MISTAKES: [Mistake; 6] = [
    ("tianlu.toml", "recieve_maximum", "", "receive_maximum"),
    ("tianlu.toml", "keep", "one day", "30d"),
    ("soil-5in1.toml", "interval", "fast", "15m"),
    ("soil-dry.toml", "when", "soil_moistur_10cm", "soil_moisture_10cm"),
    ("soil-dry.toml", "severity", "pink", "yellow"),
    ("devices.csv", "lat", "95", "90"),
];

/// Nobody listens there; the path is kept.
const STORE: &str = "http://127.0.0.1:2/base";

fn good() -> Work {
    let work = Work::new().mqtt("mqtt://127.0.0.1:1").store(STORE, "token").rule("soil-dry", DRY);
    work.devices(
        "tenant,device,profile,site,lat,lon,region,name,group\nt1,d1,,s1,39.9,116.4,110000,,\n",
        "",
    )
}

fn with_six_mistakes() -> Work {
    let work = Work::new().store(STORE, "token").rule("soil-dry", DRY);
    let work = work.section(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\ntopics = [\"tianlu/#\"]\nrecieve_maximum = 500",
    );
    work.write("profiles/soil-5in1.toml", &SOIL.replace("\"15m\"", "\"fast\""));
    let rule =
        DRY.replace("when = \"soil_moisture", "when = \"soil_moistur").replace("orange", "pink");
    work.write("rules/soil-dry.toml", &rule);
    let devices =
        "tenant,device,profile,site,lat,lon,region,name,group\nt1,d1,,s1,95,116.4,110000,,\n";
    let work = work.devices(devices, "");
    let config = std::fs::read_to_string(work.path("tianlu.toml")).unwrap_or_default();
    work.write(
        "tianlu.toml",
        &config.replace("dir = \"data\"", "dir = \"data\"\nkeep = \"one day\""),
    );
    work
}

fn check(work: &Work, more: &[&str]) -> Ran {
    run(work.dir(), &[&["check", "--config", "tianlu.toml"], more].concat())
}

/// Scenario: six mistakes in four files.
/// Guarantees: the exit code is 2, and standard output names each with its file, key, value and remedy.
#[test]
fn six_mistakes_in_four_files_are_all_named() {
    let ran = check(&with_six_mistakes(), &["--offline"]).ended(2);
    for (file, key, value, remedy) in MISTAKES {
        let named = ran
            .stdout
            .lines()
            .any(|line| [file, key, value, remedy].iter().all(|part| line.contains(part)));
        assert!(named, "no line with {file}, {key}, {value}, {remedy} in:\n{}", ran.stdout);
    }
}

/// Scenario: the same, asked for in JSON.
/// Guarantees: six problems, each with the same parts under names of their own.
#[test]
fn the_mistakes_are_also_told_in_json() {
    let ran = check(&with_six_mistakes(), &["--offline", "--format", "json"]).ended(2);
    let problems = list(&ran.stdout);
    for (file, key, value, remedy) in MISTAKES {
        let fits = |problem: &&Value| {
            text(problem, "file").ends_with(file) && text(problem, "key").ends_with(key)
        };
        let problem = problems.iter().find(fits);
        let problem =
            problem.unwrap_or_else(|| panic!("no problem of {file} {key} in {}", ran.stdout));
        assert!(problem["value"].to_string().contains(value), "{problem}");
        assert!(problem["remedy"].to_string().contains(remedy), "{problem}");
        assert!(problem["problem"].to_string().len() > 4, "{problem}");
        let line = problem["line"].as_u64();
        assert!(line.is_some_and(|line| line > 0), "{problem}");
    }
    assert_eq!(problems.len(), MISTAKES.len(), "{}", ran.stdout);
}

/// Scenario: a good configuration, offline, then with a broker and a store that nobody answers for.
/// Guarantees: 0 offline; otherwise not, and both are named.
#[test]
fn a_good_configuration_passes_and_what_cannot_be_reached_is_named() {
    drop(check(&good(), &["--offline"]).ended(0));
    let ran = check(&good(), &[]);
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    for url in ["mqtt://127.0.0.1:1", STORE] {
        assert!(ran.stdout.contains(url), "no {url} in:\n{}", ran.stdout);
    }
}

/// Scenario: what the contract requires is left out, one part after the other.
/// Guarantees: exit code 2, and the key that is missing is named.
#[test]
fn each_required_key_is_asked_for() {
    let cases = [
        ("url = \"mqtt://127.0.0.1:1\"\n", "url"),
        ("topics = [\"tianlu/#\"]", "topics"),
        ("kind = \"influxdb2\"\n", "kind"),
        ("org = \"farm\"\n", "org"),
        ("bucket = \"telemetry\"\n", "bucket"),
        ("token_file = \"secrets/influx.token\"", "token_file"),
        ("profile = \"soil-5in1\"", "profile"),
    ];
    for (line, key) in cases {
        let work = good();
        let config = std::fs::read_to_string(work.path("tianlu.toml")).unwrap_or_default();
        assert!(config.contains(line), "{config}");
        work.write("tianlu.toml", &config.replacen(line, "", 1));
        let ran = check(&work, &["--offline"]).ended(2);
        assert!(ran.stdout.contains(&format!("`{key}`")), "no `{key}` in:\n{}", ran.stdout);
    }
}

/// Scenario: secrets where they must not stand, and addresses open to the world.
/// Guarantees: each is refused, and a password is not printed.
#[test]
fn what_would_be_unsafe_is_refused() {
    let cases = [
        (
            Work::new()
                .mqtt("mqtt://127.0.0.1:1")
                .store("http://user:hidden-word@127.0.0.1:2", "token"),
            "url",
        ),
        (Work::new().mqtt("mqtt://user:hidden-word@127.0.0.1:1").store(STORE, "token"), "url"),
        (good().section("[listener]\nbind = \"0.0.0.0:1884\""), "listener"),
    ];
    for (work, key) in cases {
        let ran = check(&work, &["--offline"]).ended(2);
        assert!(ran.stdout.contains(key), "no {key} in:\n{}", ran.stdout);
        assert!(
            !ran.stdout.contains("hidden-word") && !ran.stderr.contains("hidden-word"),
            "{}",
            ran.stdout
        );
    }
    let work = good();
    let config = std::fs::read_to_string(work.path("tianlu.toml")).unwrap_or_default();
    work.write("tianlu.toml", &config.replace("listen = \"127.0.0.1", "listen = \"0.0.0.0"));
    let ran = check(&work, &["--offline"]).ended(2);
    assert!(ran.stdout.contains("listen"), "{}", ran.stdout);
}

/// Scenario: a key set in the environment, rightly and wrongly.
/// Guarantees: it counts over the file, and a wrong one is told as of the environment.
#[test]
fn the_environment_counts_over_the_file() {
    let work = good();
    let check = |value: &str| {
        let environment = [("TIANLU__DATA__KEEP", value)];
        proof::tianlu::run_with(
            work.dir(),
            &["check", "--config", "tianlu.toml", "--offline"],
            &environment,
        )
    };
    drop(check("30d").ended(0));
    let ran = check("one day").ended(2);
    assert!(ran.stdout.contains("environment") && ran.stdout.contains("one day"), "{}", ran.stdout);
}

/// Scenario: what answers at the store's address is a web server of another kind.
/// Guarantees: the check names the address and the path that is missing.
#[test]
fn what_is_no_store_is_told() {
    let server = Webhook::start();
    server.answer(Answer::Status(404));
    let url = server.url();
    let base = url.rsplit_once('/').map_or(url.as_str(), |(base, _)| base);
    let ran = check(&good(), &["--set", &format!("store.url={base}")]).ended(2);
    let told = ran.stdout.lines().find(|line| line.contains("/api/v2/write"));
    assert!(told.is_some_and(|line| line.contains(base)), "{}", ran.stdout);
}

/// Scenario: a topic without a device, of a profile whose uplinks name none.
/// Guarantees: it is told before every reading is set aside.
#[test]
fn a_route_without_a_device_is_told() {
    let work = good().section("[[uplinks]]\ntopic = \"tianlu/yard/+\"\nprofile = \"soil-5in1\"");
    let ran = check(&work, &["--offline"]).ended(2);
    assert!(ran.stdout.contains("tianlu/yard/+"), "{}", ran.stdout);
}
