//! Starts and ends threads and tasks; starts the sources.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use telemetry::time::IngestTime;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::engine::clock::JournalClock;
use crate::engine::service::Parts;
use crate::engine::settings::StartError;
use crate::engine::ticker::{self, Watched};
use crate::mqtt::{Consumer, MqttConfig};
use crate::source::{Batch, Intake};

pub(crate) type Task = tokio::task::JoinHandle<()>;

/// Starts a thread with a handle of the runtime.
pub(crate) fn spawn(
    name: &str,
    work: impl FnOnce(&Handle) + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = Handle::current();
    let named = std::thread::Builder::new().name(format!("tianlu-{name}"));
    named.spawn(move || work(&runtime)).map_err(StartError::while_doing("start a thread"))
}

pub(crate) async fn join_thread(thread: JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
    if !joined.unwrap_or(false) {
        tracing::error!("a thread ended by a panic");
    }
}

pub(crate) async fn join_all(tasks: Vec<Task>, most: Duration) {
    let all = async {
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task ended by a panic");
            }
        }
    };
    if tokio::time::timeout(most, all).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
}

pub(crate) fn consumers(
    sources: &[MqttConfig],
) -> Result<(Vec<Consumer>, Vec<Intake>), StartError> {
    let made = sources.iter().map(|config| {
        let doing = format!("set up the consumer of {}", config.address);
        Consumer::new(config.clone()).map_err(StartError::while_doing(doing))
    });
    made.collect::<Result<Vec<_>, _>>().map(|made| made.into_iter().unzip())
}

/// Starts the consumers, what carries their batches to the writer, and the ticker that watches them.
pub(crate) fn start_sources(
    (consumers, intakes): (Vec<Consumer>, Vec<Intake>),
    settings: &[MqttConfig],
    parts: &Parts,
    (uplinks, stop): (mpsc::Sender<Batch>, watch::Receiver<bool>),
) -> Vec<Task> {
    let watch = |(config, intake): (&MqttConfig, &Intake)| {
        Watched::new(
            intake.source,
            config.address.to_string(),
            intake.link.clone(),
            Arc::clone(&intake.acks),
        )
    };
    let watched: Vec<Watched> = settings.iter().zip(&intakes).map(watch).collect();
    // Before anybody can ask: no source is ready before its SUBACK.
    watched.iter().for_each(|source| source.report(&parts.health));
    let clock = JournalClock::starting_after(IngestTime::default());
    let ticks =
        ticker::run(watched, parts.orders.clone(), Arc::clone(&parts.health), clock, stop.clone());
    let mut tasks = vec![tokio::spawn(ticks)];
    for mut intake in intakes {
        let uplinks = uplinks.clone();
        tasks.push(tokio::spawn(async move {
            while let Some(batch) = intake.batches.recv().await {
                if uplinks.send(batch).await.is_err() {
                    return;
                }
            }
        }));
    }
    tasks.extend(consumers.into_iter().map(|consumer| tokio::spawn(consumer.run(stop.clone()))));
    tasks
}
