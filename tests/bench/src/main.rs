//! What an uplink costs: the service beside its peers and its floor, in one run on the machine at hand.
//!
//! ```text
//! bench ──▶ pass ──▶ bench load (child) ──▶ Mosquitto ──▶ tianlu | telegraf | bench null (child) ──▶ influxd
//!             └── CPU of each from /proc/PID/stat, points counted in InfluxDB itself
//! ```
//!
//! - **B1** Consumers take turns (A B A B ...), each pass with a fresh broker and store.
//! - **B2** What was stored is counted in the store. A pass whose count differs fails.
//! - **B3** No number is a verdict: nothing here fails because something was slow.
//!
//! `docs/benchmarks.md` says what each number means.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a measuring tool: what goes wrong ends it and says so; counts and times are far below any limit"
)]

mod child;
mod histogram;
mod load;
mod machine;
mod null;
mod pass;
mod report;
mod row;
mod setup;
mod state;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::load::Load;
use crate::machine::Machine;
use crate::null::Null;
use crate::report::{Report, say};
use crate::row::Plan;
use crate::state::State;

/// Measures what an uplink costs, and prints tables in Markdown.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Cli {
    /// Few messages, one round: shows that everything works.
    #[arg(long)]
    quick: bool,
    /// Only these rows, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Row>,
    /// Readings of one pass.
    #[arg(long)]
    count: Option<u64>,
    /// Passes of each consumer.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of the rows that last a while.
    #[arg(long)]
    seconds: Option<u64>,
    /// Devices of the rows with many.
    #[arg(long)]
    devices: Option<u64>,
    /// Connections of the fleet of slow devices.
    #[arg(long)]
    connections: Option<u64>,
    /// Uplinks a second of the rows `half` and `gateways`; without it half of what `full` reached in the same run, and
    /// as many as are acknowledged.
    #[arg(long)]
    rate: Option<f64>,
    /// Writes all numbers to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// Parts that the benchmark starts by itself.
#[derive(Debug, Subcommand)]
enum Part {
    /// Sends messages.
    #[command(hide = true)]
    Load(Load),
    /// Receives messages, acknowledges and drops them.
    #[command(hide = true)]
    Null(Null),
    /// Fills the pipeline with devices.
    #[command(hide = true)]
    State(State),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    /// The service, the floor and the peer at full load.
    Full,
    /// One JSON uplink, one frame, 50 uplinks a message.
    Shapes,
    /// Latencies at half load.
    Half,
    /// All in one process, from gateways.
    Gateways,
    /// All in one process, from slow devices; beside Mosquitto.
    Fleet,
    /// What the state of a device takes.
    State,
    /// How soon the service is back.
    Restart,
}

const ALL: [Row; 7] =
    [Row::Full, Row::Shapes, Row::Half, Row::Gateways, Row::Fleet, Row::State, Row::Restart];

/// Uplinks a second of the row `half` where the run has no row `full`.
const HALF: f64 = 10_000.0;

fn main() -> ExitCode {
    let cli = Cli::parse();
    proof::slow_devices::allow_files();
    match &cli.part {
        Some(Part::Load(load)) => say(&serde_json::to_string(&load.run()).unwrap()),
        Some(Part::Null(null)) => match null.run() {
            Ok(dropped) => say(&serde_json::to_string(&dropped).unwrap()),
            Err(why) => say(&why),
        },
        Some(Part::State(state)) => say(&serde_json::to_string(&state.run()).unwrap()),
        None => measure(&cli),
    }
    ExitCode::SUCCESS
}

fn measure(cli: &Cli) {
    let mut plan = if cli.quick { Plan::QUICK } else { Plan::WHOLE };
    plan.count = cli.count.unwrap_or(plan.count);
    plan.rounds = cli.rounds.unwrap_or(plan.rounds);
    plan.devices = cli.devices.unwrap_or(plan.devices);
    plan.connections = cli.connections.unwrap_or(plan.connections);
    plan.lasting = cli.seconds.map_or(plan.lasting, std::time::Duration::from_secs);
    let version = proof::tianlu::run(&proof::place::workspace(), &["--version"]).ended(0).stdout;
    let machine = Machine::here(version.trim().to_owned());
    let mut report = Report::new(&machine);
    let rows = if cli.only.is_empty() { &ALL[..] } else { &cli.only };
    let mut rate = cli.rate;
    for row in rows {
        match row {
            Row::Full => rate = rate.or(row::full::full(&plan, &mut report).map(|full| full / 2.0)),
            Row::Shapes => {
                row::full::shapes(&plan, &mut report);
                row::embedded::shapes(&plan, &mut report);
            }
            Row::Half => row::half::half(&plan, rate.unwrap_or(HALF), &mut report),
            Row::Gateways => row::embedded::gateways(&plan, cli.rate, &mut report),
            Row::Fleet => row::embedded::fleet(&plan, &mut report),
            Row::State => row::state::state(&plan, &mut report),
            Row::Restart => row::state::restart(&plan, &mut report),
        }
    }
    if let Some(file) = &cli.json {
        report.write(file);
    }
}
