//! The arguments of every command. Their help stands in the catalogue, see [`super::localize`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::simulate::{SimulateArgs, duration};
use crate::config::Layers;
use crate::out::Format;
use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use pipeline::Reason;
use pipeline::letter::parse_letter_id;

/// The command line.
#[derive(Debug, Clone, Parser)]
#[command(name = "tianlu", version)]
pub struct Cli {
    /// The reader's language.
    #[arg(long, global = true, value_enum, value_name = "zh|en", hide_possible_values = true)]
    pub lang: Option<Language>,
    /// More logs: `-v` debug, `-vv` trace.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A language to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Chinese.
    Zh,
    /// English.
    En,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Everything in one process, with simulated fields and roads.
    Demo(DemoArgs),
    /// The service.
    Run(ConfigArgs),
    /// Checks the configuration and all it names.
    Check(CheckArgs),
    /// Recorded data through the pipeline.
    Replay(ReplayArgs),
    /// Fleets of simulated devices.
    Simulate(SimulateArgs),
    /// Rules.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// What was set aside.
    #[command(subcommand)]
    Deadletters(DeadLettersCommand),
    /// What would hurt, and the remedy.
    Doctor(DoctorArgs),
    /// Completions of a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Explains a command.
    Help {
        /// The command, such as `rules check`.
        #[arg(value_name = "COMMAND")]
        topic: Vec<String>,
    },
}

/// `demo`
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Where the page is served; loopback only.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// Folder that is kept and gone on with; without it a temporary one.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Decides every value. Default 1.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// First moment, RFC 3339. Default: 24 hours ago, to the full hour.
    #[arg(long = "start", value_name = "TIME")]
    pub first: Option<Timestamp>,
    /// Ends by itself after so long.
    #[arg(long = "for", value_name = "DUR", value_parser = duration)]
    pub lasts: Option<Duration>,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct FormatArgs {
    /// Lines for a reader, or JSON for a script.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "text|json",
        hide_possible_values = true
    )]
    pub format: Format,
}

/// Where the configuration stands.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The file.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Values laid over file and environment.
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

impl ConfigArgs {
    /// Returns what is laid over the file.
    #[must_use]
    pub fn layers(&self) -> Layers {
        Layers::of_process(self.set.clone())
    }
}

/// The reasons of dead letters: another one is a mistake of who types it.
fn reasons() -> PossibleValuesParser {
    PossibleValuesParser::new(Reason::ALL.map(Reason::code))
}

/// Checks the id of a dead letter.
fn letter_id(text: &str) -> Result<String, String> {
    let is_id = parse_letter_id(text).is_some();
    is_id
        .then(|| text.to_owned())
        .ok_or_else(|| "not an id as `deadletters list` shows it".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| "expected SECTION.KEY=VALUE".to_owned())?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// `check`
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Whether broker and store are left alone.
    #[arg(long)]
    pub offline: bool,
    /// How the problems are printed.
    #[command(flatten)]
    pub print: FormatArgs,
}

/// `doctor`
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How the findings are printed.
    #[command(flatten)]
    pub print: FormatArgs,
}

