//! The parts of a life, each put together as the service does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use journal::{CursorFile, Disk, End, Log, Published, Reader};
use pipeline::Pipeline;
use store::{Influx, InfluxOptions, WriteError};
use telemetry::text::Text;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::clock;
use super::server::SimStore;
use super::world::World;
use crate::engine::bundles::Bundles;
use crate::engine::clock::JournalClock;
use crate::engine::desk::Desk;
use crate::engine::driver::{Driver, Question, Shared};
use crate::engine::health::{Health, Part};
use crate::engine::keeper::{Keeper, Kept};
use crate::engine::layout::Layout;
use crate::engine::notices;
use crate::engine::orders::{Order, Orders, Space};
use crate::engine::past::Past;
use crate::engine::recovery::Recovered;
use crate::engine::store_health::StoreHealth;
use crate::engine::store_sink::{StoreSink, StoreView};
use crate::engine::ticker::{self, Watched};
use crate::engine::writer::{Writer, WriterLimits};
use crate::notifier::{Batch as Notices, OutboxKey};
use crate::source::{Acknowledge, Batch, SourceId};

/// The data folder on the simulated disk.
pub(super) const FOLDER: &str = "/data";

/// What a notifier's queue holds: durable at once, with its cursor.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) cursor: OutboxKey,
    pub(super) notices: BTreeMap<OutboxKey, Vec<u8>>,
}

/// What the parts have a share of.
pub(super) struct Parts {
    pub(super) space: Arc<Space>,
    pub(super) health: Arc<Health>,
    pub(super) shared: Arc<Shared>,
    view: Arc<StoreView>,
    pub(super) orders: Orders,
    acks: Arc<dyn Acknowledge>,
    sources_stop: watch::Receiver<bool>,
    sinks_stop: watch::Receiver<bool>,
}

impl Parts {
    pub(super) fn of(
        opened: &Recovered,
        orders: Orders,
        acks: Arc<dyn Acknowledge>,
        (sources_stop, sinks_stop): (watch::Receiver<bool>, watch::Receiver<bool>),
    ) -> Self {
        let (space, shared) = (Arc::new(Space::default()), Arc::new(Shared::default()));
        space.journal.store(opened.journal.bytes(), Ordering::Relaxed);
        space.outbox.store(opened.outbox.bytes(), Ordering::Relaxed);
        let health = Arc::new(Health::default());
        health.report(Part::Recovering, "start", text("recovering"), text("wait"));
        let (view, cursor) = (Arc::new(StoreView::default()), opened.store_cursor.1);
        view.set(cursor);
        shared.store_position.store(cursor.position, Ordering::Release);
        Self { space, health, shared, view, orders, acks, sources_stop, sinks_stop }
    }

    pub(super) fn writer(
        &self,
        world: &World,
        (log, clock, end): (Log, JournalClock, End),
        (uplinks, orders): (mpsc::Receiver<Batch>, mpsc::Receiver<Order>),
    ) -> Writer {
        Writer {
            log,
            clock,
            limits: WriterLimits {
                commit_interval: Duration::from_millis(2),
                uplinks_stop_at: world.plan.max_bytes - world.plan.max_bytes / 8,
            },
            space: Arc::clone(&self.space),
            health: Arc::clone(&self.health),
            acks: BTreeMap::from([(SourceId(0), Arc::clone(&self.acks))]),
            uplinks,
            orders,
            position: end.position,
            ordinal: end.ordinal,
            floor: end,
            set_aside: VecDeque::new(),
        }
    }

    /// Returns what works the pipeline, and what keeps its snapshots.
    pub(super) fn driver(
        &self,
        world: &World,
        (pipeline, journal, outbox): (Pipeline, Reader, Log),
        bundles: Arc<Bundles>,
        questions: mpsc::Receiver<Question>,
    ) -> (Driver, Keeper) {
        let (disk, layout): (Arc<dyn Disk>, _) = (world.disk(), Layout::new(FOLDER));
        let shared = Arc::clone(&self.shared);
        let (kept, keeper) = Kept::new(Arc::clone(&disk), layout.clone(), Arc::clone(&shared));
        let driver = Driver {
            pipeline,
            journal,
            outbox,
            bundles,
            shared,
            space: Arc::clone(&self.space),
            health: Arc::clone(&self.health),
            questions,
            orders: self.orders.clone(),
            kept,
            disk,
            layout,
            keep: world.plan.keep,
            keep_until_bytes: world.plan.max_bytes / 2,
        };
        (driver, keeper)
    }

