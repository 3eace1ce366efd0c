//! The arguments of `simulate`.

use std::time::Duration;

use clap::{Args, Subcommand};
use telemetry::time::{EventTime, parse_duration, parse_rfc3339};

use super::args::{Output, Speed};
use crate::out::Format;

/// `simulate`
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SimulateArgs {
    /// Something other than a simulation.
    #[command(subcommand)]
    pub command: Option<SimulateCommand>,
    /// A simulation; `None` only with a command.
    #[command(flatten)]
    pub run: Option<SimulateRun>,
}

/// `simulate …`
#[derive(Debug, Clone, Subcommand)]
pub enum SimulateCommand {
    /// Lists the built-in scenarios.
    List {
        /// How the list is printed.
        #[arg(
            long,
            value_enum,
            default_value_t,
            value_name = "text|json",
            hide_possible_values = true
        )]
        format: Format,
    },
    /// Says what a scenario has.
    Describe {
        /// Name or file.
        #[arg(value_name = "NAME|FILE")]
        scenario: String,
        /// How it is printed.
        #[arg(
            long,
            value_enum,
            default_value_t,
            value_name = "text|json",
            hide_possible_values = true
        )]
        format: Format,
    },
}

/// A simulation.
#[derive(Debug, Clone, Args)]
pub struct SimulateRun {
    /// Name of a built-in scenario, or a file.
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: String,
    /// Where chance begins.
    #[arg(long, value_name = "N")]
    pub seed: u64,
    /// How many devices; as many as the scenario says without it.
    #[arg(long = "devices", value_name = "N")]
    pub count: Option<u32>,
    /// Simulated time at the beginning.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub start: Option<EventTime>,
    /// How much simulated time passes.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub span: Option<Duration>,
    /// How fast simulated time passes.
    #[arg(long, value_name = "max|60x|1x", default_value = "max")]
    pub speed: Speed,
    /// Where uplinks go: `mqtt://…`, a file, `-`.
    #[arg(long = "to", value_name = "mqtt://HOST:PORT|FILE|-")]
    pub target: String,
    /// Where it is written what was done to the simulated world.
    #[arg(long, value_name = "FILE.ndjson")]
    pub truth: Option<Output>,
}

fn instant(text: &str) -> Result<EventTime, String> {
    parse_rfc3339(text).ok_or_else(|| "expected a time like `2026-05-01T00:00:00Z`".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| "expected a duration like `90s`, `15m`, `24h`, `30d`".to_owned())
}
