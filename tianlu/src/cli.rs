//! From the command line to the command: arguments, language, logs, exit code.

mod args;
mod lang;
mod localize;
mod simulate;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use telemetry::text::{Lang, say};
use tracing_subscriber::EnvFilter;

use crate::load::load;
use crate::{check, deadletters, demo, doctor, out, replay, rule_commands, run};

pub use args::{
    CheckArgs, Cli, Command, ConfigArgs, DeadLettersCommand, DemoArgs, DoctorArgs, Language,
    Output, ReplayArgs, RulesCommand, RulesListArgs, Speed,
};
pub use localize::localize;
pub use simulate::{SimulateArgs, SimulateCommand, SimulateRun};

/// Good.
pub const GOOD: u8 = 0;
/// Failed while working.
pub const FAILED: u8 = 1;
/// Wrong usage or configuration.
pub const USAGE: u8 = 2;
/// A check or test found something in the data.
pub const FOUND: u8 = 3;

/// Commands of the contract that this build does not have.
const LATER: [&str; 1] = ["backtest"];

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let lang = lang::choose(arguments.iter().skip(1).map(OsString::as_os_str), |name| {
        std::env::var(name).ok()
    });
    if let Some(later) =
        arguments.get(1).and_then(|first| LATER.iter().find(|later| first == **later))
    {
        out::note(&say("tianlu.later", &[("command", later)]).show(lang));
        return ExitCode::from(USAGE);
    }
    let parsed = localize(Cli::command(), lang).try_get_matches_from(arguments);
    match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => {
            start_logs(&cli);
            dispatch(cli, lang)
        }
        Err(error) => {
            // Help and version go to standard output and are no failure; nobody is left to be told
            // when the output is closed.
            drop(error.print());
            ExitCode::from(if error.use_stderr() { USAGE } else { GOOD })
        }
    }
}

fn dispatch(cli: Cli, lang: Lang) -> ExitCode {
    match cli.command {
        Command::Demo(args) => demo::demo(&args, lang),
        Command::Run(args) => match load(&args.config, &args.layers()) {
            Ok(loaded) => run::run(&loaded, &args.layers(), lang),
            Err(problems) => check::refuse(&problems, lang),
        },
        Command::Check(args) => check::check(&args, lang),
        Command::Replay(args) => match args.second_on_stdout() {
            Some(second) => {
                out::note(&say("tianlu.replay.stdout", &[("second", &second)]).show(lang));
                ExitCode::from(USAGE)
            }
            None => replay::replay(args, lang),
        },
        Command::Simulate(args) => crate::simulate::simulate(&args, lang),
        Command::Rules(command) => rule_commands::run(command, lang),
        Command::Deadletters(command) => deadletters::run(&command, lang),
        Command::Doctor(args) => doctor::doctor(&args, lang),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut localize(Cli::command(), lang),
                "tianlu",
                &mut script,
            );
            out::line(String::from_utf8_lossy(&script).trim_end());
            ExitCode::from(GOOD)
        }
        Command::Help { topic } => help(&topic, lang),
    }
}

fn help(topic: &[String], lang: Lang) -> ExitCode {
    let mut root = localize(Cli::command(), lang);
    root.build();
    let mut command = &mut root;
    for name in topic {
        let Some(below) = command.find_subcommand_mut(name) else {
            out::note(&say("tianlu.help.unknown", &[("command", &topic.join(" "))]).show(lang));
            return ExitCode::from(USAGE);
        };
        command = below;
    }
    out::line(command.render_help().to_string().trim_end());
    ExitCode::from(GOOD)
}

/// Sends logs to standard error: `TIANLU_LOG` decides, else `-v`, else the service says what changes and
/// every other command only what is wrong.
fn start_logs(cli: &Cli) {
    let level = match (cli.verbose, &cli.command) {
        (0, Command::Run(_)) => "info",
        // It starts and stops before people's eyes; what is not ready yet is no news.
        (0, Command::Demo(_)) => "error",
        (0, _) => "warn",
        (1, _) => "debug",
        (_, _) => "trace",
    };
    let wanted = std::env::var("TIANLU_LOG").ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.as_deref().map(EnvFilter::try_new);
    if let Some(Err(error)) = &filter {
        out::note(&format!("TIANLU_LOG: {error}"));
    }
    let filter = filter.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(level));
    let is_terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal);
    // A second subscriber in one process can only be that of a test, which stays.
    drop(logs.try_init());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_argument_has_its_text_and_fits_the_others() {
        for lang in [Lang::Zh, Lang::En, Lang::Both] {
            localize(Cli::command(), lang).debug_assert();
        }
    }

    /// Guarantees: no text is asked for that the catalogue lacks, and none stands there for nobody.
    #[test]
    fn the_catalogue_has_the_texts_that_the_sources_ask_for() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = String::new();
        let mut folders = vec![root.join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    sources.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let catalogue =
            std::fs::read_to_string(root.join("../telemetry/catalogue/tianlu.toml")).unwrap();
        let known: Vec<&str> = catalogue
            .lines()
            .filter_map(|line| line.strip_prefix("[\"")?.strip_suffix("\"]"))
            .collect();
        let is_name = |text: &&str| {
            text.chars()
                .all(|c| c.is_ascii_lowercase() || c == '.' || c == '_' || c.is_ascii_digit())
        };
        let asked: Vec<&str> =
            sources.split('"').filter(|text| text.starts_with("tianlu.")).filter(is_name).collect();
        for key in asked.iter().filter(|key| **key != "tianlu.toml" && !key.ends_with('.')) {
            assert!(known.contains(key), "the catalogue lacks `{key}`");
        }
        for key in known {
            let is_made =
                ["tianlu.cli.", "tianlu.arg.", "tianlu.rules.column.", "tianlu.simulate.column."]
                    .iter()
                    .any(|made| key.starts_with(made));
            let of = key.strip_suffix(".remedy").unwrap_or(key);
            assert!(is_made || asked.contains(&of), "nobody asks for `{key}`");
        }
    }
}