/// `replay`
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Files `.csv`, `.ndjson`, `.lp`, each also `.gz`. Empty only with `journal`.
    #[arg(value_name = "INPUT", required_unless_present = "journal", conflicts_with = "journal")]
    pub input: Vec<PathBuf>,
    /// The journal's folder (that of `[data] dir`), replayed from its oldest snapshot.
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// How columns become readings.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "journal",
        conflicts_with = "journal"
    )]
    pub mapping: Option<PathBuf>,
    /// Folder of device profiles.
    #[arg(long, value_name = "DIR", conflicts_with = "journal")]
    pub profiles: Option<PathBuf>,
    /// The device registry.
    #[arg(long, value_name = "FILE", conflicts_with = "journal")]
    pub devices: Option<PathBuf>,
    /// Folder of rules.
    #[arg(long, value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// How fast recorded time passes.
    #[arg(long, value_name = "max|60x|1x", default_value = "max")]
    pub speed: Speed,
    /// How the summary is printed where no output is named.
    #[command(flatten)]
    pub print: FormatArgs,
    /// Where points go.
    #[arg(long, value_name = "FILE.lp")]
    pub points: Option<Output>,
    /// Where alerts go.
    #[arg(long, value_name = "FILE.ndjson")]
    pub alerts: Option<Output>,
    /// Where dead letters go.
    #[arg(long, value_name = "FILE.ndjson")]
    pub dead: Option<Output>,
    /// Where the counts go.
    #[arg(long, value_name = "FILE.json")]
    pub summary: Option<Output>,
    /// A broker that the uplinks are published to, instead of the pipeline here.
    #[arg(long, value_name = "mqtt://HOST:PORT", conflicts_with_all = ["points", "alerts", "dead"])]
    pub to: Option<String>,
}

impl ReplayArgs {
    /// Returns the second result that would go to standard output, where one already does.
    #[must_use]
    pub fn second_on_stdout(&self) -> Option<&'static str> {
        let outputs = [
            ("--points", &self.points),
            ("--alerts", &self.alerts),
            ("--dead", &self.dead),
            ("--summary", &self.summary),
        ];
        let mut on_stdout =
            outputs.into_iter().filter(|(_, output)| **output == Some(Output::Stdout));
        on_stdout.nth(1).map(|(name, _)| name)
    }
}

/// Where a result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// `-`: standard output.
    Stdout,
    /// A file, written anew.
    File(PathBuf),
}

impl FromStr for Output {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "-" { Self::Stdout } else { Self::File(text.into()) })
    }
}

/// How fast recorded time passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as it goes.
    Max,
    /// So many times real time: finite, above 0.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.strip_suffix('x').and_then(|times| times.parse::<f64>().ok());
        let times = times.filter(|times| times.is_finite() && *times > 0.0);
        times.map(Self::Times).ok_or_else(|| "expected `max`, `1x` or `60x`".to_owned())
    }
}

/// `rules …`
#[derive(Debug, Clone, Subcommand)]
pub enum RulesCommand {
    /// Checks every rule of a folder.
    Check {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Folder of device profiles.
        #[arg(long, value_name = "DIR")]
        profiles: Option<PathBuf>,
        /// How the problems are printed.
        #[command(flatten)]
        print: FormatArgs,
    },
    /// Lists rules.
    List(RulesListArgs),
}

/// `rules list`
#[derive(Debug, Clone, Args)]
pub struct RulesListArgs {
    /// The folder.
    #[arg(value_name = "DIR", required_unless_present = "config", conflicts_with = "config")]
    pub folder: Option<PathBuf>,
    /// The configuration that names the folders.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of device profiles.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub profiles: Option<PathBuf>,
    /// How the list is printed.
    #[command(flatten)]
    pub print: FormatArgs,
}

/// `deadletters …`
#[derive(Debug, Clone, Subcommand)]
pub enum DeadLettersCommand {
    /// Lists what was set aside.
    List {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Only those of this reason.
        #[arg(long, value_name = "REASON", value_parser = reasons())]
        reason: Option<String>,
        /// How the list is printed.
        #[command(flatten)]
        print: FormatArgs,
    },
    /// Shows one dead letter with its payload.
    Show {
        /// Which one.
        #[arg(value_name = "ID")]
        letter: String,
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// How it is printed.
        #[command(flatten)]
        print: FormatArgs,
    },
    /// Sends dead letters through the pipeline again.
    Redrive {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Only those of this reason.
        #[arg(long, value_name = "REASON", value_parser = reasons())]
        reason: Option<String>,
        /// Only this one.
        #[arg(long, value_name = "ID", value_parser = letter_id)]
        id: Option<String>,
        /// How the result is printed.
        #[command(flatten)]
        print: FormatArgs,
    },
}
