//! The whole program, composed: start, reload, stop.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use journal::{CursorFile, Disk, Log, Published, ReadFrom, Reader, RealDisk, Watch};
use pipeline::record::{ConfigActivated, Record, Started};
use pipeline::{ActiveConfig, Bundle, Pipeline};
use telemetry::text::say;
use telemetry::time::IngestTime;
use telemetry::topic::TopicPattern;
use tokio::sync::{mpsc, watch};

use crate::engine::ENGINE_VERSION;
use crate::engine::bundles::Bundles;
use crate::engine::clock::JournalClock;
use crate::engine::damage::FoundDamage;
use crate::engine::desk::Desk;
use crate::engine::driver::{Driver, Question, Shared};
use crate::engine::health::{Health, Part};
use crate::engine::keeper::Kept;
use crate::engine::layout::Layout;
use crate::engine::orders::{NotDurable, Order, Orders, Space};
use crate::engine::own_alerts::{Known, OwnAlerts};
use crate::engine::recovery::{Recovered, recover};
use crate::engine::settings::{Settings, StartError};
use crate::engine::sinks::{self, OpenQueue, OpenStore};
use crate::engine::store_cursor::StoreCursor;
use crate::engine::store_sink::StoreView;
use crate::engine::tasks::{Sources, Task, join_all, join_thread, spawn};
use crate::engine::writer::{Writer, WriterLimits};
use crate::source::{Acknowledge, Batch, SourceId};

/// Orders that wait for the writer at most; who orders more waits.
const ORDERS_MAX: usize = 256;
/// Batches between sources and writer at most; their bytes are bounded by the sources.
const BATCHES_MAX: usize = 64;
/// Questions that wait for the driver at most.
const QUESTIONS_MAX: usize = 256;
/// How long the sources may take to end: acknowledgements of what was handed over are written.
const SOURCES_END: Duration = Duration::from_secs(3);
/// How long the sinks may take to end.
const SINKS_END: Duration = Duration::from_secs(5);

/// The running service.
pub struct Service {
    desk: Arc<Desk>,
    bundles: Arc<Bundles>,
    writer: JoinHandle<()>,
    driver: JoinHandle<()>,
    driver_stop: Arc<AtomicU64>,
    keeper: JoinHandle<()>,
    stop_sources: watch::Sender<bool>,
    stop_sinks: watch::Sender<bool>,
    sources: Vec<Task>,
    sinks: Vec<Task>,
    http: SocketAddr,
    listener: Option<SocketAddr>,
    /// Wakes the driver at each durable record.
    _wake: Watch,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("desk", &self.desk).finish_non_exhaustive()
    }
}

/// What the parts share while they are put together.
pub(crate) struct Parts {
    pub(crate) layout: Layout,
    pub(crate) health: Arc<Health>,
    pub(crate) shared: Arc<Shared>,
    space: Arc<Space>,
    pub(crate) view: Arc<StoreView>,
    pub(crate) orders: Orders,
    pub(crate) stop_sinks: watch::Receiver<bool>,
}

/// The data folder opened, and the readers made before the writers move into their threads.
struct Opened {
    disk: Arc<dyn Disk>,
    bundles: Arc<Bundles>,
    hash: String,
    journal: Log,
    outbox: Log,
    pipeline: Pipeline,
    end: journal::End,
    last_time: IngestTime,
    store_cursor: (CursorFile, StoreCursor),
    damage: FoundDamage,
    journal_reader: Reader,
    journal_end: Published,
    store_reader: Reader,
}

impl Opened {
    fn open(
        settings: &Settings,
        layout: &Layout,
        history: Option<StoreCursor>,
    ) -> Result<Self, StartError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let recovered = recover(&disk, layout, settings.max_bytes, history)
            .map_err(StartError::while_doing("open the data folder"))?;
        let Recovered { end, last_time, damage, .. } = recovered;
        let Recovered { journal, outbox, pipeline, bundles, store_cursor, .. } = recovered;
        let kept = bundles.keep(&settings.bundle, Arc::clone(&settings.active));
        let hash = kept.map_err(StartError::while_doing("write the active configuration"))?;
        let journal_reader = journal.reader(ReadFrom::Position(pipeline.position() + 1));
        let journal_end = journal_reader.published();
        let store_reader = outbox.reader(ReadFrom::Position(store_cursor.1.position + 1));
        Ok(Self {
            disk,
            bundles,
            hash,
            journal,
            outbox,
            pipeline,
            end,
            last_time,
            store_cursor,
            damage,
            journal_reader,
            journal_end,
            store_reader,
        })
    }
}

