//! `simulate`: a fleet of simulated devices, to a broker, a file or standard output.
//!
//! ```text
//! scenario ─▶ plan (fleet, span) ─▶ schedule ─┬─▶ lines (NDJSON, line protocol) ─▶ files, standard output
//!                                             └─▶ publisher (MQTT)
//! ```
//!
//! What is written depends on scenario, seed, start, number of devices and span alone: two simulations give the
//! same bytes.

mod lines;
mod plan;
mod show;
mod target;

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Instant;

use telemetry::text::{Lang, say};
use telemetry::time::EventTime;

use crate::cli::{FAILED, GOOD, SimulateArgs, SimulateCommand, SimulateRun, USAGE};
use crate::out;
use crate::playback::fault::Fault;
use crate::playback::pace::Pace;
use crate::playback::progress::Progress;
use crate::playback::publisher::{self, Letter};
use crate::playback::stop::Stop;
use lines::Lines;
use plan::Plan;
use target::{Target, Truths};

/// Runs `simulate` or one of the commands below it.
#[must_use]
pub fn simulate(args: &SimulateArgs, lang: Lang) -> ExitCode {
    let done = match (&args.command, &args.run) {
        (Some(SimulateCommand::List { format }), _) => {
            show::list(*format, lang);
            Ok(())
        }
        (Some(SimulateCommand::Describe { scenario, format }), _) => {
            show::describe(scenario, *format, lang)
        }
        (None, Some(run)) => simulated(run, lang),
        // The arguments were parsed so that one of them is there.
        (None, None) => Ok(()),
    };
    match done {
        Ok(()) | Err(Fault::ReaderGone) => ExitCode::from(GOOD),
        Err(Fault::Wrong(problems)) => {
            problems.iter().for_each(|problem| out::note(&problem.show(lang)));
            out::note(&say("tianlu.simulate.refused", &[("count", &problems.len())]).show(lang));
            ExitCode::from(USAGE)
        }
        Err(Fault::Failed(problem)) => {
            out::note(&problem.show(lang));
            ExitCode::from(FAILED)
        }
    }
}

fn simulated(args: &SimulateRun, lang: Lang) -> Result<(), Fault> {
    let target = Target::of(&args.target)?;
    let plan = Plan::read(args)?;
    target.refuse_overlap(args.truth.as_ref())?;
    // Only now: a simulation that cannot begin leaves the results of the last one alone.
    let truths = args.truth.as_ref().map(Truths::create).transpose()?;
    let stop = Stop::on_signal();
    let begun = Instant::now();
    let start = plan.fleet.start();
    let counts: [(&str, &dyn Display); 3] =
        [("devices", &plan.fleet.len()), ("seed", &args.seed), ("start", &start)];
    out::note(&say("tianlu.simulate.begins", &counts).show(lang));
    let mut pace = Pace::new(args.speed, stop.clone());
    let total = (!plan.is_open).then(|| plan.fleet.uplinks(start, plan.to));
    let progress = Progress::new(total, lang);
    let told = match &target {
        Target::Broker(url) => published(&plan, url, &mut pace, progress)?,
        Target::Stdout | Target::File(_) => written(&plan, &target, (&mut pace, progress))?,
    };
    if stop.is_asked() {
        out::note(&say("tianlu.playback.stopped", &[]).show(lang));
    }
    if let Some(truths) = truths {
        // Of a simulation that was ended early: what was done until then.
        let to = if stop.is_asked() { told.reached } else { plan.to };
        truths.write(&plan.fleet, to)?;
    }
    let seconds = format!("{:.1}", begun.elapsed().as_secs_f64());
    let counts: [(&str, &dyn Display); 3] =
        [("uplinks", &told.uplinks), ("reached", &told.reached), ("seconds", &seconds)];
    out::note(&say("tianlu.simulate.done", &counts).show(lang));
    Ok(())
}

/// How far a simulation has come.
struct Told {
    uplinks: u64,
    /// Time of the last uplink.
    reached: EventTime,
}

fn published(plan: &Plan, url: &str, pace: &mut Pace, progress: Progress) -> Result<Told, Fault> {
    let start = plan.fleet.start();
    let mut schedule = plan.fleet.schedule(start, plan.to);
    let mut reached = start;
    let mut next = || {
        let Some((at, device)) = schedule.next() else { return Ok(None) };
        reached = at;
        let letter = plan.fleet.device(device).and_then(|known| {
            let topic = publisher::topic(&known.tenant, &known.site, &known.device)?;
            Some(Letter { topic, body: plan.fleet.uplink(device, at) })
        });
        Ok(Some((at.as_nanos(), letter)))
    };
    let sent = publisher::publish(url, "tianlu-simulate", &mut next, (pace, progress))?;
    Ok(Told { uplinks: sent.published, reached })
}

fn written(
    plan: &Plan,
    target: &Target,
    (pace, mut progress): (&mut Pace, Progress),
) -> Result<Told, Fault> {
    let start = plan.fleet.start();
    let mut lines = Lines::create(plan, target)?;
    let mut told = Told { uplinks: 0, reached: start };
    for (at, device) in plan.fleet.schedule(start, plan.to) {
        let mut flushed = Ok(());
        if !pace.wait_for(at.as_nanos(), || flushed = lines.flush()) {
            break;
        }
        flushed?;
        lines.write(device, at)?;
        told.uplinks += 1;
        told.reached = at;
        progress.step();
    }
    lines.finish()?;
    Ok(told)
}
