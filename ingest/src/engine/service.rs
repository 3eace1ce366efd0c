//! The whole program, composed: start, reload, stop.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use journal::{CursorFile, Disk, Published, ReadFrom, Reader, RealDisk};
use pipeline::record::{ConfigActivated, Record, Started};
use pipeline::{ActiveConfig, Bundle};
use store::{Influx, InfluxOptions, WriteError};
use telemetry::text::{Text, say};
use telemetry::time::IngestTime;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::engine::ENGINE_VERSION;
use crate::engine::bundles::Bundles;
use crate::engine::clock::{JournalClock, wall_nanos};
use crate::engine::desk::Desk;
use crate::engine::driver::{Driver, Shared};
use crate::engine::health::{Health, Part};
use crate::engine::layout::Layout;
use crate::engine::notices;
use crate::engine::own_alerts::OwnAlerts;
use crate::engine::recovery::{RecoverError, Recovered, StoreCursor, recover};
use crate::engine::store_sink::{StoreHealth, StoreSink, StoreView};
use crate::engine::ticker::{self, Watched};
use crate::engine::writer::{NotDurable, Order, Orders, Space, Writer, WriterLimits};
use crate::http::{self, Token};
use crate::meter::{self, NoticeOutcome, NotifierKind};
use crate::mqtt::{Consumer, MqttConfig, SetUpError};
use crate::notifier::{
    self, Batch as NoticeBatch, Clock as NotifierClock, Kind, MqttError, MqttSender, MqttTarget, Observer, Options,
    Queue, QueueError, QueueLimits, Sender, Severity, WebhookError, WebhookSender, WebhookTarget, Wiring,
};
use crate::source::{Acknowledge, Batch, Intake, SourceId};

/// Orders that wait for the writer at most; who orders more waits.
const ORDERS_MAX: usize = 256;
/// Batches between sources and writer at most; their bytes are bounded by the sources.
const BATCHES_MAX: usize = 64;
/// Questions that wait for the driver at most.
const QUESTIONS_MAX: usize = 256;
/// Batches of notices that wait for a notifier at most.
const NOTICES_MAX: usize = 16;

/// How long the sources may take to end: acknowledgements of what was handed over are written.
const SOURCES_END: Duration = Duration::from_secs(3);
/// How long the sinks may take to end.
const SINKS_END: Duration = Duration::from_secs(5);

/// A notifier as configured.
#[derive(Debug, Clone)]
pub struct NotifierSettings {
    /// Name of its queue file; from kind and address, so that it stays the same.
    pub name: String,
    /// Where it sends.
    pub target: NotifierTarget,
    /// Less grave alerts are not told.
    pub min_severity: Severity,
}

/// Where a notifier sends.
#[derive(Debug, Clone)]
pub enum NotifierTarget {
    /// HTTP POST.
    Webhook(WebhookTarget),
    /// MQTT publish.
    Mqtt(MqttTarget),
}

