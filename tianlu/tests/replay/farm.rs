//! A folder with a mapping, a profile and rules, and the command on it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const MAPPING: &str = "\
profile = \"soil\"
device = { column = \"device\" }
time = { column = \"at\", format = \"rfc3339\" }
[[columns]]
column = \"wet\"
property = \"wet\"
unit = \"%\"
[[columns]]
column = \"note\"
property = \"note\"
";

const PROFILE: &str = "\
name = \"soil\"
domain = \"soil\"
measurement = \"soil\"
interval = \"1m\"
codec = \"json\"
[time]
path = \"at\"
format = \"rfc3339\"
[sequence]
path = \"seq\"
[[properties]]
name = \"wet\"
path = \"w\"
unit = \"m3/m3\"
range = [0.0, 0.6]
convert = { from = \"%\" }
[[properties]]
name = \"note\"
path = \"note\"
type = \"string\"
unit = \"1\"
";

const DRY: &str = "\
name = \"dry\"
scope = { domain = \"soil\" }
when = \"wet < 0.12\"
severity = \"yellow\"
message = { zh = \"{device} 干\", en = \"{device} is dry\" }
";

const SILENT: &str = "\
name = \"silent\"
scope = { domain = \"soil\" }
no_data = \"3 intervals\"
severity = \"blue\"
message = { zh = \"{device} 无数据\", en = \"{device} is silent\" }
";

/// The folder.
pub(crate) struct Farm(TempDir);

impl Farm {
    pub(crate) fn new() -> Self {
        let farm = Self(tempfile::tempdir().unwrap());
        farm.write("map.toml", MAPPING);
        farm.write("profiles/soil.toml", PROFILE);
        farm.write("rules/dry.toml", DRY);
        farm.write("rules/silent.toml", SILENT);
        farm
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.text(name);
        assert!(text.contains(from), "{name}");
        self.write(name, text.replace(from, to));
    }

    pub(crate) fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tianlu"));
        command.current_dir(self.path()).arg("replay").args(arguments.split_whitespace());
        command.env_clear().env("TIANLU_LANG", "en").output().unwrap()
    }

    /// Replays into files named by `name`.
    pub(crate) fn replay(&self, arguments: &str, name: &str) -> Replayed {
        let outputs = format!(
            "--points {name}.lp --alerts {name}.alerts --dead {name}.dead --summary {name}.json"
        );
        let done = self.run(&format!("{arguments} {outputs}"));
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(done.stdout.is_empty(), "results went to files");
        Replayed {
            points: self.text(&format!("{name}.lp")),
            alerts: self.text(&format!("{name}.alerts")),
            dead: self.text(&format!("{name}.dead")),
            summary: self.text(&format!("{name}.json")),
        }
    }
}

/// What came out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub(crate) points: String,
    pub(crate) alerts: String,
    pub(crate) dead: String,
    pub(crate) summary: String,
}

impl Replayed {
    /// Rule, device, state and time of each alert.
    pub(crate) fn transitions(&self) -> Vec<String> {
        let show = |alert: &Value| {
            let text = |key: &str| alert[key].as_str().unwrap_or("-").to_owned();
            let at = if alert["state"] == "firing" { "raised_at" } else { "resolved_at" };
            format!("{} {} {} {}", text("rule"), text("device"), text("state"), text(at))
        };
        json_lines(&self.alerts).iter().map(show).collect()
    }

    pub(crate) fn letters(&self) -> Vec<Value> {
        json_lines(&self.dead)
    }

    pub(crate) fn count(&self, group: &str, name: &str) -> i64 {
        serde_json::from_str::<Value>(&self.summary).unwrap()[group][name].as_i64().unwrap()
    }

    /// Device and time of each point, in their order.
    pub(crate) fn order(&self) -> Vec<String> {
        let show = |line: &str| {
            let device = line.split(",device=").nth(1).unwrap().split(',').next().unwrap();
            let at: i64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            format!("{device} {}", telemetry::time::EventTime::from_nanos(at))
        };
        self.points.lines().map(show).collect()
    }
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A CSV file of device, minute and percent.
pub(crate) fn csv(rows: &[(&str, u32, &str)]) -> String {
    let row = |(device, minute, wet): &(&str, u32, &str)| {
        format!("{device},2026-01-01T00:{minute:02}:00Z,{wet},\n")
    };
    format!("device,at,wet,note\n{}", rows.iter().map(row).collect::<String>())
}