impl Service {
    /// Starts everything. Returns once uplinks are taken in; what a restart derives again goes on behind.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is lost, and nothing more is taken in.
    pub async fn start(mut settings: Settings) -> Result<Self, StartError> {
        let layout = Layout::new(&settings.dir);
        let sources = Sources::set_up(&settings.sources, settings.listener.take())?;
        let http = sinks::listen(settings.http)?;
        let address = http.local_addr().map_err(StartError::while_doing("ask for the address"))?;
        let token = sinks::http_token(settings.http_token_file.as_ref())?;
        let store = OpenStore::open(&settings.store)?;
        let opened = Opened::open(&settings, &layout, store.cursor())?;
        let (stop_sources, sources_stop) = watch::channel(false);
        let (stop_sinks, sinks_stop) = watch::channel(false);
        let (orders, orders_taken) = mpsc::channel(ORDERS_MAX);
        let parts = Parts::new(layout, Orders(orders), sinks_stop, &opened);
        let queues =
            sinks::open_queues(&settings.notifiers, &parts, (opened.end.position, &opened.outbox))?;
        let acks = sources.acks();
        let (uplinks, uplinks_taken) = mpsc::channel::<Batch>(BATCHES_MAX);
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let recovered_at = recovered_at(&queues, &opened);
        let known = Known::at_start(opened.pipeline.account(), opened.damage);
        let (journal_end, counts_from) = (opened.journal_end.clone(), opened.end.position);
        let bundles = Arc::clone(&opened.bundles);
        let shared = Arc::clone(&parts.shared);
        let wake = journal_end.watch(move || shared.wake.wake());
        let (engine, from) = start_engine(
            opened,
            &settings,
            &parts,
            Channels { orders_taken, uplinks_taken, asked, acks: acks.clone() },
        )
        .await?;
        let (mut running, past) = sinks::start_store(store, &parts, from);
        let desk = Arc::new(Desk {
            questions,
            orders: parts.orders.clone(),
            shared: Arc::clone(&parts.shared),
            store: Arc::clone(&parts.view),
            journal_end,
            space: Arc::clone(&parts.space),
            health: Arc::clone(&parts.health),
            acks: acks.into_values().collect(),
            own_alerts: Mutex::default(),
            past,
            commands: sources.commands(),
            recovered_at,
            has_recovered: AtomicBool::new(false),
            counts_from,
        });
        let feeds = sinks::start_notifiers(&settings.notifiers, queues, (&parts, &mut running))?;
        let own = OwnAlerts { desk: Arc::clone(&desk), alarms: sources.alarms(), feeds, known };
        running.push(tokio::spawn(own.run(sources_stop.clone())));
        let listener = sources.listens_on();
        let sources = sources.start(&parts, (uplinks, sources_stop));
        running.push(sinks::start_http(http, &desk, token, parts.stop_sinks.clone())?);
        let Engine { writer, driver, driver_stop, keeper } = engine;
        Ok(Self {
            desk,
            bundles,
            writer,
            driver,
            driver_stop,
            keeper,
            stop_sources,
            stop_sinks,
            sources,
            sinks: running,
            http: address,
            listener,
            _wake: wake,
        })
    }

    /// Returns where questions are answered.
    #[must_use]
    pub const fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Returns the address of the HTTP API and the page.
    #[must_use]
    pub const fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Returns the address that devices connect to, where they connect to us.
    #[must_use]
    pub const fn listener_address(&self) -> Option<SocketAddr> {
        self.listener
    }

    /// Makes another configuration the active one, from its own position on.
    ///
    /// # Errors
    ///
    /// [`StartError`]; the one before stays active.
    pub async fn reload(
        &self,
        bundle: &Bundle,
        active: Arc<ActiveConfig>,
    ) -> Result<(), StartError> {
        let kept = self.bundles.keep(bundle, active);
        let hash = kept.map_err(StartError::while_doing("write the active configuration"))?;
        let appended = append_config(&self.desk.orders, hash).await;
        appended.map_err(StartError::while_doing("make the configuration the active one"))?;
        if let Some(commands) = &self.desk.commands {
            let patterns = bundle.uplinks.iter().map(|route| TopicPattern::parse(&route.topic));
            commands.set_patterns(patterns.filter_map(Result::ok).collect());
        }
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
        join_thread(self.keeper).await;
        self.stop_sinks.send_replace(true);
        join_all(self.sinks, SINKS_END).await;
    }
}

