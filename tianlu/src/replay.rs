//! `replay`: recorded data through the same pipeline as production.
//!
//! ```text
//! files ─▶ input (rows, lines) ─▶ merge (by time) ─┬─▶ player (ticks, pipeline) ─▶ results (files, counts)
//! journal ─▶ history ──────────────────────────────│────────────────────────────▶ results
//!                                                  └─▶ publish (`--to`: MQTT)
//! ```
//!
//! Of files: rows are merged by their time, ties by input, then row. A row's time is its `received_at` where the
//! mapping names one, else its `sampled_at`, and is the `received_at` of the reading. A file that runs backward is
//! sorted first, in memory; one in order is streamed. Each file is read twice: once for its order, once for its
//! readings, so that an input cannot be a pipe. A row without a readable time stands where the row before it
//! stands, flagged `missing`; its point is put one nanosecond further for each such row, so that it takes no
//! other's place. One tick stands before the first row and before each row of later time, none after the last.
//!
//! Of a journal: everything after the oldest snapshot kept, through the configurations that were in force.
//!
//! Nothing that is written depends on clock, environment, language or machine: two replays give the same bytes.

mod bundle;
mod history;
mod input;
mod merge;
mod outputs;
mod plan;
mod player;
mod publish;
mod results;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use telemetry::text::{Lang, say};

use crate::cli::{FAILED, GOOD, Output, ReplayArgs, USAGE};
use crate::out::{self, Format};
use crate::playback::fault::Fault;
use crate::playback::pace::Pace;
use crate::playback::progress::Progress;
use crate::playback::stop::Stop;
use outputs::Outputs;
use plan::Plan;
use summary::Summary;

/// Replays files or a journal.
#[must_use]
pub fn replay(args: ReplayArgs, lang: Lang) -> ExitCode {
    match run(&args, lang) {
        Ok(()) | Err(Fault::ReaderGone) => ExitCode::from(GOOD),
        Err(Fault::Wrong(problems)) => {
            problems.iter().for_each(|problem| out::note(&problem.show(lang)));
            out::note(&say("tianlu.replay.refused", &[("count", &problems.len())]).show(lang));
            ExitCode::from(USAGE)
        }
        Err(Fault::Failed(problem)) => {
            out::note(&problem.show(lang));
            ExitCode::from(FAILED)
        }
    }
}

fn run(args: &ReplayArgs, lang: Lang) -> Result<(), Fault> {
    let begun = Instant::now();
    outputs::refuse_overlap(args)?;
    let (summary, stop) = match (&args.journal, &args.to) {
        (Some(_), Some(_)) => return Err(Fault::wrong("--to", "tianlu.replay.to_journal", &[])),
        (Some(dir), None) => {
            let stop = Stop::on_signal();
            (history::replay(dir, args, &stop, lang)?, stop)
        }
        (None, to) => {
            let plan = Plan::read(args)?;
            let merge = merge::Merge::open(&plan, &args.input)?;
            // Only now: a replay that cannot begin leaves the results of the last one alone.
            let stop = Stop::on_signal();
            let progress = Progress::new(Some(merge.total()), lang);
            let pace = Pace::new(args.speed, stop.clone());
            if let Some(url) = to {
                let told = publish::publish(&plan, url, (merge, pace), (progress, lang))?;
                let output = args.summary.as_ref();
                return output
                    .map_or(Ok(()), |output| outputs::write_whole(output, &told.to_json()));
            }
            (player::play(&plan, merge, (pace, progress), Outputs::create(args)?)?, stop)
        }
    };
    if stop.is_asked() {
        out::note(&say("tianlu.playback.stopped", &[]).show(lang));
    }
    tell(args, &summary, begun, lang)
}

/// Writes the counts where they were asked for; a person gets them where no result goes to a file.
fn tell(args: &ReplayArgs, summary: &Summary, begun: Instant, lang: Lang) -> Result<(), Fault> {
    if let Some(output) = &args.summary {
        outputs::write_whole(output, &summary.to_json())?;
    }
    let results = [&args.points, &args.alerts, &args.dead, &args.summary];
    if results.iter().all(|output| output.is_none()) {
        match args.format {
            Format::Text => summary.show(begun.elapsed(), lang),
            Format::Json => out::line(summary.to_json().trim_end()),
        }
    }
    Ok(())
}

/// Returns the paths that results are written to, with the names of their options.
fn written(args: &ReplayArgs) -> Vec<(&'static str, &PathBuf)> {
    let outputs = [
        ("--points", &args.points),
        ("--alerts", &args.alerts),
        ("--dead", &args.dead),
        ("--summary", &args.summary),
    ];
    outputs
        .into_iter()
        .filter_map(|(name, output)| match output {
            Some(Output::File(path)) => Some((name, path)),
            Some(Output::Stdout) | None => None,
        })
        .collect()
}
