//! What a simulation needs to know: the fleet, and how long it runs.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use simulator::{Fleet, Scenario};
use telemetry::document::Problems;
use telemetry::problem::Problem;
use telemetry::text::say;
use telemetry::time::EventTime;

use crate::cli::{SimulateRun, Speed};
use crate::playback::fault::Fault;

/// How long a simulation runs that is as fast as it goes, unless told otherwise.
const SPAN: Duration = Duration::from_hours(24);
/// How long one can run at most, which is also how long one runs that ends with Ctrl-C: a hundred years.
const SPAN_MAX: Duration = Duration::from_hours(24 * 36_525);
/// The first and the last start that leave room for the simulated world around it: 1970 and 2160.
const STARTS: std::ops::RangeInclusive<i64> = 0..=6_000_000_000 * 1_000_000_000;

/// A simulation, free of problems.
#[derive(Debug)]
pub(super) struct Plan {
    /// The devices.
    pub(super) fleet: Fleet,
    /// When it ends; excluded.
    pub(super) to: EventTime,
    /// Whether it runs until somebody ends it.
    pub(super) is_open: bool,
}

impl Plan {
    /// Reads the scenario and makes the fleet.
    pub(super) fn read(args: &SimulateRun) -> Result<Self, Fault> {
        let scenario = scenario(&args.scenario)?;
        let start = args.start.unwrap_or_else(|| usual_start(args.speed));
        let span = args.span.unwrap_or(match args.speed {
            Speed::Max => SPAN,
            Speed::Times(_) => SPAN_MAX,
        });
        let shown = start.to_string();
        if !STARTS.contains(&start.as_nanos()) {
            return Err(Fault::wrong("--start", "tianlu.simulate.start", &[("start", &shown)]));
        }
        if span.is_zero() || span > SPAN_MAX {
            return Err(Fault::wrong("--for", "tianlu.simulate.span", &[]));
        }
        let fleet = Fleet::new(&scenario, args.seed, start, args.count);
        let fleet = fleet.map_err(|error| Fault::Wrong(vec![error.problem("--devices")]))?;
        let to = start.plus(span);
        let is_open = args.span.is_none() && args.speed != Speed::Max;
        Ok(Self { fleet, to, is_open })
    }
}

/// Returns a built-in scenario by its name, or reads one from a file.
pub(super) fn scenario(wanted: &str) -> Result<Scenario, Fault> {
    if let Some(scenario) = Scenario::named(wanted) {
        return Ok(scenario);
    }
    let path = Path::new(wanted);
    let is_file = path.extension().is_some_and(|ending| ending == "toml") || path.is_file();
    if !is_file {
        return Err(Fault::Wrong(vec![unknown(wanted)]));
    }
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Fault::unreadable(path, None, &error))?;
    let problems = Problems::default();
    let scenario = Scenario::parse(wanted, &text, &problems);
    scenario.ok_or_else(|| Fault::Wrong(problems.take()))
}

fn unknown(wanted: &str) -> Problem {
    let known = Scenario::names().collect::<Vec<_>>().join(", ");
    Problem {
        file: "--scenario".to_owned(),
        line: None,
        key: String::new(),
        value: String::new(),
        what: say("tianlu.simulate.unknown", &[("scenario", &wanted)]),
        remedy: say("tianlu.simulate.unknown.remedy", &[("known", &known)]),
    }
}

/// Returns the last full hour; in real time the last full second, so that times are those of now.
fn usual_start(speed: Speed) -> EventTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let step = if speed == Speed::Times(1.0) { 1 } else { 3600 };
    let seconds = i64::try_from(now - now % step).unwrap_or(0);
    EventTime::from_nanos(seconds.saturating_mul(1_000_000_000))
}