impl Parts {
    fn new(
        layout: Layout,
        orders: Orders,
        stop_sinks: watch::Receiver<bool>,
        opened: &Opened,
    ) -> Self {
        let space = Space::default();
        space.journal.store(opened.journal.bytes(), Ordering::Relaxed);
        space.outbox.store(opened.outbox.bytes(), Ordering::Relaxed);
        let health = Health::default();
        let remedy = say("ingest.recovering.remedy", &[]);
        health.report(Part::Recovering, "start", say("ingest.recovering", &[]), remedy);
        Self {
            layout,
            health: Arc::new(health),
            shared: Arc::new(Shared::default()),
            space: Arc::new(space),
            view: Arc::new(StoreView::default()),
            orders,
            stop_sinks,
        }
    }
}

/// Returns the position that the pipeline must reach to have passed every cursor.
fn recovered_at(queues: &[OpenQueue], opened: &Opened) -> u64 {
    let cursors = queues.iter().map(|open| open.cursor.0).chain([opened.store_cursor.1.position]);
    cursors.max().unwrap_or(0).min(opened.end.position)
}

/// The receiving ends of the engine's channels, and where acknowledgements go.
struct Channels {
    orders_taken: mpsc::Receiver<Order>,
    uplinks_taken: mpsc::Receiver<Batch>,
    asked: mpsc::Receiver<Question>,
    acks: BTreeMap<SourceId, Arc<dyn Acknowledge>>,
}

/// The threads.
struct Engine {
    writer: JoinHandle<()>,
    driver: JoinHandle<()>,
    driver_stop: Arc<AtomicU64>,
    keeper: JoinHandle<()>,
}

/// What the store's sink goes on from.
pub(crate) struct StoreFrom {
    pub(crate) outbox: Reader,
    pub(crate) cursor: (CursorFile, StoreCursor),
}

/// Starts journal writer and driver, and begins the run: engine version, then configuration.
async fn start_engine(
    opened: Opened,
    settings: &Settings,
    parts: &Parts,
    channels: Channels,
) -> Result<(Engine, StoreFrom), StartError> {
    let writer = Writer {
        log: opened.journal,
        clock: JournalClock::starting_after(opened.last_time),
        limits: writer_limits(settings),
        space: Arc::clone(&parts.space),
        health: Arc::clone(&parts.health),
        acks: channels.acks,
        uplinks: channels.uplinks_taken,
        orders: channels.orders_taken,
        position: opened.end.position,
        ordinal: opened.end.ordinal,
        floor: opened.end,
        set_aside: VecDeque::new(),
    };
    let writer = spawn(("journal", &parts.health), move |runtime| writer.run(runtime))?;
    let begun = begin(&parts.orders, opened.hash).await;
    begun.map_err(StartError::while_doing("begin the journal"))?;
    let disk = Arc::clone(&opened.disk);
    let (kept, keeper) = Kept::new(disk, parts.layout.clone(), Arc::clone(&parts.shared));
    let keeper = spawn(("snapshots", &parts.health), move |runtime| keeper.run(runtime))?;
    let driver = Driver {
        pipeline: opened.pipeline,
        journal: opened.journal_reader,
        outbox: opened.outbox,
        bundles: opened.bundles,
        shared: Arc::clone(&parts.shared),
        space: Arc::clone(&parts.space),
        health: Arc::clone(&parts.health),
        questions: channels.asked,
        orders: parts.orders.clone(),
        kept,
        disk: opened.disk,
        layout: parts.layout.clone(),
        keep: settings.keep,
        keep_until_bytes: settings.max_bytes / 2,
    };
    let driver_stop = Arc::new(AtomicU64::new(0));
    let stop = Arc::clone(&driver_stop);
    let driver = spawn(("pipeline", &parts.health), move |_| driver.run(&stop))?;
    let store = StoreFrom { outbox: opened.store_reader, cursor: opened.store_cursor };
    Ok((Engine { writer, driver, driver_stop, keeper }, store))
}

const fn writer_limits(settings: &Settings) -> WriterLimits {
    // The reserve for everything that is not an uplink: ticks, snapshots, the outbox of what is not decoded yet.
    let reserve = settings.max_bytes / 8;
    WriterLimits {
        commit_interval: settings.commit_interval,
        uplinks_stop_at: settings.max_bytes.saturating_sub(reserve),
    }
}

pub(super) async fn begin(orders: &Orders, hash: String) -> Result<(), NotDurable> {
    let started = |at: IngestTime| {
        Record::Started(Started { at_nanos: at.as_nanos(), version: ENGINE_VERSION.to_owned() })
    };
    orders.append(Box::new(started)).await?;
    append_config(orders, hash).await
}

pub(super) async fn append_config(orders: &Orders, hash: String) -> Result<(), NotDurable> {
    let change = move |at: IngestTime| {
        Record::ConfigActivated(ConfigActivated { at_nanos: at.as_nanos(), hash })
    };
    orders.append(Box::new(change)).await.map(|_| ())
}