    /// Starts the store's sink with its watch, and what tells alerts.
    pub(super) fn start_sinks(
        &self,
        world: &World,
        (outbox, file): (Reader, CursorFile),
        (notices, told): (Reader, OutboxKey),
    ) -> Vec<JoinHandle<()>> {
        let mut store = SimStore::new(Arc::clone(&world.server), world.disk.clone());
        store.settles_early = world.settles_early();
        let health = Arc::clone(&self.health);
        let store = Arc::new(StoreHealth::new(store, "store".to_owned(), describe, health));
        let sink = StoreSink {
            health: Arc::clone(&store),
            outbox,
            file,
            view: Arc::clone(&self.view),
            shared: Arc::clone(&self.shared),
            orders: self.orders.clone(),
            shutdown: self.sinks_stop.clone(),
        };
        let (feed, fed) = mpsc::channel(16);
        let stop = self.sinks_stop.clone();
        vec![
            tokio::spawn(sink.run()),
            tokio::spawn(async move { store.run(stop).await }),
            tokio::spawn(notices::follow(notices, told, feed, self.sinks_stop.clone())),
            tokio::spawn(tell(Arc::clone(&world.told), fed)),
        ]
    }

    /// Starts the broker's consumer and the ticker.
    pub(super) fn start_sources(
        &self,
        world: &World,
        uplinks: mpsc::Sender<Batch>,
    ) -> Vec<JoinHandle<()>> {
        let (broker, link) = ((SourceId(0), Part::Mqtt), world.broker.link());
        let watched = vec![Watched::new(broker, "broker".to_owned(), link, Arc::clone(&self.acks))];
        let ticks = JournalClock::on(clock::host, telemetry::time::IngestTime::default());
        let (orders, health) = (self.orders.clone(), Arc::clone(&self.health));
        let stop = self.sources_stop.clone();
        vec![
            tokio::spawn(ticker::run(watched, orders, health, ticks, stop.clone())),
            tokio::spawn(Arc::clone(&world.broker).deliver(uplinks, stop)),
        ]
    }

    pub(super) fn desk(
        self,
        questions: mpsc::Sender<Question>,
        journal_end: &Published,
        (recovered_at, counts_from): (u64, u64),
    ) -> Desk {
        Desk {
            questions,
            orders: self.orders,
            shared: self.shared,
            store: self.view,
            journal_end: journal_end.clone(),
            space: self.space,
            health: self.health,
            acks: vec![self.acks],
            past: Past::Influx(nowhere()),
            commands: None,
            own_alerts: Mutex::default(),
            recovered_at,
            has_recovered: AtomicBool::new(false),
            counts_from,
        }
    }
}

/// A notifier's queue.
async fn tell(told: Arc<Mutex<Told>>, mut fed: mpsc::Receiver<Notices>) {
    while let Some(batch) = fed.recv().await {
        let mut told = told.lock().unwrap();
        for notice in batch.notices {
            let Some(origin) = notice.origin else { continue };
            told.notices.insert(origin, notice.body.to_vec());
        }
        told.cursor = batch.cursor.unwrap_or(told.cursor);
    }
}

fn describe(_store: &SimStore, error: &WriteError) -> (Text, Text) {
    (text(&error.to_string()), text("wait"))
}

fn text(words: &str) -> Text {
    Text::plain(words.to_owned())
}

/// A reader of a store that nobody asks.
fn nowhere() -> Arc<StoreHealth<Influx>> {
    static NOWHERE: OnceLock<Arc<StoreHealth<Influx>>> = OnceLock::new();
    Arc::clone(NOWHERE.get_or_init(|| {
        let options = InfluxOptions::new("http://127.0.0.1:9", "o", "b", "/nowhere");
        let influx = Influx::open(&options).unwrap();
        let describe = |_: &Influx, _: &WriteError| (text("nobody asks"), text("nothing"));
        Arc::new(StoreHealth::new(influx, "nowhere".to_owned(), describe, Arc::default()))
    }))
}