/// Everything the service needs, checked.
#[derive(Debug)]
pub struct Settings {
    /// The data folder.
    pub dir: PathBuf,
    /// Bytes of both logs at most.
    pub max_bytes: u64,
    /// How much of the journal is kept beyond need, where there is room.
    pub keep: Duration,
    /// Least time between two fsyncs under load.
    pub commit_interval: Duration,
    /// What influences results.
    pub bundle: Bundle,
    /// The same, built.
    pub active: Arc<ActiveConfig>,
    /// Brokers to consume from.
    pub sources: Vec<MqttConfig>,
    /// The store.
    pub store: InfluxOptions,
    /// Who is told of alerts.
    pub notifiers: Vec<NotifierSettings>,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// File with the token that HTTP asks for.
    pub http_token_file: Option<PathBuf>,
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder does not open.
    #[error("open the data folder")]
    Recover(#[from] RecoverError),
    /// A file of the data folder could not be written.
    #[error("write the active configuration")]
    Bundle(#[source] std::io::Error),
    /// The journal could not take the first records.
    #[error("begin the journal")]
    Journal(#[from] NotDurable),
    /// A source cannot be set up.
    #[error("set up the consumer of {url}")]
    Source {
        /// The broker.
        url: String,
        /// Why.
        #[source]
        source: SetUpError,
    },
    /// The store's address cannot be used.
    #[error("set up the store")]
    Store(#[from] store::OpenError),
    /// A notifier's queue does not open.
    #[error("open the queue of notifier `{name}`")]
    Queue {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: QueueError,
    },
    /// A webhook cannot be used.
    #[error("set up the webhook")]
    Webhook(#[from] WebhookError),
    /// An MQTT notifier cannot be used.
    #[error("set up the MQTT notifier")]
    Mqtt(#[from] MqttError),
    /// HTTP cannot listen.
    #[error("listen on http://{listen}")]
    Http {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP token cannot be read.
    #[error("read the token file `{}`", path.display())]
    HttpToken {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Metrics cannot be installed.
    #[error("install metrics")]
    Metrics(#[from] meter::InstallError),
    /// A thread could not be started.
    #[error("start a thread")]
    Thread(#[source] std::io::Error),
}

/// The running service.
pub struct Service {
    desk: Arc<Desk>,
    bundles: Arc<Bundles>,
    writer: JoinHandle<()>,
    driver: JoinHandle<()>,
    driver_stop: Arc<AtomicU64>,
    stop_sources: watch::Sender<bool>,
    stop_sinks: watch::Sender<bool>,
    sources: Vec<Task>,
    sinks: Vec<Task>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("desk", &self.desk).finish_non_exhaustive()
    }
}

/// What the parts share while they are put together.
struct Parts {
    layout: Layout,
    health: Arc<Health>,
    shared: Arc<Shared>,
    space: Arc<Space>,
    view: Arc<StoreView>,
    orders: Orders,
    stop_sinks: watch::Receiver<bool>,
}

impl Service {
    /// Starts everything. Returns once uplinks are taken in; what a restart derives again goes on behind.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is lost, and nothing more is taken in.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let layout = Layout::new(&settings.dir);
        let (consumers, intakes) = consumers(&settings.sources)?;
        let influx = Influx::open(&settings.store)?;
        let listener = listen(settings.http)?;
        let token = http_token(settings.http_token_file.as_ref())?;
        let recovered = recover(&disk, &layout, settings.max_bytes)?;
        let bundles = Arc::clone(&recovered.bundles);
        let hash = bundles.keep(&settings.bundle, Arc::clone(&settings.active)).map_err(StartError::Bundle)?;
        let (stop_sources, sources_stop) = watch::channel(false);
        let (stop_sinks, sinks_stop) = watch::channel(false);
        let (orders, orders_taken) = mpsc::channel(ORDERS_MAX);
        let parts = Parts {
            layout,
            health: Arc::new(Health::default()),
            shared: Arc::new(Shared::default()),
            space: Arc::new(Space::default()),
            view: Arc::new(StoreView::default()),
            orders: Orders(orders),
            stop_sinks: sinks_stop,
        };
        let readers = Readers::of(&recovered, &parts);
        let queues = open_queues(&settings.notifiers, &parts, recovered.end.position)?;
        let acks: BTreeMap<SourceId, Arc<dyn Acknowledge>> =
            intakes.iter().map(|intake| (intake.source, Arc::clone(&intake.acks))).collect();
        let (uplinks, uplinks_taken) = mpsc::channel::<Batch>(BATCHES_MAX);
        let last_time = recovered.last_time;
        let Recovered { journal, outbox, pipeline, end, store_cursor, .. } = recovered;
        let outbox_readers: Vec<Reader> =
            queues.iter().map(|open| outbox.reader(ReadFrom::Position(open.cursor.0.max(1)))).collect();
        let writer = Writer {
            log: journal,
            clock: JournalClock::starting_after(last_time),
            limits: writer_limits(&settings),
            space: Arc::clone(&parts.space),
            health: Arc::clone(&parts.health),
            acks: acks.clone(),
            uplinks: uplinks_taken,
            orders: orders_taken,
            position: end.position,
            ordinal: end.ordinal,
        };
        let writer = spawn("journal", move |runtime| writer.run(runtime))?;
        activate(&parts.orders, hash).await?;
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let driver_stop = Arc::new(AtomicU64::new(0));
        let driver = Driver {
            pipeline,
            journal: readers.journal,
            outbox,
            bundles: Arc::clone(&bundles),
            shared: Arc::clone(&parts.shared),
            space: Arc::clone(&parts.space),
            health: Arc::clone(&parts.health),
            questions: asked,
            orders: parts.orders.clone(),
            disk,
            layout: parts.layout.clone(),
            keep: settings.keep,
            keep_until_bytes: settings.max_bytes / 2,
        };
        let stop = Arc::clone(&driver_stop);
        let driver = spawn("pipeline", move |_| driver.run(&stop))?;
        let cursors = queues.iter().map(|open| open.cursor.0).chain([store_cursor.1.position]);
        let recovered_at = cursors.max().unwrap_or(0).min(end.position);
        let alarms = intakes.iter().map(|intake| intake.alarms.clone()).collect();
        let watched = watched(&settings.sources, &intakes);
        let store = start_store(influx, &parts, readers.store, store_cursor);
        let desk = Arc::new(Desk {
            questions,
            orders: parts.orders.clone(),
            shared: Arc::clone(&parts.shared),
            store: Arc::clone(&parts.view),
            journal_end: readers.journal_end,
            space: Arc::clone(&parts.space),
            health: Arc::clone(&parts.health),
            acks: acks.into_values().collect(),
            own_alerts: Mutex::default(),
            influx: Arc::clone(&store.health),
            recovered_at,
            has_recovered: AtomicBool::new(false),
        });
        report_recovering(&parts.health);
        let mut sinks = store.tasks;
        let feeds = start_notifiers(&settings.notifiers, queues, outbox_readers, (&parts, &mut sinks))?;
        let own = OwnAlerts { desk: Arc::clone(&desk), alarms, feeds };
        sinks.push(tokio::spawn(own.run(sources_stop.clone())));
        let clock = JournalClock::starting_after(IngestTime::default());
        let ticks = ticker::run(watched, parts.orders.clone(), Arc::clone(&parts.health), clock, sources_stop.clone());
        let mut sources = vec![tokio::spawn(ticks)];
        sinks.push(start_http(listener, &desk, token, parts.stop_sinks.clone())?);
        start_sources(consumers, intakes, (&uplinks, &sources_stop), &mut sources);
        Ok(Self { desk, bundles, writer, driver, driver_stop, stop_sources, stop_sinks, sources, sinks })
    }

    /// Returns where questions are answered.
    #[must_use]
    pub const fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Makes another configuration the active one, from its own position on.
    ///
    /// # Errors
    ///
    /// [`StartError`]; the one before stays active.
    pub async fn reload(&self, bundle: &Bundle, active: Arc<ActiveConfig>) -> Result<(), StartError> {
        let hash = self.bundles.keep(bundle, active).map_err(StartError::Bundle)?;
        append_config(&self.desk.orders, hash).await?;
        Ok(())
    }

    /// Ends in order, within about ten seconds: what is not written waits in journal and outbox.
    pub async fn stop(self) {
        self.stop_sources.send_replace(true);
        join_all(self.sources, SOURCES_END).await;
        if self.desk.orders.0.send(Order::Stop).await.is_err() {
            tracing::debug!("the writer has ended already");
        }
        join_thread(self.writer).await;
        self.driver_stop.store(self.desk.journal_end.end().position.max(1), Ordering::Release);
        self.desk.shared.wake.wake();
        join_thread(self.driver).await;
        self.stop_sinks.send_replace(true);
        join_all(self.sinks, SINKS_END).await;
    }
}

type Task = tokio::task::JoinHandle<()>;

/// Readers of both logs, made before their writers move into their threads.
struct Readers {
    journal: Reader,
    journal_end: Published,
    store: Reader,
}

impl Readers {
    fn of(recovered: &Recovered, parts: &Parts) -> Self {
        let journal = recovered.journal.reader(ReadFrom::Position(recovered.pipeline.position() + 1));
        let journal_end = journal.published();
        let shared = Arc::clone(&parts.shared);
        parts.space.journal.store(recovered.journal.bytes(), Ordering::Relaxed);
        parts.space.outbox.store(recovered.outbox.bytes(), Ordering::Relaxed);
        // The watch lives as long as the program.
        std::mem::forget(journal_end.watch(move || shared.wake.wake()));
        let store = recovered.outbox.reader(ReadFrom::Position(recovered.store_cursor.1.position + 1));
        Self { journal, journal_end, store }
    }
}

fn writer_limits(settings: &Settings) -> WriterLimits {
    // The reserve for everything that is not an uplink: ticks, snapshots, the outbox of what is not decoded yet.
    let reserve = settings.max_bytes / 8;
    WriterLimits {
        commit_interval: settings.commit_interval,
        uplinks_stop_at: settings.max_bytes.saturating_sub(reserve),
    }
}

fn report_recovering(health: &Health) {
    let remedy = say("ingest.recovering.remedy", &[]);
    health.report(Part::Recovering, "start", say("ingest.recovering", &[]), remedy);
}

/// Starts a thread with a handle of the runtime.
fn spawn(name: &str, work: impl FnOnce(&Handle) + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let runtime = Handle::current();
    let named = std::thread::Builder::new().name(format!("tianlu-{name}"));
    named.spawn(move || work(&runtime)).map_err(StartError::Thread)
}

async fn join_thread(thread: JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
    if !joined.unwrap_or(false) {
        tracing::error!("a thread ended by a panic");
    }
}

async fn join_all(tasks: Vec<Task>, most: Duration) {
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

/// Begins a run: engine version, then configuration.
async fn activate(orders: &Orders, hash: String) -> Result<(), NotDurable> {
    let started = |at: IngestTime| {
        Record::Started(Started { at_nanos: at.as_nanos(), version: ENGINE_VERSION.to_owned() })
    };
    orders.append(Box::new(started)).await?;
    append_config(orders, hash).await
}

async fn append_config(orders: &Orders, hash: String) -> Result<(), NotDurable> {
    let change = move |at: IngestTime| Record::ConfigActivated(ConfigActivated { at_nanos: at.as_nanos(), hash });
    orders.append(Box::new(change)).await.map(|_| ())
}

fn consumers(sources: &[MqttConfig]) -> Result<(Vec<Consumer>, Vec<Intake>), StartError> {
    let made = sources.iter().map(|config| {
        let url = config.address.to_string();
        Consumer::new(config.clone()).map_err(|source| StartError::Source { url, source })
    });
    made.collect::<Result<Vec<_>, _>>().map(|made| made.into_iter().unzip())
}

fn watched(sources: &[MqttConfig], intakes: &[Intake]) -> Vec<Watched> {
    let both = sources.iter().zip(intakes);
    let watch = |(config, intake): (&MqttConfig, &Intake)| {
        Watched::new(intake.source, config.address.to_string(), intake.link.clone(), Arc::clone(&intake.acks))
    };
    both.map(watch).collect()
}

fn start_sources(
    consumers: Vec<Consumer>,
    intakes: Vec<Intake>,
    (uplinks, stop): (&mpsc::Sender<Batch>, &watch::Receiver<bool>),
    tasks: &mut Vec<Task>,
) {
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
}

/// The store's tasks, and its health.
struct StoreTasks {
    health: Arc<StoreHealth<Influx>>,
    tasks: Vec<Task>,
}

fn start_store(influx: Influx, parts: &Parts, outbox: Reader, cursor: (CursorFile, StoreCursor)) -> StoreTasks {
    let (file, at) = cursor;
    let name = influx.place().url.clone();
    let health = Arc::new(StoreHealth::new(influx, name, describe, Arc::clone(&parts.health)));
    parts.view.set(at);
    parts.shared.store_position.store(at.position, Ordering::Release);
    let sink = StoreSink {
        health: Arc::clone(&health),
        outbox,
        file,
        view: Arc::clone(&parts.view),
        shared: Arc::clone(&parts.shared),
        orders: parts.orders.clone(),
        shutdown: parts.stop_sinks.clone(),
    };
    let (watching, stop) = (Arc::clone(&health), parts.stop_sinks.clone());
    let tasks = vec![tokio::spawn(sink.run()), tokio::spawn(async move { watching.run(stop).await })];
    StoreTasks { health, tasks }
}

fn describe(influx: &Influx, error: &WriteError) -> (Text, Text) {
    (error.message(influx.place()), error.advice(influx.place()))
}

/// A notifier's queue, and where it goes on reading.
struct OpenQueue {
    queue: Arc<Queue>,
    cursor: (u64, u32),
}

/// Opens the queues; a new notifier begins at the outbox's end, so that it is not told of the past.
fn open_queues(notifiers: &[NotifierSettings], parts: &Parts, end: u64) -> Result<Vec<OpenQueue>, StartError> {
    let open = |settings: &NotifierSettings| {
        let failed = |source| StartError::Queue { name: settings.name.clone(), source };
        let (path, now) = (parts.layout.notifier_queue(&settings.name), IngestTime::from_nanos(wall_nanos()));
        let queue = Queue::open(&path, QueueLimits::default(), now).map_err(failed)?;
        let cursor = queue.cursor().map_err(failed)?.unwrap_or((end, u32::MAX));
        Ok(OpenQueue { queue: Arc::new(queue), cursor })
    };
    notifiers.iter().map(open).collect()
}

fn start_notifiers(
    notifiers: &[NotifierSettings],
    queues: Vec<OpenQueue>,
    readers: Vec<Reader>,
    (parts, tasks): (&Parts, &mut Vec<Task>),
) -> Result<Vec<mpsc::Sender<NoticeBatch>>, StartError> {
    let mut feeds = Vec::new();
    for ((settings, open), reader) in notifiers.iter().zip(queues).zip(readers) {
        let (feed, notices) = mpsc::channel(NOTICES_MAX);
        let options = Options::named(settings.name.clone(), settings.min_severity);
        let (queue, stop) = (open.queue, parts.stop_sinks.clone());
        tasks.push(match &settings.target {
            NotifierTarget::Webhook(target) => {
                start_notifier(WebhookSender::new(target)?, (queue, options), notices, stop)
            }
            NotifierTarget::Mqtt(target) => {
                start_notifier(MqttSender::start(target)?, (queue, options), notices, stop)
            }
        });
        tasks.push(tokio::spawn(notices::follow(reader, open.cursor, feed.clone(), parts.stop_sinks.clone())));
        feeds.push(feed);
    }
    Ok(feeds)
}

/// Counts what becomes of notices.
struct Counts;

impl Observer for Counts {
    fn delivered(&self, kind: Kind) {
        meter::notification(meter_kind(kind), NoticeOutcome::Delivered);
    }

    fn failed(&self, kind: Kind) {
        meter::notification(meter_kind(kind), NoticeOutcome::Failed);
    }

    fn retried(&self, kind: Kind) {
        meter::notification(meter_kind(kind), NoticeOutcome::Retried);
    }
}

const fn meter_kind(kind: Kind) -> NotifierKind {
    match kind {
        Kind::Webhook => NotifierKind::Webhook,
        Kind::Mqtt => NotifierKind::Mqtt,
    }
}

fn start_notifier<S: Sender>(
    sender: S,
    (queue, options): (Arc<Queue>, Options),
    notices: mpsc::Receiver<NoticeBatch>,
    mut stop: watch::Receiver<bool>,
) -> Task {
    let clock = NotifierClock::start(IngestTime::from_nanos(wall_nanos()));
    let observer = Arc::new(Counts);
    let wiring = Wiring { queue, sender: Arc::new(sender), observer, clock, options };
    tokio::spawn(notifier::run(wiring, notices, async move {
        // A sender that is gone stops as well.
        let _stopped = stop.wait_for(|stop| *stop).await.is_ok();
    }))
}

fn listen(at: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(at).map_err(|source| StartError::Http { listen: at, source })
}

fn http_token(path: Option<&PathBuf>) -> Result<Option<Token>, StartError> {
    let Some(path) = path else { return Ok(None) };
    let unreadable = |source| StartError::HttpToken { path: path.clone(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let empty = || std::io::Error::new(std::io::ErrorKind::InvalidData, "the file is empty");
    Ok(Some(Token::new(text.trim()).ok_or_else(|| unreadable(empty()))?))
}

fn start_http(
    listener: TcpListener,
    desk: &Arc<Desk>,
    token: Option<Token>,
    mut stop: watch::Receiver<bool>,
) -> Result<Task, StartError> {
    let metrics = meter::install()?;
    let desk = Arc::clone(desk);
    let options = http::Options { token, metrics: metrics.clone(), limits: http::Limits::default() };
    let served = http::serve(listener, desk, options, async move {
        // A sender that is gone stops as well.
        let _stopped = stop.wait_for(|stop| *stop).await.is_ok();
    });
    Ok(tokio::spawn(async move {
        tokio::select! {
            served = served => if let Err(error) = served { tracing::error!(%error, "HTTP ended") },
            () = meter::upkeep(metrics) => {}
        }
    }))
}
