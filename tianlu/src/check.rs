//! `check`: reads everything, reaches broker and store, prints every problem.

use std::process::ExitCode;

use ingest::listener::Credentials;
use telemetry::problem::Problem;
use telemetry::text::{Lang, Text, say};

use crate::cli::{CheckArgs, GOOD, USAGE};
use crate::config::{Config, Store};
use crate::load::{Loaded, load_readable};
use crate::out::{self, Format};
use crate::probe::{self, Trouble};
use crate::run;

/// Checks a configuration.
#[must_use]
pub fn check(args: &CheckArgs, lang: Lang) -> ExitCode {
    let (loaded, mut problems) = load_readable(&args.config.config, &args.config.layers());
    problems.extend(loaded.iter().flat_map(|loaded| listener_files(&loaded.config)));
    if let Some(loaded) = loaded.as_ref().filter(|_| !args.offline) {
        problems.extend(reach(&loaded.config));
    }
    out::problems(&problems, args.format, lang);
    let summary = summary(&problems, loaded.as_ref(), args.offline).show(lang);
    match args.format {
        Format::Text => out::line(&summary),
        Format::Json => out::note(&summary),
    }
    ExitCode::from(if problems.is_empty() { GOOD } else { USAGE })
}

/// Prints the problems that keep a command from starting.
#[must_use]
pub fn refuse(problems: &[Problem], lang: Lang) -> ExitCode {
    for problem in problems {
        out::note(&problem.show(lang));
    }
    out::note(&say("tianlu.check.refused", &[("count", &problems.len())]).show(lang));
    ExitCode::from(USAGE)
}

fn summary(problems: &[Problem], loaded: Option<&Loaded>, offline: bool) -> Text {
    let Some(loaded) = loaded.filter(|_| problems.is_empty()) else {
        return say("tianlu.check.bad", &[("count", &problems.len())]);
    };
    let (profiles, rules) = (loaded.profiles.len(), loaded.rules.rules().len());
    let devices = loaded.registry.len();
    let key = if offline { "tianlu.check.good_offline" } else { "tianlu.check.good" };
    say(key, &[("profiles", &profiles), ("rules", &rules), ("devices", &devices)])
}

/// Reads what the listener needs: credentials, with each wrong line.
fn listener_files(config: &Config) -> Vec<Problem> {
    let file = config.listener.as_ref().and_then(|listener| listener.credentials_file.as_ref());
    let read = file.map(|file| Credentials::read(file.path()));
    match read {
        Some(Err(error)) => run::problems_of(error, config),
        Some(Ok(_)) | None => Vec::new(),
    }
}

/// Reaches each broker and the store; what does not answer is a problem of the key that names it.
fn reach(config: &Config) -> Vec<Problem> {
    let file = config.file.display().to_string();
    let problem = |key: String, value: String, trouble: Trouble| Problem {
        file: file.clone(),
        line: None,
        key,
        value,
        what: trouble.what,
        remedy: trouble.remedy,
    };
    let mut found = Vec::new();
    for (at, mqtt) in config.mqtt.iter().enumerate() {
        if let Err(trouble) = probe::broker(mqtt) {
            let key = if config.mqtt.len() == 1 {
                "mqtt.url".to_owned()
            } else {
                format!("mqtt[{at}].url")
            };
            found.push(problem(key, format!("\"{}\"", mqtt.broker), *trouble));
        }
    }
    if let Store::InfluxDb(influx) = &config.store {
        for trouble in probe::store(influx).troubles {
            found.push(problem("store.url".to_owned(), format!("\"{}\"", influx.url), trouble));
        }
    }
    found
}
