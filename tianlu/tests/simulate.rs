//! `tianlu simulate`: the same bytes, files that a replay reads, brokers, mistakes.
#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod replay {
    pub(crate) mod broker;
}

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use replay::broker::Broker;
use serde_json::Value;
use tempfile::TempDir;

fn command(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tianlu"));
    command.current_dir(dir).args(line.split(' ')).env_clear().env("TIANLU_LANG", "en");
    command
}

fn run(dir: &Path, line: &str) -> Output {
    command(dir, line).output().unwrap()
}

fn good(dir: &Path, line: &str) -> String {
    let done = run(dir, line);
    let shown = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(0), "{line}\n{shown}");
    String::from_utf8(done.stdout).unwrap()
}

const START: &str = "--start 2026-05-01T00:00:00Z";

#[test]
fn the_same_seed_and_start_give_the_same_bytes_in_every_form() {
    let dir = TempDir::new().unwrap();
    let line = |seed: u32, to: &str| {
        format!(
            "simulate --scenario demo --seed {seed} {START} --for 6h --to {to} --truth truth-{to}"
        )
    };
    for name in ["a.ndjson", "a.ndjson.gz", "a.lp", "a.lp.gz"] {
        good(dir.path(), &line(1, name));
        good(dir.path(), &line(1, &format!("again-{name}")));
        good(dir.path(), &line(2, &format!("other-{name}")));
        let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
        assert!(read(name).len() > 1000);
        assert_eq!(read(name), read(&format!("again-{name}")));
        assert_ne!(read(name), read(&format!("other-{name}")));
        assert_eq!(read(&format!("truth-{name}")), read(&format!("truth-again-{name}")));
    }
    let on_stdout =
        good(dir.path(), &format!("simulate --scenario demo --seed 1 {START} --for 6h --to -"));
    assert_eq!(on_stdout.as_bytes(), fs::read(dir.path().join("a.ndjson")).unwrap());
    let first: Value = serde_json::from_str(on_stdout.lines().next().unwrap()).unwrap();
    for (key, wanted) in [
        ("tenant", "default"),
        ("site", "wuming"),
        ("device", "wm-field-01"),
        ("profile", "soil-5in1"),
    ] {
        assert_eq!(first[key], wanted);
    }
    assert_eq!((&first["ts"], &first["seq"]), (&1_777_593_600_000_i64.into(), &0.into()));
    let truth = fs::read_to_string(dir.path().join("truth-a.ndjson")).unwrap();
    let truth: Value = serde_json::from_str(truth.lines().next().unwrap()).unwrap();
    let members: Vec<&String> = truth.as_object().unwrap().keys().collect();
    assert_eq!(members, ["began_at", "device", "ended_at", "kind", "magnitude"]);
}

/// Guarantees: what `simulate` writes, `replay` reads whole, as NDJSON and as line protocol, packed or not; the
/// points it makes of NDJSON are the ones that `simulate` writes; rules of the packs find alerts in it.
#[test]
fn a_replay_reads_what_was_simulated() {
    let dir = TempDir::new().unwrap();
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs");
    let counts = [
        ("soil", "soil-5in1", 22 * 24 * 4),
        ("traffic", "traffic-detector", 14 * 24 * 12),
        ("air", "air-station", 3 * 24),
    ];
    for form in ["ndjson", "lp.gz"] {
        good(
            dir.path(),
            &format!("simulate --scenario demo --seed 4 {START} --to {{profile}}.{form}"),
        );
    }
    good(dir.path(), &format!("simulate --scenario demo --seed 4 {START} --to {{profile}}.lp"));
    for (domain, profile, count) in counts {
        for form in ["ndjson", "lp.gz"] {
            let summary = good(
                dir.path(),
                &format!(
                    "replay {profile}.{form} --mapping {} --rules {} --points points.lp --summary -",
                    packs.join(format!("mappings/simulated-{domain}.toml")).display(),
                    packs.join(format!("rules/{domain}")).display()
                ),
            );
            let summary: Value = serde_json::from_str(&summary).unwrap();
            let readings = &summary["readings"];
            let found = ["decoded", "stored", "dead", "duplicate"]
                .map(|key| readings[key].as_i64().unwrap());
            assert_eq!(found, [count, count, 0, 0], "{profile} {form}: {summary}");
            assert!(
                summary["flags"].as_object().is_some_and(serde_json::Map::is_empty),
                "{summary}"
            );
            assert!(summary["alerts"].to_string().contains("rais"), "{summary}");
            let points = fs::read_to_string(dir.path().join("points.lp")).unwrap();
            let simulated = fs::read_to_string(dir.path().join(format!("{profile}.lp"))).unwrap();
            assert!(points == simulated, "{profile} {form}");
        }
    }
}

