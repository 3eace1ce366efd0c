//! `demo`: everything in one process with nothing installed: simulated fields and roads, the durable listener,
//! journal, rules, the embedded history and the page.
//!
//! ```text
//! Fleet ──▶ sender ──MQTT, QoS 1──▶ listener ─▶ … the service, as `run` has it … ─▶ page
//!                                                         └─ outbox ─▶ teller: a line for each alert
//! ```
//!
//! - **D1 the same again**: every value is a function of seed, start and time, and devices publish over one
//!   connection in the order of time: the same seed and start give the same alerts up to the same simulated time.
//! - **D2 goes on**: with `--data` a restart, also after kill -9, asks the pipeline what it has, and sends what is
//!   missing.
//!
//! It talks to loopback only.

mod folder;
mod known;
mod scene;
mod sender;
mod sensors;
mod teller;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ingest::engine::service::Service;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use telemetry::problem::Problem;
use telemetry::text::{Lang, say};
use telemetry::time::EventTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::{DemoArgs, GOOD};
use crate::run::{block_on, fail, received};
use crate::{check, out, start_failure};

use folder::{BegunWith, Folder};
use scene::Scene;

/// The seed where none is given.
const SEED: u64 = 1;
/// How far back the demo may begin; its history keeps longer.
const BACK_MAX: Duration = Duration::from_hours(400 * 24);

/// Runs the demo until it is told to stop, or for as long as was asked.
#[must_use]
pub fn demo(args: &DemoArgs, lang: Lang) -> ExitCode {
    let (folder, scene) = match prepare(args) {
        Ok(prepared) => prepared,
        Err(problems) => return check::refuse(&problems, lang),
    };
    let served = block_on(serve(args, &folder, scene, lang));
    let code = served.unwrap_or_else(|error| fail(&error.to_string(), lang));
    drop(folder);
    code
}

/// Checks the arguments, opens the folder and sets the scene.
fn prepare(args: &DemoArgs) -> Result<(Folder, Scene), Vec<Problem>> {
    let one = |problem: Box<Problem>| vec![*problem];
    if !args.http.ip().is_loopback() {
        return Err(one(refused("--http", &args.http.to_string(), "tianlu.demo.loopback")));
    }
    let now = Timestamp::now();
    if let Some(start) = args.first {
        let back = now.duration_since(start);
        if back.is_negative() || back.unsigned_abs() > BACK_MAX {
            return Err(one(refused("--start", &start.to_string(), "tianlu.demo.start")));
        }
    }
    let folder = Folder::open(args.data.as_deref()).map_err(one)?;
    let default = BegunWith { seed: SEED, start: a_day_ago(now).to_string() };
    let wanted = (args.seed, args.first.map(|start| start.to_string()));
    let begun = folder.begun_with(wanted, default).map_err(one)?;
    let start = begun.start.parse::<Timestamp>();
    let start = start.map_err(|_| one(refused("--start", &begun.start, "tianlu.demo.start")))?;
    let scene = Scene::set(begun.seed, event_time(start))?;
    Ok((folder, scene))
}

/// Returns the time 24 hours ago, to the full hour.
fn a_day_ago(now: Timestamp) -> Timestamp {
    let hour = TimestampRound::new().smallest(Unit::Hour).mode(RoundMode::Trunc);
    let day_ago = now.checked_sub(jiff::SignedDuration::from_hours(24)).unwrap_or(now);
    day_ago.round(hour).unwrap_or(day_ago)
}

fn event_time(at: Timestamp) -> EventTime {
    EventTime::from_nanos(i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX))
}

fn refused(flag: &str, value: &str, key: &str) -> Box<Problem> {
    Box::new(Problem {
        file: "demo".to_owned(),
        line: None,
        key: flag.to_owned(),
        value: value.to_owned(),
        what: say(key, &[]),
        remedy: say(&format!("{key}.remedy"), &[]),
    })
}

async fn serve(args: &DemoArgs, folder: &Folder, scene: Scene, lang: Lang) -> ExitCode {
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt)] = signals else {
        return fail("listen for signals", lang);
    };
    let settings = match scene.settings(folder.path(), args.http) {
        Ok(settings) => settings,
        Err(problems) => return check::refuse(&problems, lang),
    };
    let service = match Service::start(settings).await {
        Ok(service) => service,
        Err(error) => return start_failure::tell(&error, lang),
    };
    let (http, Some(mqtt)) = (service.http_address(), service.listener_address()) else {
        return fail("the listener has no address", lang);
    };
    let page = format!("http://{http}/");
    out::line(&say("tianlu.demo.page", &[("page", &page)]).show(lang));
    out::note(&say("tianlu.demo.mqtt", &[("mqtt", &mqtt)]).show(lang));
    let (stop, stopped) = watch::channel(false);
    let desk = Arc::clone(service.desk());
    // What an earlier run has told is not told again.
    let told = desk.derived_all().await;
    let telling = tokio::spawn(teller::tell(Arc::clone(&desk), told + 1, lang, stopped.clone()));
    let sending = tokio::spawn(sender::send(scene.sensors, mqtt, desk, stopped));
    tokio::select! {
        () = received(&mut terminate) => {}
        () = received(&mut interrupt) => {}
        () = passed(args.lasts) => {}
    }
    stop.send_replace(true);
    for task in [sending, telling] {
        if let Err(error) = task.await {
            tracing::error!(%error, "a task of the demo ended by a panic");
        }
    }
    service.stop().await;
    ExitCode::from(GOOD)
}

async fn passed(lasts: Option<Duration>) {
    match lasts {
        Some(lasts) => tokio::time::sleep(lasts).await,
        None => std::future::pending().await,
    }
}
