//! The built binary: exit codes, streams, languages.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const CONFIG: &str = "\
[mqtt]
url = \"mqtt://127.0.0.1:1\"
topics = [\"tianlu/v1/+/+/+/up\"]
[[uplinks]]
topic = \"tianlu/v1/{tenant}/{site}/{device}/up\"
profile = \"soil-5in1\"
[store]
kind = \"influxdb2\"
url = \"http://127.0.0.1:1\"
org = \"farm\"
bucket = \"telemetry\"
token_file = \"influx.token\"
[http]
listen = \"127.0.0.1:1\"
";

const PROFILE: &str = "\
name = \"soil-5in1\"
domain = \"soil\"
measurement = \"soil\"
interval = \"15m\"
codec = \"json\"
[[properties]]
name = \"soil_moisture_10cm\"
path = \"soil_moisture_10cm\"
unit = \"m3/m3\"
";

const RULE: &str = "\
name = \"soil-dry\"
scope = { domain = \"soil\" }
when = \"soil_moisture_10cm < 0.12\"
severity = \"yellow\"
message = { zh = \"{site} 偏低\", en = \"Dry at {site}\" }
";

/// A folder with a configuration, a profile, a rule and a token.
fn farm() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("tianlu.toml", CONFIG);
    write("profiles/soil.toml", PROFILE);
    write("rules/dry.toml", RULE);
    write("influx.token", "hunter2");
    dir
}

fn tianlu(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tianlu"));
    command.current_dir(dir).args(arguments).env_clear().env("TIANLU_LANG", "en");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn exit_codes_are_those_of_the_contract() {
    let dir = farm();
    let cases: &[(&[&str], i32)] = &[
        (&["--version"], 0),
        (&["--help"], 0),
        (&["help", "deadletters", "redrive"], 0),
        (&["check", "--config", "tianlu.toml", "--offline"], 0),
        (&["check", "--config", "none.toml", "--offline"], 2),
        (&["check", "--config", "tianlu.toml"], 2),
        (&["check", "--config", "tianlu.toml", "--offline", "--set", "http.listen=x"], 2),
        (&["check"], 2),
        (&["frobnicate"], 2),
        (&["demo", "--http", "0.0.0.0:1"], 2),
        (&["demo", "--start", "2099-01-01T00:00:00Z"], 2),
        (&["rules", "check", "rules"], 0),
        (&["rules", "list", "--config", "tianlu.toml"], 0),
        (&["replay", "a.csv"], 2),
        (&["replay", "a.csv", "--mapping", "m.toml", "--points", "-", "--alerts", "-"], 2),
        (&["simulate", "list"], 0),
        (&["simulate", "describe", "demo", "--format", "json"], 0),
        (&["simulate", "describe", "nowhere"], 2),
        (&["simulate", "--scenario", "demo"], 2),
        (&["simulate", "--scenario", "demo", "--seed", "1", "--to", "x.csv"], 2),
        (&["doctor", "--config", "tianlu.toml"], 3),
        (&["deadletters", "list", "--config", "tianlu.toml"], 1),
        (&["completions", "bash"], 0),
    ];
    for (arguments, code) in cases {
        let done = tianlu(dir.path(), arguments);
        assert_eq!(
            done.status.code(),
            Some(*code),
            "{arguments:?}\n{}{}",
            text(&done.stdout),
            text(&done.stderr)
        );
    }
}

#[test]
fn six_mistakes_in_four_files_are_named_at_once() {
    let dir = farm();
    let edit = |name: &str, from: &str, to: &str| {
        let path = dir.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name}");
        fs::write(path, text.replace(from, to)).unwrap();
    };
    edit("tianlu.toml", "listen", "lisen");
    edit("tianlu.toml", "profile = \"soil-5in1\"", "profile = \"soil-5in\"");
    edit("profiles/soil.toml", "interval = \"15m\"", "interval = \"15 minutes\"");
    edit("rules/dry.toml", "soil_moisture_10cm <", "soil_moisture_10 <");
    edit("rules/dry.toml", "\"yellow\"", "\"yelow\"");
    fs::write(
        dir.path().join("devices.csv"),
        "tenant,device,profile\ndefault,d1,soil-5in1\ndefault,d2,soil-6\n",
    )
    .unwrap();
    let done = tianlu(dir.path(), &["check", "--config", "tianlu.toml", "--offline"]);
    let out = text(&done.stdout);
    for expected in [
        "devices.csv:3: profile = \"soil-6\": there is no profile named `soil-6`",
        "profiles/soil.toml:4: interval = \"15 minutes\": not a duration",
        "rules/dry.toml:3: when = \"soil_moisture_10 < 0.12\":",
        "rules/dry.toml:4: severity = \"yelow\": ",
        "tianlu.toml:6: uplinks[0].profile = \"soil-5in\": there is no profile named `soil-5in` -> did you mean `soil-5in1`?",
        "tianlu.toml:14: http.lisen = \"127.0.0.1:1\": unknown key `lisen` -> did you mean `listen`?",
        "problems: 6",
    ] {
        assert!(out.contains(expected), "{expected}\n--\n{out}");
    }
    assert_eq!(out.lines().count(), 7, "{out}");
    assert_eq!(done.status.code(), Some(2));
}

#[test]
fn problems_are_json_where_asked() {
    let dir = farm();
    let done = tianlu(
        dir.path(),
        &[
            "check",
            "--config",
            "tianlu.toml",
            "--offline",
            "--format",
            "json",
            "--set",
            "data.keep=soon",
        ],
    );
    let found: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(found.pointer("/0/key").unwrap(), "data.keep");
    assert_eq!(found.pointer("/0/problem/zh").unwrap(), "不是时长");
    assert_eq!(found.pointer("/0/remedy/en").unwrap(), "write it like `90s`, `15m`, `2h` or `30d`");
    assert_eq!(text(&done.stderr), "problems: 1\n");
}

#[test]
fn the_token_is_never_printed() {
    let dir = farm();
    for arguments in
        [["check", "--config", "tianlu.toml", "-vv"], ["doctor", "--config", "tianlu.toml", "-vv"]]
    {
        let done = tianlu(dir.path(), &arguments);
        assert!(!text(&done.stdout).contains("hunter2"));
        assert!(!text(&done.stderr).contains("hunter2"));
    }
}

#[test]
fn help_speaks_the_readers_language_and_names_no_command_that_is_not_built() {
    let dir = farm();
    let english = text(&tianlu(dir.path(), &["--help"]).stdout);
    let chinese = text(&tianlu(dir.path(), &["--lang", "zh", "--help"]).stdout);
    assert!(english.contains("Examples:") && !english.contains("示例"), "{english}");
    assert!(chinese.contains("示例") && !chinese.contains("Examples:"), "{chinese}");
    assert!(!english.contains("backtest"), "{english}");
    let mut both = Command::new(env!("CARGO_BIN_EXE_tianlu"));
    let both = both.env_clear().args(["check", "--help"]).output().unwrap();
    let both = text(&both.stdout);
    assert!(both.contains("示例") && both.contains("Examples:"), "{both}");
}

#[test]
fn rules_without_profiles_are_checked_for_syntax_only_and_it_says_so() {
    let dir = farm();
    fs::remove_dir_all(dir.path().join("profiles")).unwrap();
    let done = tianlu(dir.path(), &["rules", "check", "rules"]);
    assert_eq!(
        text(&done.stdout),
        "all good: 1 rules (no profiles, so that only the syntax was checked; name them with --profiles DIR)\n"
    );
}

#[test]
fn rules_are_listed_with_version_and_condition() {
    let dir = farm();
    let done = tianlu(dir.path(), &["rules", "list", "rules"]);
    let out = text(&done.stdout);
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect())
        .collect();
    assert_eq!(rows[0], ["name", "severity", "scope", "version", "when"]);
    assert_eq!(
        (rows[1][0], rows[1][1], rows[1][2], rows[1][4]),
        ("soil-dry", "yellow", "domain=soil", "soil_moisture_10cm < 0.12")
    );
}
