//! Starts and ends threads and tasks; starts the sources.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use telemetry::time::IngestTime;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::engine::clock::JournalClock;
use crate::engine::health::{Health, Part};
use crate::engine::panic_guard::PanicGuard;
use crate::engine::service::Parts;
use crate::engine::settings::StartError;
use crate::engine::ticker::{self, Watched};
use crate::listener::{Commands, Listener, ListenerConfig, SetUpError};
use crate::mqtt::{Consumer, MqttConfig};
use crate::source::{Acknowledge, Alarms, Batch, Intake, SourceId};

pub(crate) type Task = tokio::task::JoinHandle<()>;

/// Starts a thread of the engine with a handle of the runtime.
pub(crate) fn spawn(
    (name, health): (&str, &Arc<Health>),
    work: impl FnOnce(&Handle) + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = Handle::current();
    let guard = PanicGuard::new(health, Part::Journal, name);
    let named = std::thread::Builder::new().name(format!("tianlu-{name}"));
    named
        .spawn(move || guard.hold(|| work(&runtime)))
        .map_err(StartError::while_doing("start a thread"))
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

/// Every source of uplinks, set up and not yet started.
pub(crate) struct Sources {
    consumers: Vec<Consumer>,
    listener: Option<Listener>,
    /// Each with its part in the health and its address.
    intakes: Vec<(Part, String, Intake)>,
    commands: Option<Commands>,
}

impl Sources {
    /// Sets up consumers and listener; the listener's port is bound here.
    pub(crate) fn set_up(
        brokers: &[MqttConfig],
        listener: Option<ListenerConfig>,
    ) -> Result<Self, StartError> {
        let (mut consumers, mut intakes) = (Vec::new(), Vec::new());
        for config in brokers {
            let doing = format!("set up the consumer of {}", config.address);
            let made = Consumer::new(config.clone()).map_err(StartError::while_doing(doing))?;
            consumers.push(made.0);
            intakes.push((Part::Mqtt, config.address.to_string(), made.1));
        }
        let (mut bound, mut commands) = (None, None);
        if let Some(config) = listener {
            let doing =
                StartError::while_doing::<SetUpError>(format!("listen on mqtt://{}", config.bind));
            let (made, intake, send) = Listener::bind(config).map_err(doing)?;
            intakes.push((Part::Listener, format!("mqtt://{}", made.local_addr()), intake));
            (bound, commands) = (Some(made), Some(send));
        }
        Ok(Self { consumers, listener: bound, intakes, commands })
    }

    /// Returns where acknowledgements of each source go.
    pub(crate) fn acks(&self) -> BTreeMap<SourceId, Arc<dyn Acknowledge>> {
        let of =
            |(_, _, intake): &(Part, String, Intake)| (intake.source, Arc::clone(&intake.acks));
        self.intakes.iter().map(of).collect()
    }

    /// Returns the alarms of each source.
    pub(crate) fn alarms(&self) -> Vec<watch::Receiver<Alarms>> {
        self.intakes.iter().map(|(_, _, intake)| intake.alarms.clone()).collect()
    }

    /// Returns what sends commands to devices, where they connect to us.
    pub(crate) fn commands(&self) -> Option<Commands> {
        self.commands.clone()
    }

    /// Returns the address that devices connect to.
    pub(crate) fn listens_on(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(Listener::local_addr)
    }

    /// Starts them, what carries their batches to the writer, and the ticker that watches them.
    pub(crate) fn start(
        self,
        parts: &Parts,
        (uplinks, stop): (mpsc::Sender<Batch>, watch::Receiver<bool>),
    ) -> Vec<Task> {
        let watched: Vec<Watched> = self.intakes.iter().map(watch_source).collect();
        // Before anybody can ask: no source is ready before its SUBACK.
        watched.iter().for_each(|source| source.report(&parts.health));
        let clock = JournalClock::starting_after(IngestTime::default());
        let health = Arc::clone(&parts.health);
        let ticks = ticker::run(watched, parts.orders.clone(), health, clock, stop.clone());
        let guard = |part, name: &str| PanicGuard::new(&parts.health, part, name);
        let mut tasks = vec![tokio::spawn(guard(Part::Journal, "ticks").watch(ticks))];
        for (part, name, mut intake) in self.intakes {
            let uplinks = uplinks.clone();
            tasks.push(tokio::spawn(guard(part, &name).watch(async move {
                while let Some(batch) = intake.batches.recv().await {
                    if uplinks.send(batch).await.is_err() {
                        return;
                    }
                }
            })));
        }
        let consumers = self.consumers.into_iter().map(|consumer| {
            let guard = guard(Part::Mqtt, &consumer.address().to_string());
            tokio::spawn(guard.watch(consumer.run(stop.clone())))
        });
        tasks.extend(consumers);
        tasks.extend(self.listener.map(|listener| tokio::spawn(listener.run(stop))));
        tasks
    }
}

fn watch_source((part, name, intake): &(Part, String, Intake)) -> Watched {
    Watched::new(
        (intake.source, *part),
        name.clone(),
        intake.link.clone(),
        Arc::clone(&intake.acks),
    )
}
