//! The command line: help, versions, exit codes, the small commands.

use std::process::{Command, Stdio};

use proof::tianlu::run;
use proof::work::{DRY, Work};
use tempfile::TempDir;

const COMMANDS: [&str; 8] =
    ["run", "check", "replay", "rules", "deadletters", "doctor", "completions", "help"];

/// Guarantees: name and version on one line of standard output.
#[test]
fn the_version_is_that_of_the_package() {
    let dir = TempDir::new().unwrap();
    let ran = run(dir.path(), &["--version"]).ended(0);
    assert_eq!(ran.stdout.trim(), concat!("tianlu ", env!("CARGO_PKG_VERSION")));
}

/// Guarantees: the help lists every command, and each command has help of its own.
#[test]
fn every_command_has_help() {
    let dir = TempDir::new().unwrap();
    let ran = run(dir.path(), &["help"]).ended(0);
    for command in COMMANDS {
        assert!(ran.stdout.contains(command), "{command} in:\n{}", ran.stdout);
        if command != "help" {
            let ran = run(dir.path(), &[command, "--help"]).ended(0);
            assert!(
                ran.stdout.contains("Usage") || ran.stdout.contains("用法"),
                "{command}:\n{}",
                ran.stdout
            );
        }
    }
}

/// Guarantees: wrong usage ends with 2, with a word on standard error and nothing on standard output.
#[test]
fn wrong_usage_ends_with_2() {
    let dir = TempDir::new().unwrap();
    let cases: [&[&str]; 7] = [
        &["no-such-command"],
        &["run"],
        &["run", "--config", "no-such-file.toml"],
        &["check", "--no-such-flag"],
        &["replay"],
        &["replay", "in.csv", "--mapping", "no-such-file.toml"],
        &["completions", "no-such-shell"],
    ];
    for case in cases {
        let ran = run(dir.path(), case);
        assert_eq!(ran.code, 2, "{case:?}\n{}\n{}", ran.stdout, ran.stderr);
        let told = if ran.stderr.is_empty() { &ran.stdout } else { &ran.stderr };
        assert!(!told.trim().is_empty(), "{case:?} ends with 2 without a word");
        assert!(!told.contains("panicked"), "{case:?}: {told}");
    }
}

/// Guarantees: the script for each shell is one that it reads, where it is installed; bash always is.
#[test]
fn completions_are_a_script_of_the_shell() {
    let dir = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(dir.path(), &["completions", shell]).ended(0);
        assert!(ran.stdout.contains("tianlu") && ran.stdout.contains("deadletters"), "{shell}");
        let script = dir.path().join(shell);
        std::fs::write(&script, &ran.stdout).unwrap();
        match Command::new(shell).arg("-n").arg(&script).stdin(Stdio::null()).output() {
            Ok(read) => assert!(read.status.success(), "{shell}: {read:?}"),
            Err(missing) => assert!(shell != "bash", "{missing}"),
        }
    }
}

/// Scenario: a folder with a good rule, then with a broken one beside it.
/// Guarantees: 0, then 2 with the file and the key.
#[test]
fn rules_are_checked_without_a_configuration() {
    let work = Work::new().rule("soil-dry", DRY);
    drop(run(work.dir(), &["rules", "check", "rules"]).ended(0));
    let work = work.rule("broken", &DRY.replace("soil-dry", "broken").replace("< 0.12", "<> 0.12"));
    let ran = run(work.dir(), &["rules", "check", "rules"]).ended(2);
    assert!(ran.stdout.contains("broken.toml") && ran.stdout.contains("when"), "{}", ran.stdout);
}

/// Scenario: a configuration with one rule.
/// Guarantees: the list names it with its severity and its condition, also in JSON.
#[test]
fn rules_are_listed() {
    let work = Work::new()
        .mqtt("mqtt://127.0.0.1:1")
        .store("http://127.0.0.1:2", "token")
        .rule("soil-dry", DRY);
    let ran = run(work.dir(), &["rules", "list", "--config", "tianlu.toml"]).ended(0);
    for part in ["soil-dry", "orange", "soil_moisture_10cm < 0.12"] {
        assert!(ran.stdout.contains(part), "{part} in:\n{}", ran.stdout);
    }
    let ran =
        run(work.dir(), &["rules", "list", "--config", "tianlu.toml", "--format", "json"]).ended(0);
    assert!(
        proof::letters::list(&ran.stdout).iter().any(|rule| rule["name"] == "soil-dry"),
        "{}",
        ran.stdout
    );
}