#[test]
fn a_broker_gets_every_uplink_under_its_devices_topic() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(None);
    let line =
        format!("simulate --scenario air-city --seed 1 {START} --for 25h --to {}", broker.url());
    good(dir.path(), &line);
    let got = broker.published();
    assert_eq!(got.len(), 8 * 25);
    assert_eq!(got[0].0, "tianlu/v1/default/dongcheng/dongcheng-01/up");
    assert!(got[0].1.starts_with(r#"{"ts":1777593600000,"seq":0,"pm2_5_ug_m3":"#), "{}", got[0].1);
}

/// Scenario: a simulation without an end, an hour each second, ended by Ctrl-C and by SIGTERM.
/// Guarantees: exit code 0, whole lines, a gzip file with its end, and the truth until then.
#[test]
fn ctrl_c_ends_it_whole() {
    for signal in ["INT", "TERM"] {
        let dir = TempDir::new().unwrap();
        let line = format!(
            "simulate --scenario demo --seed 1 {START} --speed 36000x --to out.ndjson.gz --truth truth.ndjson"
        );
        let child = command(dir.path(), &line).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let told =
            Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
        assert!(told.unwrap().success());
        let done = child.wait_with_output().unwrap();
        let shown = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(0), "{shown}");
        assert!(shown.contains("ended early, as asked"), "{shown}");
        let packed = fs::File::open(dir.path().join("out.ndjson.gz")).unwrap();
        let text = std::io::read_to_string(flate2::read::GzDecoder::new(packed)).unwrap();
        assert!(text.ends_with("}\n"));
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert!(last["ts"].as_i64() > Some(1_777_593_600_000));
        let truth = fs::read_to_string(dir.path().join("truth.ndjson")).unwrap();
        assert!(
            truth.lines().all(|line| serde_json::from_str::<Value>(line).is_ok())
                && !truth.is_empty()
        );
    }
}

#[test]
fn mistakes_are_named_with_their_remedy() {
    let dir = TempDir::new().unwrap();
    let broken = "name = \"x\"\nabout = \"x\"\n[[sites]]\nsite = \"a/b\"\nname = \"n\"\nregion = \"1\"\nlat = 1\nlon = 1\n";
    fs::write(dir.path().join("broken.toml"), broken).unwrap();
    let cases = [
        ("--scenario dem --seed 1 --to -", 2, "there is no scenario named `dem`"),
        ("--scenario none.toml --seed 1 --to -", 1, "none.toml: cannot be read"),
        ("--scenario broken.toml --seed 1 --to -", 2, "broken.toml:4: sites[0].site = \"a/b\""),
        ("--scenario broken.toml --seed 1 --to -", 2, "broken.toml:6: sites[0].region = \"1\""),
        ("--scenario demo --seed 1 --to out.csv", 2, "end out.csv with .ndjson or .lp"),
        ("--scenario demo --seed 1 --to http://127.0.0.1:1", 2, "write it like `mqtt://host:1883`"),
        ("--scenario demo --seed 1 --to mqtt://127.0.0.1:1", 1, "cannot publish to the broker"),
        ("--scenario demo --seed 1 --to no/where.lp", 1, "no/where.lp: cannot be written"),
        ("--scenario demo --seed 1 --to - --truth -", 2, "the uplinks go there already"),
        ("--scenario demo --seed 1 --to a.lp --truth ./a.lp", 2, "the uplinks go there already"),
        ("--scenario demo --seed 1 --to - --devices 0", 2, "let `--devices` be 1 or more"),
        ("--scenario demo --seed 1 --to - --for 0s", 2, "no time at all"),
        ("--scenario demo --seed 1 --to - --for soon", 2, "expected a duration"),
        (
            "--scenario demo --seed 1 --to - --start 1969-01-01T00:00:00Z",
            2,
            "not between 1970 and 2160",
        ),
        ("--scenario demo --to -", 2, "--seed"),
        ("", 2, "--scenario"),
    ];
    for (arguments, code, told) in cases {
        let line = format!("simulate {arguments}");
        let done = run(dir.path(), line.trim());
        let shown = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{line}\n{shown}");
        assert!(shown.contains(told), "{line}\n{shown}");
        assert!(done.stdout.is_empty(), "{line}");
    }
}

#[test]
fn scenarios_are_listed_and_described() {
    let dir = TempDir::new().unwrap();
    let listed = good(dir.path(), "simulate list");
    for name in ["demo", "soil-fields", "traffic-corridor", "air-city"] {
        assert!(listed.lines().any(|line| line.starts_with(name)), "{listed}");
        let described: Value = serde_json::from_str(&good(
            dir.path(),
            &format!("simulate describe {name} --format json"),
        ))
        .unwrap();
        assert_eq!(described["name"], name);
        let of = |part: &Value| part["devices"].as_i64().unwrap();
        let parts = described["parts"].as_array().unwrap();
        assert_eq!(described["devices"], parts.iter().map(of).sum::<i64>());
    }
    let described = good(dir.path(), "simulate describe demo");
    assert!(
        described.contains("kuaihuan") && described.contains("traffic-detector"),
        "{described}"
    );
    let listed: Value =
        serde_json::from_str(&good(dir.path(), "simulate list --format json")).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 4);
    // A copy of a scenario is a scenario.
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs/scenarios/demo.toml");
    let own = own.display();
    let own =
        good(dir.path(), &format!("simulate --scenario {own} --seed 1 {START} --for 1h --to -"));
    assert_eq!(
        own,
        good(dir.path(), &format!("simulate --scenario demo --seed 1 {START} --for 1h --to -"))
    );
}
