//! `doctor`: what would hurt on this machine with this configuration, and the remedy.

mod broker;
mod clock;
mod disk;
mod secrets;
mod store;

use std::fmt::Display;
use std::process::ExitCode;

use serde_json::{Value, json};
use telemetry::text::{Lang, Text, say};

use crate::cli::{DoctorArgs, FOUND, GOOD, USAGE};
use crate::config::{Config, Store};
use crate::load::load_readable;
use crate::out::{self, Format};
use crate::probe;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing to do.
    Ok,
    /// It works, and will hurt some day.
    Warn,
    /// It does not work.
    Fail,
}

impl Level {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The part: `configuration`, `clock`, `disk`, `broker`, `store` or `files`.
    pub part: &'static str,
    /// What was found.
    pub what: Text,
    /// What would help; `None` where nothing needs help.
    pub remedy: Option<Text>,
}

impl Finding {
    pub(crate) fn ok(part: &'static str, name: &str, args: &[(&str, &dyn Display)]) -> Self {
        Self { level: Level::Ok, part, what: say(name, args), remedy: None }
    }

    /// A finding with the remedy `{name}.remedy`.
    pub(crate) fn bad(
        level: Level,
        part: &'static str,
        name: &str,
        args: &[(&str, &dyn Display)],
    ) -> Self {
        Self {
            level,
            part,
            what: say(name, args),
            remedy: Some(say(&format!("{name}.remedy"), args)),
        }
    }
}

impl From<(&'static str, probe::Trouble)> for Finding {
    fn from((part, trouble): (&'static str, probe::Trouble)) -> Self {
        Self { level: Level::Fail, part, what: trouble.what, remedy: Some(trouble.remedy) }
    }
}

/// Looks at everything and prints what it found.
#[must_use]
pub fn doctor(args: &DoctorArgs, lang: Lang) -> ExitCode {
    let (loaded, problems) = load_readable(&args.config.config, &args.config.layers());
    let Some(loaded) = loaded else { return crate::check::refuse(&problems, lang) };
    let mut findings: Vec<Finding> = problems
        .iter()
        .map(|problem| {
            let line = |lang| Text { zh: String::new(), en: problem.show(lang) }.en;
            let what = Text { zh: line(Lang::Zh), en: line(Lang::En) };
            Finding { level: Level::Fail, part: "configuration", what, remedy: None }
        })
        .collect();
    findings.extend(examine(&loaded.config));
    print(&findings, args.print.format, lang);
    let worst = findings.iter().map(|finding| finding.level).max();
    ExitCode::from(match worst {
        _ if !problems.is_empty() => USAGE,
        Some(Level::Fail) => FOUND,
        Some(Level::Ok | Level::Warn) | None => GOOD,
    })
}

fn examine(config: &Config) -> Vec<Finding> {
    let answer = match &config.store {
        Store::InfluxDb(influx) => Some(probe::store(influx)),
        Store::Embedded => None,
    };
    let mut findings = clock::examine(answer.as_ref().and_then(|answer| answer.clock_ahead_s));
    findings.extend(disk::examine(&config.data));
    findings.extend(config.mqtt.iter().flat_map(broker::examine));
    if let (Store::InfluxDb(influx), Some(answer)) = (&config.store, answer) {
        findings.extend(store::examine(influx, answer));
    }
    findings.extend(secrets::examine(config));
    findings
}

fn print(findings: &[Finding], format: Format, lang: Lang) {
    if format == Format::Json {
        return out::json(&findings.iter().map(finding_json).collect());
    }
    for finding in findings {
        out::line(&format!(
            "{:<4}  {:<8}  {}",
            finding.level.as_str(),
            finding.part,
            finding.what.show(lang)
        ));
        if let Some(remedy) = &finding.remedy {
            let arrow = if lang == Lang::En { "->" } else { "→" };
            out::line(&format!("{:16}{arrow} {}", "", remedy.show(lang)));
        }
    }
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let (ok, warn, fail) = (count(Level::Ok), count(Level::Warn), count(Level::Fail));
    out::line(
        &say("tianlu.doctor.summary", &[("ok", &ok), ("warn", &warn), ("fail", &fail)]).show(lang),
    );
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "level": finding.level.as_str(),
        "part": finding.part,
        "finding": out::text_json(&finding.what),
        "remedy": finding.remedy.as_ref().map(out::text_json),
    })
}
