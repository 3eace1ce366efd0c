//! `rules check` and `rules list`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rules::{Rule, RuleSet};
use serde_json::{Value, json};
use telemetry::document::{NodeValue, Problems, parse_tree};
use telemetry::problem::Problem;
use telemetry::text::{Lang, say};

use crate::cli::{GOOD, RulesCommand, RulesListArgs, USAGE};
use crate::config::Layers;
use crate::load::{load, load_rules};
use crate::out::{self, Format};

/// Runs a command about rules.
#[must_use]
pub fn run(command: RulesCommand, lang: Lang) -> ExitCode {
    match command {
        RulesCommand::Check { folder, profiles, print } => {
            check(&folder, profiles, print.format, lang)
        }
        RulesCommand::List(args) => list(&args, lang),
    }
}

fn check(folder: &Path, profiles: Option<PathBuf>, format: Format, lang: Lang) -> ExitCode {
    let profiles = profiles.or_else(|| beside(folder));
    let checked = load_rules(folder, profiles.as_deref());
    let problems = checked.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    out::problems(problems, format, lang);
    let mut summary = match &checked {
        Ok(set) => say("tianlu.rules.good", &[("rules", &set.rules().len())]).show(lang),
        Err(problems) => say("tianlu.check.bad", &[("count", &problems.len())]).show(lang),
    };
    match &profiles {
        Some(dir) => summary.push_str(&format!(
            " ({})",
            say("tianlu.rules.with", &[("dir", &dir.display())]).show(lang)
        )),
        None => summary.push_str(&format!(" ({})", say("tianlu.rules.without", &[]).show(lang))),
    }
    match format {
        Format::Text => out::line(&summary),
        Format::Json => out::note(&summary),
    }
    ExitCode::from(if checked.is_ok() { GOOD } else { USAGE })
}

/// Returns the folder `profiles` beside a folder of rules, where there is one.
fn beside(folder: &Path) -> Option<PathBuf> {
    // Made absolute, so that `.` has a folder above it.
    let parent = std::path::absolute(folder).ok()?.parent()?.join("profiles");
    let near = folder.join("../profiles");
    parent.is_dir().then_some(if near.is_dir() { near } else { parent })
}

fn list(args: &RulesListArgs, lang: Lang) -> ExitCode {
    let found: Result<RuleSet, Vec<Problem>> = match (&args.config, &args.folder) {
        (Some(config), _) => {
            load(config, &Layers::of_process(Vec::new())).map(|loaded| loaded.rules)
        }
        (None, Some(folder)) => {
            let profiles = args.profiles.clone().or_else(|| beside(folder));
            load_rules(folder, profiles.as_deref())
        }
        // The arguments were parsed so that one of them is there.
        (None, None) => Ok(RuleSet::default()),
    };
    let set = match found {
        Ok(set) => set,
        Err(problems) => return crate::check::refuse(&problems, lang),
    };
    match args.print.format {
        Format::Json => out::json(&set.rules().iter().map(|rule| rule_json(rule)).collect()),
        Format::Text => {
            let header = ["name", "severity", "scope", "version", "when"];
            let header =
                header.map(|column| say(&format!("tianlu.rules.column.{column}"), &[]).show(lang));
            let rows: Vec<Vec<String>> = set.rules().iter().map(|rule| row(rule)).collect();
            out::table(&header, &rows);
        }
    }
    ExitCode::from(GOOD)
}

fn row(rule: &Rule) -> Vec<String> {
    let cells = [rule.name(), rule.severity().as_str(), &scope(rule), rule.version()];
    cells.into_iter().map(str::to_owned).chain([condition(rule)]).collect()
}

/// Returns what a rule waits for: its condition, or the intervals of silence.
fn condition(rule: &Rule) -> String {
    let silence =
        rule.no_data_intervals().map(|intervals| format!("no_data = \"{intervals} intervals\""));
    rule.when().map(str::to_owned).or(silence).unwrap_or_default()
}

/// Returns the scope as its file has it: `domain=soil, site=[a, b]`.
fn scope(rule: &Rule) -> String {
    let unheard = Problems::default();
    let tree = parse_tree(
        rule.file(),
        &std::fs::read_to_string(rule.file()).unwrap_or_default(),
        &unheard,
    );
    let Some(NodeValue::Table(scope)) = tree.get("scope").map(|node| &node.value) else {
        return String::new();
    };
    let texts = |value: &NodeValue| match value {
        NodeValue::Text(text) => text.clone(),
        NodeValue::Array(items) => {
            let names = items.iter().filter_map(|item| {
                if let NodeValue::Text(text) = &item.value { Some(text.as_str()) } else { None }
            });
            format!("[{}]", names.collect::<Vec<_>>().join(", "))
        }
        NodeValue::Integer(_)
        | NodeValue::Float(_)
        | NodeValue::Truth(_)
        | NodeValue::Datetime(_)
        | NodeValue::Table(_) => String::new(),
    };
    scope
        .iter()
        .map(|(key, node)| format!("{key}={}", texts(&node.value)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn rule_json(rule: &Rule) -> Value {
    json!({
        "name": rule.name(),
        "severity": rule.severity().as_str(),
        "scope": scope(rule),
        "version": rule.version(),
        "when": rule.when(),
        "clear": rule.clear(),
        "no_data_intervals": rule.no_data_intervals(),
        "file": rule.file(),
    })
}
